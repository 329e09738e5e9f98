"""The store of a contract test, made by one of the factories; its sync and its async door."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llmcache.backends.base import BaseBackend
from llmcache.testing.twins import door_of
from tests.backends.spied import Three
from tests.backends.stores import FACTORIES, Make

# Other threads see a test's tables only if the test runs in no transaction.
DATABASE = pytest.mark.django_db(transaction=True)


@pytest.fixture(
    params=[
        pytest.param(name, marks=DATABASE if name == "database" else ())
        for name in sorted(FACTORIES)
    ]
)
def make(request: pytest.FixtureRequest, settings: Any) -> Iterator[Make]:
    """Makes backends of one kind at one place; closes them after the test."""
    # A machine that runs the whole suite may take longer than a quarter of a second now and then.
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 5.0}
    inner = FACTORIES[request.param](request)
    made = []

    def make(**changes: Any) -> BaseBackend:
        backend = inner(**changes)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Turns a backend into one that is called through its sync or its async methods."""
    with door_of(request.param) as opened:
        yield opened


@pytest.fixture
def store(make: Make, door: Any) -> Any:
    """One store, behind its sync or its async door."""
    return door(make())


@pytest.fixture
def three(door: Any) -> Three:
    """Three layers, used through one door."""
    return Three(door)
