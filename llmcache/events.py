"""Telling others how calls went: callbacks, signals and counts. Costs next to nothing when nobody
listens, and nothing that a listener does can break a call."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from llmcache import signals
from llmcache.calls import Call
from llmcache.counting import count as count
from llmcache.counting import counts as counts
from llmcache.outcome import CacheInfo

logger = logging.getLogger("llmcache")


class CustomLogger:
    """Base class of callbacks, with the names of LiteLLM's page; override what you need.

    Each gets `kwargs` (the call's arguments without credentials, and `cache_hit`, True or False,
    and `cache`, a CacheInfo), the response or the error, and the times at which the call began and
    ended. Sync calls use the plain methods, async calls the `async_` ones.
    """

    def log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        """A sync call has an answer; for a stream, when it has been read to its end."""

    def log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        """A sync call has failed; `response_obj` is the exception."""

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        """As `log_success_event`, for async calls."""

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        """As `log_failure_event`, for async calls."""


callbacks: list[CustomLogger] = []
"""What `llmcache.callbacks` is."""


class Observer(Protocol):
    """Hears of every call in the caller's own thread or task, sync and async alike, without the
    change of thread that a signal's receiver costs in async code. Must not block."""

    def finished(self, call: Call, cache: CacheInfo, response: Callable[[], Any]) -> None:
        """A call has an answer, which `response` gives; for a stream, when it has been read."""

    def failed(self, call: Call, error: BaseException, seconds: float, alias: str) -> None:
        """A call has failed, so many seconds after it began; alias is of the store, or ""."""


observers: list[Observer] = []
"""What is told first; filled by `llmcache.contrib`."""

_MOST_SAID: Final = 100
"""Texts that are logged of one kind of event. They can hold callers' words: who sends ever new ones
fills neither the memory nor the log, nor does one kind of event silence another.
"""
_said: Final[defaultdict[str, set[str]]] = defaultdict(set)


def warn_once(name: str, message: str, *args: object) -> None:
    """Count an event always, and log it the first time that it is said in these words.

    Of one name 100 texts are logged; of what comes after, only the count tells.
    """
    count(name)
    said = _said[name]
    if len(said) >= _MOST_SAID:
        return
    text = message % args
    if text in said:
        return
    said.add(text)
    logger.warning("%s", text)
    if len(said) == _MOST_SAID:
        logger.warning("Further events of the kind %r are counted, and not logged any more", name)


def listening() -> bool:
    """Whether anybody wants to hear of calls that end well."""
    return bool(callbacks or observers or signals.call_finished.receivers)


def _kwargs(call: Call, cache: CacheInfo | None) -> dict[str, Any]:
    return {
        "model": call.model,
        "call_type": call.call_type,
        "stream": call.stream,
        **call.params,
        **call.unkeyed,
        "cache_hit": cache is not None and cache.hit,
        "cache": cache,
    }


def _period(seconds: float) -> tuple[datetime, datetime]:
    end = datetime.now(UTC)
    return end - timedelta(seconds=seconds), end


def _callback_failed(callback: object) -> None:
    count("callback_error")
    logger.exception("The callback %s failed", type(callback).__qualname__)


def _tell(method: str, *arguments: object) -> None:
    for observer in observers:
        try:
            getattr(observer, method)(*arguments)
        except Exception:
            _callback_failed(observer)


def finished(call: Call, cache: CacheInfo, response: Callable[[], Any]) -> None:
    """Tell signal receivers and sync callbacks that a call has an answer.

    Args:
        response: gives the response; only called if a callback wants it.
    """
    _tell("finished", call, cache, response)
    if signals.call_finished.receivers:
        signals.call_finished.send_robust(sender=Call, call=call, cache=cache)
    for callback in callbacks:
        try:
            callback.log_success_event(_kwargs(call, cache), response(), *_period(cache.latency))
        except Exception:
            _callback_failed(callback)


async def afinished(call: Call, cache: CacheInfo, response: Callable[[], Any]) -> None:
    """As `finished`, for async calls."""
    _tell("finished", call, cache, response)
    if signals.call_finished.receivers:
        await signals.call_finished.asend_robust(sender=Call, call=call, cache=cache)
    for callback in callbacks:
        try:
            await callback.async_log_success_event(
                _kwargs(call, cache), response(), *_period(cache.latency)
            )
        except Exception:
            _callback_failed(callback)


def failed(call: Call, error: BaseException, seconds: float, alias: str = "") -> None:
    """Tell signal receivers and sync callbacks that a call has failed."""
    _tell("failed", call, error, seconds, alias)
    if signals.call_failed.receivers:
        signals.call_failed.send_robust(
            sender=Call, call=call, error=error, seconds=seconds, alias=alias
        )
    for callback in callbacks:
        try:
            callback.log_failure_event(_kwargs(call, None), error, *_period(seconds))
        except Exception:
            _callback_failed(callback)


async def afailed(call: Call, error: BaseException, seconds: float, alias: str = "") -> None:
    """As `failed`, for async calls."""
    _tell("failed", call, error, seconds, alias)
    if signals.call_failed.receivers:
        await signals.call_failed.asend_robust(
            sender=Call, call=call, error=error, seconds=seconds, alias=alias
        )
    for callback in callbacks:
        try:
            await callback.async_log_failure_event(_kwargs(call, None), error, *_period(seconds))
        except Exception:
            _callback_failed(callback)
