"""A check of django-health-check: whether a store works, and whether records of calls get lost.

    HealthCheckView.as_view(checks=["llmcache.contrib.health_check.LLMCacheHealthCheck"])

No message holds more of an error than its kind: its text can hold the store's address and password.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connections

from llmcache import conf, probing, store
from llmcache.backends import stores
from llmcache.exceptions import InvalidRequest, LLMCacheError, Resting
from llmcache.packages import require_package
from llmcache.recorder import recorder

try:
    from health_check.base import HealthCheck  # type: ignore[import-untyped]
    from health_check.exceptions import (  # type: ignore[import-untyped]
        ServiceReturnedUnexpectedResult,
        ServiceUnavailable,
        ServiceWarning,
    )
except ImportError:
    require_package("The check LLMCacheHealthCheck", "health_check", "health-check")
    raise

_STEPS: Final = {"write": "written", "read": "read", "drop": "deleted"}


@dataclasses.dataclass
class LLMCacheHealthCheck(HealthCheck):  # type: ignore[misc]
    """Writes, reads and deletes an entry of no meaning in the store of an alias, layer by layer.

    Args:
        alias: of LLMCACHE.
        records: whether records of calls that this process had to drop are a failure too.

    Attributes:
        times: after a run, seconds by store and by "write", "read" and "drop".
    """

    alias: str = "default"
    records: bool = dataclasses.field(default=True, repr=False)
    times: dict[str, dict[str, float]] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    # Not async: a store that hangs may hold a thread of a pool, and must not hold Django's own.
    def run(self) -> None:
        """
        Raises:
            ServiceUnavailable: there is no such alias, or a store does not answer.
            ServiceReturnedUnexpectedResult: a store has not kept what was written.
            ServiceWarning: a store is left alone, as it failed too often; or records get lost.
        """
        self.times = {}
        with _connections_closed_again():
            for alias in self._stores():
                self._probe(alias)
        if _still_rests(self.alias):
            raise ServiceWarning(
                f"The store {self.alias!r} answers again, but calls leave it alone for up to "
                f"{conf.config().breaker_cooldown:g} seconds, as it failed too often."
            )
        if self.records and recorder.dropped:
            raise ServiceWarning(
                f"The store {self.alias!r} works, but {recorder.dropped} records of calls were "
                f"dropped, as {recorder.waiting} wait for the database already."
            )

    def _stores(self) -> list[str]:
        try:
            backend = stores[self.alias]
        except InvalidRequest as error:
            raise ServiceUnavailable(str(error)) from error
        except Exception as error:
            raise ServiceUnavailable(
                f"The store {self.alias!r} cannot be opened ({_kind(error)}): run manage.py check."
            ) from error
        # Not a layered store as a whole: it passes over a layer that fails.
        return [layer.alias for layer in backend.layers] or [self.alias]

    def _probe(self, alias: str) -> None:
        layer = "" if alias == self.alias else f", a layer of {self.alias!r},"
        try:
            self.times[alias] = probing.probe(alias)
        except Resting as error:
            raise ServiceUnavailable(f"A part of the store {alias!r}{layer} rests.") from error
        except LLMCacheError as error:
            raise ServiceReturnedUnexpectedResult(
                f"The store {alias!r}{layer} has not kept what was written to it."
            ) from error
        except Exception as error:
            raise ServiceUnavailable(
                f"The store {alias!r}{layer} cannot be used: {_kind(error)}."
            ) from error

    def pretty_status(self) -> str:
        """How long each step took."""
        return "OK" + "".join(
            f"; {alias}: "
            + ", ".join(f"{word} in {took[step] * 1000:.1f} ms" for step, word in _STEPS.items())
            for alias, took in self.times.items()
        )


def _still_rests(alias: str) -> bool:
    """Whether calls leave a store alone that has just answered.

    Once it has rested, that ends here: a site that fails its check may get no call to end it.
    """
    open_breakers = [
        breaker
        for one in store.living()
        if one.alias == alias
        for breaker in (one.breaker, one.write_breaker)
        if breaker.is_open
    ]
    for breaker in open_breakers:
        if breaker.allows():
            breaker.succeeded()
    return any(breaker.is_open for breaker in open_breakers)


def _kind(error: BaseException) -> str:
    """The names of an error and of what caused it in the operating system, without their texts."""
    names = [type(error).__name__]
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, OSError) and type(cause).__name__ not in names:
            names.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return ", ".join(names)


@contextmanager
def _connections_closed_again() -> Iterator[None]:
    """A thread of a pool ends no request, so nothing else closes what a store opens in it."""
    closed = [one for one in connections.all() if one.connection is None]
    try:
        yield
    finally:
        for connection in closed:
            connection.close()
