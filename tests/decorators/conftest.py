"""The site whose views the cases decorate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.decorators.doors import Door


@pytest.fixture(params=["sync", "async"])
def site_door(request: pytest.FixtureRequest, settings: Any) -> Iterator[Door]:
    """The sync and then the async way to a view: a case that uses it runs over both."""
    door = Door(settings, is_async=request.param == "async")
    yield door
    door.close()
