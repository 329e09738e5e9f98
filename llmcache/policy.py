"""May an answer be stored, and for how long. Pure functions of the answer and the settings."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

import orjson

from llmcache import conf
from llmcache.controls import Controls
from llmcache.streams import OWN_KINDS, finish_reasons

LONGEST: Final = 1e10
"""Seconds, some 300 years. What is to be kept for longer is kept without end: no database and few
stores have a word for such a day."""


def readable(kind: str, body: bytes) -> Any:
    """What of an answer's bytes is JSON: all of a provider's, the first line of our own kinds'."""
    return orjson.loads(body.partition(b"\n")[0] if kind in OWN_KINDS else body)


def refusal(kind: str, body: object) -> str:
    """Why an answer may not be stored; "" when it may.

    Errors, cut or filtered answers and empty ones would repeat a failure to everyone who asks.
    """
    if not isinstance(body, Mapping):
        return "the answer is not a JSON object"
    if kind in OWN_KINDS:
        return str(body.get("refused") or "")
    if body.get("error"):
        return "the answer is an error"
    if kind == "responses" and body.get("status") in ("failed", "cancelled"):
        return f"the answer's status is {body['status']}"
    if kind == "responses" and body.get("status") in ("queued", "in_progress"):
        return "the answer is not complete yet"
    if _is_empty(kind, body):
        return "the answer is empty"
    cut = finish_reasons(kind, body) & {"length", "content_filter"}
    if cut and not conf.config().store_truncated:
        return f"the answer was cut (finish_reason {', '.join(sorted(cut))})"
    return ""


def _is_empty(kind: str, body: Mapping[str, Any]) -> bool:
    if kind == "completion":
        choices = body.get("choices") or ()
        return not choices or not all(_says_something(choice) for choice in choices)
    if kind == "text_completion":
        choices = body.get("choices") or ()
        return not choices or not all(choice.get("text") for choice in choices)
    if kind == "transcription":
        return not (isinstance(body.get("text"), str) and body["text"])
    parts = body.get({"responses": "output", "messages": "content"}.get(kind, "data"))
    if not isinstance(parts, list):
        return True
    return not parts or not all(isinstance(part, Mapping) for part in parts)


def _says_something(choice: Mapping[str, Any]) -> bool:
    message = choice.get("message") or {}
    said = ("content", "tool_calls", "function_call", "refusal", "audio")
    return any(message.get(part) for part in said)


def ttl_for(controls: Controls, default: float | None) -> float | None:
    """Seconds to keep a new entry; None for no end, 0 for not at all."""
    ttl = default if controls.ttl is None else controls.ttl
    if ttl is None or ttl >= LONGEST:
        return None
    return ttl * (1 - jitter())


def kept_for(controls: Controls, ttl: float | None) -> float | None:
    """Seconds that a new entry is kept, stale ones included; None for no end."""
    if ttl is None:
        return None
    kept = ttl + max(controls.stale_while_revalidate, stale_if_error(controls))
    return kept if kept < LONGEST else None


def jitter() -> float:
    """The share to take off a ttl, so that entries that were stored together don't end together."""
    return conf.config().ttl_jitter * random.random()  # noqa: S311


def longer_life(controls: Controls, default: float | None, created: float, now: float) -> float:
    """Until when a hit lets its entry live, in unix seconds: as long as a new one would, but never
    past REFRESH_TTL_MAX_AGE.

    Args:
        default: seconds to live of the store's entries; None for no end.
        created: when the answer was made, in unix seconds.
    """
    ttl = default if controls.ttl is None else controls.ttl
    latest = created + min(LONGEST, conf.config().refresh_ttl_max_age)
    return latest if ttl is None else min(now + ttl, latest)


def stale_if_error(controls: Controls) -> float:
    """Seconds past its ttl that an entry may answer for a failing upstream."""
    asked = controls.stale_if_error
    return conf.config().default_stale_if_error if asked is None else asked
