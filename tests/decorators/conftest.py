"""The site whose views the cases decorate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.decorators.doors import Door
from tests.decorators.functions import Generators, Way


@pytest.fixture(params=["sync", "async"])
def site_door(request: pytest.FixtureRequest, settings: Any) -> Iterator[Door]:
    """The sync and then the async way to a view: a case that uses it runs over both."""
    door = Door(settings, is_async=request.param == "async")
    yield door
    door.close()


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    """Sync and then async functions."""
    return Way(request.param == "async")


@pytest.fixture(params=["sync", "async"])
def generators(request: pytest.FixtureRequest) -> Generators:
    """Sync and then async generators."""
    return Generators(request.param == "async")
