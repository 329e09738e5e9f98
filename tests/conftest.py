"""Fixtures of the whole suite: real servers, started once a run, and a clean state for each
test.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from django.core.cache import caches
from django.utils import translation

from llmcache import backends, caching, events, prolonging, state
from llmcache.matching import observing
from llmcache.recorder import recorder
from llmcache.tombstones import tombstones
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream
from tests.doors import AsyncDoor, SyncDoor

# Those that others import come first: pytest warns of what it cannot rewrite any more.
pytest_plugins = [
    "tests.servers.provider",
    "tests.servers.redis",
    "tests.servers.celery",
    "tests.servers.mariadb",
    "tests.servers.postgres",
    "tests.servers.redis_cluster",
    "tests.servers.s3",
    "tests.servers.site",
    "tests.servers.speaking",
    "tests.servers.browser",
]

# A slow or busy machine is no fault of a test.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


def missing(part: str, why: object) -> Any:
    """Skip a test whose real part this machine lacks, naming the reason; in CI that is a
    failure.
    """
    text = f"{part} is not available here: {why}"
    if IN_CI:
        pytest.fail(text)
    pytest.skip(text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests were skipped, each reason once: the last thing that a newcomer reads."""
    reports = terminalreporter.stats.get("skipped", ())
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    for reason, number in reasons.most_common():
        terminalreporter.write_line(f"{number} skipped: {reason}")


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """Every test begins with the settings' own cache, empty, with no callbacks and no records."""
    caches["default"].clear()
    recorder._start_afresh()  # what tests without a database have left
    observing.observer._start_afresh()
    prolonging._resting.clear()
    tombstones.forget()
    yield
    state.reset()
    caching.reset(setting="CACHES")
    backends.stores.reset(setting="CACHES")
    events.callbacks.clear()
    events._said.clear()
    upstreams.reset(setting="LLMCACHE_PROVIDERS")
    translation.deactivate()  # a request leaves its language to its thread


@pytest.fixture
def upstream() -> FakeUpstream:
    """The provider of the suite's settings, which counts its calls."""
    fake = upstreams["default"]
    assert isinstance(fake, FakeUpstream)
    return fake


@pytest.fixture
def counted() -> Callable[[str], int]:
    """How often an unusual event has been counted since the test began."""
    before = events.counts()
    return lambda name: events.counts().get(name, 0) - before.get(name, 0)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str, str], None]:
    """Have one operation of a store fail from now on, with an error that says this."""

    def begin(store: Any, operation: str, words: str) -> None:
        def fail(*args: object) -> None:
            raise OSError(words)

        monkeypatch.setattr(store, operation, fail)

    return begin


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest) -> Iterator[SyncDoor | AsyncDoor]:
    """The sync and then the async functions: a case that uses it runs over both."""
    opened = SyncDoor() if request.param == "sync" else AsyncDoor()
    yield opened
    opened.close()
