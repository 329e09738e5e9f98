"""Processes of one site that ask the same at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.ledger.processes import Process, Site, ending

# Each process says that it is ready, waits for a word, asks so often at once, and says what came.
ASK = """
import asyncio
from concurrent.futures import ThreadPoolExecutor
messages = [{"role": "user", "content": "The same for all"}]
arguments = {"model": "m", "messages": messages}

def told(answer):
    return type(answer).__name__ if isinstance(answer, Exception) else answer.cache.outcome

def one(_):
    try:
        return llmcache.completion(**arguments)
    except Exception as error:
        return error

async def gathered(number):
    calls = (llmcache.acompletion(**arguments) for _ in range(number))
    return await asyncio.gather(*calls, return_exceptions=True)

say("ready")
heard()
"""


@contextmanager
def asking(site: Site, *codes: str) -> Iterator[list[Process]]:
    """Processes that are ready to ask."""
    processes = [site.start(ASK + code) for code in codes]
    with ending(*processes):
        for process in processes:
            assert process.hear() == "ready"
        yield processes
