"""Filling the cache before anybody asks: many calls, several at a time, each by itself.

A call that is cached already costs nothing, so the same list may be run again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from django.db import connections

from llmcache import api
from llmcache.calls import KINDS
from llmcache.exceptions import InvalidRequest
from llmcache.task_queue import in_place

Numbered = tuple[int, Mapping[str, Any]]
"""A request and the number that its result is to have."""


@dataclass(frozen=True, slots=True)
class Warmed:
    """How one request ended: with an outcome, or why its answer was not stored, or an error."""

    number: int
    outcome: str = ""
    error: str = ""


def warm(
    requests: Iterable[Numbered], *, concurrency: int = 4, alias: str | None = None
) -> Generator[Warmed, None, None]:
    """Make calls, and yield how each ended, in the order of their ends.

    Closing the iterator begins no further calls and waits for those under way.

    Args:
        requests: the arguments of `completion()` and, for another function, its name as `kind`;
            read as they are needed.
        alias: the store; otherwise the cache in force.

    Raises:
        InvalidRequest: a concurrency below 1.
    """
    if concurrency < 1:
        raise InvalidRequest(f"concurrency must be an integer from 1 up, not {concurrency!r}.")
    with ThreadPoolExecutor(concurrency, "llmcache-warm") as pool:
        source = iter(requests)
        under_way: set[Future[Warmed]] = set()
        while True:
            for number, request in source:
                under_way.add(pool.submit(_ask, number, request, alias))
                if len(under_way) >= concurrency:
                    break
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _ask(number: int, request: Mapping[str, Any], alias: str | None) -> Warmed:
    try:
        with in_place():
            answer = getattr(api, kind_of(request))(**arguments_of(request, alias))
            for _ in answer if request.get("stream") else ():
                pass  # a stream is stored once it has been read
        reason = answer.cache.reason
        return Warmed(number, reason if reason.startswith("not stored") else answer.cache.outcome)
    except Exception as error:
        return Warmed(number, error=f"{type(error).__name__}: {error}")
    finally:
        connections.close_all()


def kind_of(request: Mapping[str, Any]) -> str:
    """Which function a request is for.

    Raises:
        InvalidRequest: the request is no object, or there is no function of that name.
    """
    if not isinstance(request, Mapping):
        raise InvalidRequest(f"A request must be a JSON object, not {type(request).__name__}.")
    kind = request.get("kind", "completion")
    if kind not in KINDS:
        raise InvalidRequest.unknown("kind of call", kind, KINDS)
    return str(kind)


def arguments_of(request: Mapping[str, Any], alias: str | None) -> dict[str, Any]:
    """The arguments of that function.

    Raises:
        InvalidRequest: the request names no model.
    """
    arguments = {name: value for name, value in request.items() if name != "kind"}
    if "model" not in arguments:
        raise InvalidRequest('The request has no "model".')
    if alias is not None:
        arguments["using"] = alias
    return arguments
