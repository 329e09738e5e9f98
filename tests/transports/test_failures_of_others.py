"""A call of another process, or of the functions in this one, that has failed: whoever waited hears
of that as if it had asked itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import openai
import pytest
from django.test import override_settings

from llmcache.exceptions import UpstreamError
from tests.flights.sides import ASK, Loop, Threads
from tests.servers.provider import Behaviour, Provider, drop, hang, refusal
from tests.transports.conftest import SDK


@pytest.fixture(params=["the functions", "the async functions"])
def leader(
    request: pytest.FixtureRequest, provider: Provider, tmp_path: Path
) -> Iterator[Threads | Loop]:
    """Who asks first. To the async SDK the sync functions are another process, and the reverse."""
    options = {"base_url": provider.base_url, "api_key_env": None, "max_retries": 0, "timeout": 0.5}
    store = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    with override_settings(
        LLMCACHE={"default": store},
        LLMCACHE_PROVIDERS={"default": {"OPTIONS": options}},
        LLMCACHE_CONFIG={"BACKEND_TIMEOUT": 20.0},
    ):
        made = Threads() if request.param == "the functions" else Loop()
        yield made
        made.close()


def after(begun: threading.Event, behaviour: Behaviour) -> Behaviour:
    """The provider's behaviour, not before somebody waits for it."""

    def behave(handler: Any) -> None:
        begun.wait(20)
        time.sleep(0.1)  # until that one has found that another asks
        behaviour(handler)

    return behave


def waited(sdk: SDK, leader: Any, behaviour: Behaviour) -> tuple[Exception, Future[Any]]:
    """The error of an SDK that waited for the leader's call, and that call."""
    begun = threading.Event()
    sdk.provider.script(after(begun, behaviour), refusal(418))
    leading = leader.ask()
    while not sdk.provider.requests:
        time.sleep(0.005)
    client = sdk.openai(http=sdk.http(account=None))
    begun.set()
    with pytest.raises(openai.APIError) as caught:
        sdk.run(client.chat.completions.create(**ASK))
    return caught.value, leading


def test_its_refusal_has_the_providers_words_and_its_wait(sdk: SDK, leader: Any) -> None:
    headers = {"retry-after-ms": "6500", "retry-after": "7"}
    error, leading = waited(sdk, leader, refusal(429, headers))
    assert isinstance(leading.exception(60), UpstreamError)
    assert isinstance(error, openai.RateLimitError)
    assert error.response.headers["retry-after"] == "7"  # whole seconds, as RFC 9110 has them
    assert error.request_id == "req_1"
    assert error.body == {"message": "refused with 429", "type": "test"}
    assert len(sdk.provider.requests) == 1


KINDS: list[tuple[Callable[..., None], type[Exception]]] = [
    (drop, openai.APIConnectionError),
    (hang, openai.APITimeoutError),
]


@pytest.mark.parametrize(("behaviour", "kind"), KINDS, ids=["cut", "timeout"])
def test_a_provider_that_it_could_not_reach_is_one(
    sdk: SDK, leader: Any, behaviour: Any, kind: type[Exception]
) -> None:
    error, leading = waited(sdk, leader, behaviour)
    assert isinstance(leading.exception(60), UpstreamError)
    assert type(error) is kind
    assert isinstance(error.__cause__, sdk.library.CacheTransport.library.TransportError)
    assert len(sdk.provider.requests) == 1
