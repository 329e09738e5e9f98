"""LangChain's cache of model calls, in one of our stores.

    from langchain_core.globals import set_llm_cache
    set_llm_cache(DjangoLLMCache())

Answers are kept as LangChain's own JSON and read back with its own loader, which may make
generations and messages and nothing else.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

from llmcache.contrib.entries import Entries
from llmcache.packages import require_package

require_package("llmcache.contrib.langchain", "langchain_core", "langchain")

from langchain_core.caches import BaseCache  # noqa: E402
from langchain_core.load import dumpd, load  # noqa: E402
from langchain_core.messages import (  # noqa: E402
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import (  # noqa: E402
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
)

_ALLOWED: Final = (
    *(Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk),
    *(AIMessage, AIMessageChunk, ChatMessage, HumanMessage, SystemMessage, ToolMessage),
)
_MODEL_NAMES: Final = ("model_name", "model", "model_id", "deployment_name", "azure_deployment")
_MODEL: Final = re.compile(rf"\('(?:{'|'.join(_MODEL_NAMES)})', '([^']+)'\)")
_TYPE: Final = re.compile(r"\('_type', '([^']+)'\)")
_ROLES: Final = {"human": "user", "ai": "assistant", "chat": "user"}

# `load` is in beta, which its wrapper says in a warning. It is our choice to use it, so nobody else
# need hear of it, nor lose the answer where warnings are errors.
_load: Final = inspect.unwrap(load)


class DjangoLLMCache(BaseCache):
    """A cache for `set_llm_cache()` or a model's own `cache=`.

    Args:
        using: the alias of LLMCACHE.
        ttl: seconds to keep answers; None for the alias's own.
        namespace: of the entries, and what `clear()` clears.
        tags: labels and model objects to evict by.

    Raises:
        InvalidRequest: an alias that does not exist, or a wrong value.
    """

    def __init__(
        self,
        using: str = "default",
        *,
        ttl: float | None = None,
        namespace: str = "langchain",
        tags: Iterable[Any] = (),
    ) -> None:
        self._entries = Entries("langchain", using=using, ttl=ttl, namespace=namespace, tags=tags)

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """The answer to a prompt of a model so configured; None if there is none to use."""
        return self._entries.read(model_of(llm_string), _params(prompt, llm_string), _opened)

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """As `lookup`."""
        return await self._entries.aread(model_of(llm_string), _params(prompt, llm_string), _opened)

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store an answer. What could not be read back as it is, is not stored."""
        value = _closed(return_val)
        self._entries.write(model_of(llm_string), _params(prompt, llm_string), value)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """As `update`."""
        value = _closed(return_val)
        await self._entries.awrite(model_of(llm_string), _params(prompt, llm_string), value)

    def clear(self, **kwargs: Any) -> None:
        """Remove all entries of this cache's namespace from its store, in all processes.

        Raises:
            UnsupportedOperation: there is no index of entries (RECORDER is "off").
            LLMCacheError: the store failed, and entries stayed.
        """
        self._entries.clear()

    async def aclear(self, **kwargs: Any) -> None:
        """As `clear`."""
        await self._entries.aclear()


def model_of(llm_string: str) -> str:
    """The model's name in LangChain's description of a model; else the name of its class."""
    if llm_string.startswith("{"):
        try:
            described, _ = json.JSONDecoder().raw_decode(llm_string)
            given = described.get("kwargs") or {}
            names = [given.get(name) for name in _MODEL_NAMES]
            found = next((name for name in names if isinstance(name, str) and name), None)
            return found or str(described["id"][-1])
        except (ValueError, LookupError, TypeError, AttributeError):
            pass
    match = _MODEL.search(llm_string) or _TYPE.search(llm_string)
    return match[1] if match else "langchain"


def _params(prompt: str, llm_string: str) -> dict[str, Any]:
    """What the key is made of. Chat is told as messages, so that the index can show who said what;
    the hash sees to it that each prompt has a key of its own.
    """
    said = _messages(prompt)
    if said is None:
        return {"prompt": prompt, "arguments": llm_string}
    digest = sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
    return {"messages": said, "arguments": llm_string, "prompt_sha256": digest}


def _messages(prompt: str) -> list[dict[str, Any]] | None:
    """The messages that a chat model's prompt is made of; None if it is a text."""
    if not prompt.startswith('[{"lc"'):
        return None
    try:
        messages = [message["kwargs"] for message in json.loads(prompt)]
        return [
            {"role": _ROLES.get(kind := str(message.get("type")), kind), **message}
            for message in messages
        ]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _closed(generations: Sequence[Generation]) -> dict[str, Any]:
    """Generations as JSON, with what they cost, or with why they cannot be stored."""
    try:
        dumped = [dumpd(generation) for generation in generations]
        _revived(dumped)
        return {"usage": _usage(generations), "generations": dumped}
    except Exception as error:  # whatever a class of somebody else's may raise
        return {"refused": f"it cannot be read back ({type(error).__name__})"}


def _opened(value: Any) -> list[Generation]:
    return _revived(value["generations"])


def _revived(dumped: Any) -> list[Generation]:
    found: list[Generation] = _load(dumped, allowed_objects=_ALLOWED)
    if not (found and all(isinstance(one, Generation) for one in found)):
        raise TypeError("these are no generations")
    return found


def _usage(generations: Sequence[Generation]) -> dict[str, Any]:
    """The tokens of the call, in a provider's words: each generation tells those of all of them."""
    for generation in generations:
        usage = getattr(getattr(generation, "message", None), "usage_metadata", None)
        if usage:
            cached = (usage.get("input_token_details") or {}).get("cache_read", 0)
            return {
                "input_tokens": usage.get("input_tokens", 0),
                "output_tokens": usage.get("output_tokens", 0),
                "input_tokens_details": {"cached_tokens": cached},
            }
    return {}
