"""A provider of somebody else's, with an API of its own: calls through it are cached as others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from django.test import override_settings

from llmcache.checks import check_settings
from llmcache.exceptions import (
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerFailed,
    StreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from llmcache.testing import UnexpectedLiveCall, block_live_calls, use_cassette
from llmcache.upstreams import upstreams
from tests.servers.provider import Behaviour, Provider, answer, drop, hang, stream

ASKED: dict[str, Any] = {
    "model": "local/smollm",
    "messages": [{"role": "user", "content": "Hello?"}],
    "temperature": 0,
}


def said(text: str, *, done: bool = True) -> dict[str, Any]:
    """What Ollama says, in one piece or as one line of a stream."""
    known = {"model": "smollm", "created_at": "2026-01-31T00:00:00Z", "done": done}
    ending = {"done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2} if done else {}
    return {**known, "message": {"role": "assistant", "content": text}, **ending}


def lines(*pieces: dict[str, Any], end: str = "clean") -> Behaviour:
    return stream([orjson.dumps(piece) + b"\n" for piece in pieces], end=end)


@contextmanager
def site(provider: Provider, **options: Any) -> Iterator[None]:
    base_url = provider.base_url.removesuffix("/v1")
    local = {
        "BACKEND": "tests.thirdparty.upstream.OllamaUpstream",
        "OPTIONS": {"base_url": base_url, **options},
    }
    with override_settings(LLMCACHE_PROVIDERS={"local": local}):
        yield


@pytest.fixture(autouse=True)
def local(provider: Provider) -> Iterator[None]:
    provider.script(answer(said("Hello!")))
    with site(provider):
        yield


def test_its_answers_are_cached(door: Any, provider: Provider) -> None:
    first, second = door.completion(**ASKED), door.completion(**ASKED)
    assert (first.cache.outcome, second.cache.outcome) == ("miss", "hit")
    assert second == first
    assert first.choices[0].message.content == "Hello!"
    assert second.cache.saved_tokens == 5
    (request,) = provider.requests
    assert request.path == "/api/chat"
    assert request.json["options"] == {"temperature": 0} and request.json["model"] == "smollm"


def test_its_streams_are_cached_and_serve_plain_calls_too(door: Any, provider: Provider) -> None:
    provider.script(lines(said("Hel", done=False), said("lo!")))
    live = door.completion(**ASKED, stream=True)
    texts = [chunk.choices[0].delta.content for chunk in door.chunks(live)]
    assert texts == ["Hel", "lo!"]
    again = door.completion(**ASKED, stream=True)
    assert again.cache.outcome == "hit"
    assert [c.choices[0].delta.content for c in door.chunks(again)] == texts
    whole = door.completion(**ASKED)
    assert whole.cache.hit and whole.choices[0].message.content == "Hello!"
    assert whole.usage.total_tokens == 5
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (answer({"error": "model 'smollm' not found"}, 404), NotFound),
        (answer({"error": "slow down"}, 429), RateLimited),
        (answer({"error": "out of memory"}, 500), ServerFailed),
        (drop, UpstreamUnreachable),
    ],
    ids=["404", "429", "500", "dropped"],
)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_its_errors_are_ours_and_are_not_cached(
    door: Any, provider: Provider, behaviour: Behaviour, error: type[Exception], streams: bool
) -> None:
    good = lines(said("Hello!")) if streams else answer(said("Hello!"))
    provider.script(behaviour, good)
    with pytest.raises(error) as caught:
        door.completion(**ASKED, stream=streams)
    assert getattr(caught.value, "provider", "") == "local"
    assert door.completion(**ASKED, stream=streams).cache.outcome == "miss"


def test_one_that_takes_too_long_is_a_timeout(door: Any, provider: Provider) -> None:
    provider.script(hang)
    with site(provider, timeout=0.05), pytest.raises(UpstreamTimeout):
        door.completion(**ASKED)


def test_a_stream_that_breaks_off_is_not_stored(door: Any, provider: Provider) -> None:
    provider.script(lines(said("Hel", done=False), end="broken"), lines(said("Hello!")))
    with pytest.raises(StreamBroken):
        door.chunks(door.completion(**ASKED, stream=True))
    assert door.completion(**ASKED, stream=True).cache.outcome == "miss"


def test_an_old_answer_serves_while_it_fails(door: Any, provider: Provider) -> None:
    cache = {"ttl": 0.01, "stale-if-error": 60}
    first = door.completion(**ASKED, cache=cache)
    provider.script(answer({"error": "out of memory"}, 500))
    door.sleep(0.02)
    old = door.completion(**ASKED, cache=cache)
    assert old == first and old.cache.outcome == "stale"


def test_calls_that_it_does_not_answer_are_refused_with_those_that_it_does(door: Any) -> None:
    with pytest.raises(
        InvalidRequest, match=r"'local' has no calls of the kind 'embedding'.*completion"
    ):
        door.embedding(model="local/smollm", input="Hello?")


def test_another_address_is_another_key(door: Any, provider: Provider) -> None:
    door.completion(**ASKED)
    with site(provider, base_url=provider.base_url.removesuffix("/v1") + "/other"):
        assert door.completion(**ASKED).cache.outcome == "miss"
    assert upstreams["local"].identity() != upstreams["local"].identity("http://elsewhere")


@pytest.mark.parametrize(
    ("options", "says"),
    [({"timout": 5}, "Did you mean 'timeout'"), ({"timeout": 0}, "a number of seconds above 0")],
)
def test_checks_find_a_wrong_option(provider: Provider, options: dict[str, Any], says: str) -> None:
    with site(provider, **options):
        (found,) = [message for message in check_settings() if message.is_serious()]
    assert found.id == "llmcache.E003" and says in found.msg


def test_tests_are_kept_from_it_and_cassettes_record_it(
    door: Any, provider: Provider, tmp_path: Any
) -> None:
    with pytest.raises(UnexpectedLiveCall), block_live_calls():
        door.completion(**ASKED)
    assert provider.requests == []
    cassette = tmp_path / "hello.json"
    with use_cassette(cassette, mode="record"):
        first = door.completion(**ASKED)
    with use_cassette(cassette, mode="replay"):
        assert door.completion(**ASKED) == first
    assert len(provider.requests) == 1


def test_a_cassette_does_not_have_its_token(door: Any, provider: Provider, tmp_path: Any) -> None:
    token = "olla-0123456789abcdef"
    provider.script(answer(said(f"Your token is {token}.")))
    cassette = tmp_path / "hello.json"
    with site(provider, token=token), use_cassette(cassette, mode="record"):
        door.completion(**ASKED)
    assert provider.requests[-1].headers["authorization"] == f"Bearer {token}"
    assert token not in cassette.read_text() and "Your token is [hidden]" in cassette.read_text()
