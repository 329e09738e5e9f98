"""The site's own code in a provider's place: what cached views and cached functions share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final

import orjson

from llmcache import engine, state
from llmcache.caching import Cache, for_alias
from llmcache.calls import Call
from llmcache.controls import NO_CONTROLS, Controls, parse
from llmcache.exceptions import InvalidRequest
from llmcache.plans import Plan
from llmcache.store import OWN_WAYS
from llmcache.streams import OWN_KINDS
from llmcache.upstreams import Route
from llmcache.upstreams.base import BaseUpstream

VERSION: Final = 1
"""The format of what the two doors store, as the head of each payload says it."""
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_running: ContextVar[frozenset[object]] = ContextVar("llmcache.own_code", default=frozenset())


class OwnCode(BaseUpstream):
    """One call of the site's own code; made for that call, and gone with it.

    Attributes:
        plan: the call's plan, once there is one.
    """

    kinds = frozenset(OWN_KINDS)
    name = "own code"

    def __init__(self) -> None:  # there are no settings of such a provider
        self.plan: Plan | None = None

    def identity(self, base_url: str | None = None) -> str:
        return "own"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Note, while the code runs, that it does: see `is_running`."""
        plan = self.plan
        assert plan is not None
        token = _running.set(_running.get() | {(plan.store, plan.digest)})
        try:
            yield
        finally:
            _running.reset(token)

    def refuse(self, reason: str) -> None:
        """Have what is under way not stored."""
        assert self.plan is not None
        if self.plan.write:
            self.plan.write = False
            self.plan.reason = f"not stored: {reason}"


def planned(call: Call, store: Cache | None, upstream: OwnCode) -> Plan:
    """The plan of a call that the site's own code answers.

    Raises:
        ImproperlyConfigured: the settings of the scope are wrong.
    """
    if store is not None and store.custom.keys() & OWN_WAYS:
        store = None  # its functions know providers' answers only
    upstream.plan = engine.plan(call, store, Route(upstream, call.model, "own"))
    return upstream.plan


def refused(reason: str) -> bytes:
    """The payload of an answer that its own caller gets and nobody else."""
    return orjson.dumps({"version": VERSION, "refused": reason})


def is_running(plan: Plan) -> bool:
    """Whether this very call is being made further up in this thread or task: to wait for its end
    would be to wait for oneself."""
    return (plan.store, plan.digest) in _running.get()


def store_of(using: str | None) -> Cache | None:
    """The cache of an alias, or else the one in force.

    Raises:
        InvalidRequest: there is no such alias.
    """
    return state.current() if using is None else for_alias(using)


# --- what a decorator was told ---


def base_controls(cache: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Controls:
    """The controls that hold for all calls of what is decorated.

    Args:
        cache: the decorator's `cache`.
        given: its other arguments that say the same as a control; functions are left out.

    Raises:
        InvalidRequest: a wrong control, or one that was given in both ways.
    """
    said = {name: value for name, value in given.items() if value is not None}
    for name in said:
        if name in (cache or {}):
            raise InvalidRequest(
                f"{name} was given twice: as an argument and in cache={{...}}. Leave one out."
            )
    both = parse(cache)
    fixed = parse({name: value for name, value in said.items() if not callable(value)})
    changes = {
        name: getattr(fixed, name)
        for name in ("ttl", "tags", "namespace")
        if getattr(fixed, name) != getattr(NO_CONTROLS, name)
    }
    # What these answer is no question in words: nothing similar to it may serve.
    return replace(both, semantic=False, **changes)


def called(value: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """What an argument of a decorator says of one call: itself or, of a function, its result."""
    if not callable(value):
        return value
    said = value(*args, **kwargs)
    if said is None or name == "tags":
        return said
    if not isinstance(said, str):
        raise InvalidRequest(
            f"The function given as {name} must return a string or None, not {said!r}."
        )
    return said


def changed(base: Controls, changes: Mapping[str, Any]) -> Controls:
    """The controls of one call: those of the decorator, and what the call changes in them."""
    if all(getattr(base, name) == value for name, value in changes.items()):
        return base
    return replace(base, **changes)


def check_text(name: str, value: object) -> None:
    """Raise InvalidRequest unless the value is None, a text that is not empty, or a function."""
    if value is None or callable(value) or (isinstance(value, str) and value):
        return
    raise InvalidRequest(f"{name} must be a string that is not empty or a function, not {value!r}.")


def joined_scope(*parts: str | None) -> str | None:
    """One scope of several: two calls share it only if they share each part."""
    said = [part.replace("&", "&&") for part in parts if part]
    return " & ".join(said) or None


# --- streams and generators ---


def line(part: bytes) -> bytes:
    """One part of an answer as one line of an entry."""
    return part.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")


def part(line: bytes) -> bytes:
    """What `line` has made a line of."""
    return _ESCAPED.sub(_read, line) if b"\\" in line else line


def _read(match: re.Match[bytes]) -> bytes:
    return b"\n" if match[1] == b"n" else match[1]
