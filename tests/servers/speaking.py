"""A provider over HTTP that answers whatever it is asked, as OpenAI and Anthropic do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llmcache.conf import ProviderSettings
from llmcache.http import event_stream, requests
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.servers.provider import Provider, answer, running, stream


def speak(provider: Provider, fake: FakeUpstream) -> None:
    """Let a provider answer as a FakeUpstream does."""

    def behave(handler: Any) -> None:
        recorded = provider.requests[-1]
        kind, _ = requests.kind_of(recorded.path) or ("completion", "")
        params = {name: value for name, value in recorded.json.items() if name != "model"}
        request = UpstreamRequest(kind=kind, model=recorded.json["model"], params=params)
        if params.get("stream"):
            stream(list(event_stream.frames(kind, fake.stream(request))))(handler)
        else:
            answer(fake.call(request))(handler)

    provider.script(behave)


@contextmanager
def speaking_provider() -> Iterator[Provider]:
    """A provider that answers by the fake upstream, until the block ends."""
    with running() as made:
        speak(made, FakeUpstream(ProviderSettings(name="fake")))
        yield made


@pytest.fixture
def speaking() -> Iterator[Provider]:
    """A provider that answers whatever it is asked, of the test's own."""
    with speaking_provider() as made:
        yield made
