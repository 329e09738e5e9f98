"""What tests claim of answers and of the cache; a failure says what was the case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import time
from typing import Any

from llmcache import engine, keys, state, writer
from llmcache.caching import Cache, for_alias
from llmcache.calls import build
from llmcache.embeddings import split_input
from llmcache.exceptions import InvalidRequest
from llmcache.outcome import OUTCOMES, SERVED

_DETAIL = re.compile(r'detail="((?:[^"\\]|\\.)*)"')


def assert_cached(response: Any) -> None:
    """Fail unless the answer cost no upstream call of its own: a hit, a stale one or a coalesced.

    Args:
        response: of `completion()` and its siblings, a Stream read to its end, or an HTTP response
            with the headers that llmcache gives.

    Raises:
        AssertionError: it came from the provider; the reason is told.
    """
    outcome, reason = _end_of(response)
    if outcome not in SERVED:
        raise AssertionError(f"Not from the cache: {outcome}{reason}.")


def assert_not_cached(response: Any) -> None:
    """Fail if the answer came from the cache; takes what `assert_cached` takes.

    Raises:
        AssertionError: it did.
    """
    outcome, reason = _end_of(response)
    if outcome in SERVED:
        raise AssertionError(f"From the cache: {outcome}{reason}.")


def assert_outcome(response: Any, outcome: str) -> None:
    """Fail unless `response.cache.outcome` is this; takes what `assert_cached` takes.

    Raises:
        AssertionError: it is another.
        InvalidRequest: there is no such outcome.
    """
    if outcome not in OUTCOMES:
        raise InvalidRequest.unknown("outcome", outcome, OUTCOMES)
    found, reason = _end_of(response)
    if found != outcome:
        raise AssertionError(f"The outcome is {found!r}, not {outcome!r}{reason}.")


def assert_saved_tokens(response: Any, number: int | None = None) -> None:
    """Fail unless the answer saved so many tokens, or any where no number is given.

    Raises:
        AssertionError: it saved others, or none.
    """
    if hasattr(response, "cache"):
        saved = response.cache.saved_tokens
    else:
        saved = int(response.headers.get("X-LLMCache-Saved-Tokens", 0))
    if saved != number if number is not None else not saved:
        outcome, reason = _end_of(response)
        wanted = "some" if number is None else number
        raise AssertionError(f"{saved} tokens saved, not {wanted}: {outcome}{reason}.")


def assert_in_cache(
    model: str, *, kind: str = "completion", using: str | None = None, **arguments: Any
) -> None:
    """Fail unless this call would be answered by the cache; nothing is sent or recorded.

    Args:
        kind: "completion", "text_completion", "responses", "messages", "embedding" or
            "transcription".
        using: the LLMCACHE alias; otherwise the cache in force.
        arguments: those of the call.

    Raises:
        AssertionError: no live entry is under the call's key.
        InvalidRequest: wrong arguments, or caching is off.
    """
    for alias, digest, live in _entries(model, kind, using, arguments):
        if not live:
            raise AssertionError(f"Alias {alias!r} has no entry for this call; its key: {digest}.")


def assert_evicted(
    model: str, *, kind: str = "completion", using: str | None = None, **arguments: Any
) -> None:
    """Fail if this call would be answered by the cache; takes what `assert_in_cache` takes.

    Raises:
        AssertionError: an entry is there.
        InvalidRequest: wrong arguments, or caching is off.
    """
    for alias, digest, live in _entries(model, kind, using, arguments):
        if live:
            raise AssertionError(f"Alias {alias!r} has an entry for this call; its key: {digest}.")


def _end_of(response: Any) -> tuple[str, str]:
    """The outcome, and the reason in words to add to a sentence."""
    if hasattr(response, "cache"):
        outcome, reason = response.cache.outcome, response.cache.reason
    else:
        headers = getattr(response, "headers", {})
        outcome = headers.get("X-LLMCache-Outcome")
        if outcome is None:
            raise AssertionError(f"{response!r:.80} does not say where it came from.")
        detail = _DETAIL.search(headers.get("Cache-Status", ""))
        reason = detail[1] if detail else ""
    return outcome, f" ({reason})" if reason else ""


def _entries(
    model: str, kind: str, using: str | None, arguments: dict[str, Any]
) -> Iterator[tuple[str, str, bool]]:
    store: Cache | None = state.current() if using is None else for_alias(using)
    if store is None:
        raise InvalidRequest("The cache is off; call enable_cache() first.")
    writer.flush()
    call = build(kind, model, arguments)
    plan = engine.plan(call, store)
    if plan.material is None:
        raise AssertionError(f"This call bypasses the cache: {plan.reason}.")
    material, digests = plan.material, [plan.digest]
    if kind == "embedding":
        items = split_input(call.params["input"])
        digests = [keys.digest_of(keys.item_material(material, item)) for item in items]
    for digest in filter(None, digests):
        data = store.backend.get(digest)
        envelope = None if data is None else engine.unwrap(plan, digest, data)
        yield store.alias, digest, envelope is not None and time() < envelope.expires
