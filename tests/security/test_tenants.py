"""No sequence of calls gives one scope what belongs to another, whatever the store and the call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.doors import AsyncDoor, SyncDoor

SCOPES = ("ann", "bob", "")
NUMBERS = {"ann": 101.0, "bob": 202.0, "": 303.0}
HEADER = "traceparent"  # reaches the provider, and is no part of any key
DJANGO = "llmcache.backends.django.DjangoCacheBackend"
STORES = ("locmem", "memory", "disk", "redis", "tiered", "similar")
DOORS = ("completion", "text_completion", "responses", "embedding", "transcription", "stream")

STALE = {"ttl": 0.001, "stale-while-revalidate": 60, "stale-if-error": 60}

CALLS = st.tuples(
    st.sampled_from(DOORS),
    st.sampled_from(SCOPES),
    st.sampled_from(["one", "two", "one two three four", "four three two one"]),
    st.sampled_from([{}, {"no-cache": True}, {"key": "own"}, {"tags": ["t"]}, {"ttl": 0}, STALE]),
)
EVICTIONS = st.sampled_from([{"tag": "t"}, {"scope": "ann"}, {"scope": "bob"}])


@pytest.fixture(params=STORES)
def using(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    """The alias of an empty store of each kind."""
    backends = "llmcache.backends"
    stores: dict[str, Any] = {
        "default": {"BACKEND": DJANGO},
        "locmem": {"BACKEND": DJANGO},
        "memory": {"BACKEND": f"{backends}.memory.MemoryBackend"},
        "disk": {"BACKEND": f"{backends}.disk.DiskBackend", "LOCATION": str(tmp_path / "e")},
        "similar": {
            "BACKEND": f"{backends}.semantic.local.LocalSemanticBackend",
            "LOCATION": str(tmp_path / "s"),
            "OPTIONS": {"embedder": "tests.matching.words.WordEmbedder"},
        },
        "tiered": {
            "BACKEND": f"{backends}.layered.LayeredBackend",
            "OPTIONS": {"layers": ["memory", "disk"]},
        },
    }
    if request.param == "redis":
        stores["redis"] = {
            "BACKEND": f"{backends}.redis.RedisBackend",
            "LOCATION": request.getfixturevalue("redis_server").url,
            "KEY_PREFIX": tmp_path.name,
        }
    with override_settings(LLMCACHE=stores):
        yield request.param


@pytest.fixture
def secrets(upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider says in each answer who has asked it."""

    def secret(request: UpstreamRequest) -> str:
        return f"secret of {request.extra_headers[HEADER]!r}"

    upstream.responses = secret
    call, acall = upstream.call, upstream.acall

    def marked(request: UpstreamRequest, body: bytes) -> bytes:
        if request.kind != "embedding":
            return body
        parsed = orjson.loads(body)
        for part in parsed["data"]:
            part["embedding"] = [NUMBERS[request.extra_headers[HEADER]]]
        return orjson.dumps(parsed)

    async def answer_later(request: UpstreamRequest) -> bytes:
        return marked(request, await acall(request))

    monkeypatch.setattr(upstream, "call", lambda request: marked(request, call(request)))
    monkeypatch.setattr(upstream, "acall", answer_later)


def ask(door: Any, using: str, asked: tuple[str, str, str, dict[str, Any]]) -> None:
    """One call of one scope; what it gets is that scope's own."""
    name, scope, text, controls = asked
    cache = {**controls, **({"scope": scope} if scope else {})}
    given: dict[str, Any] = {
        "model": "m",
        "using": using,
        "cache": cache,
        "extra_headers": {HEADER: scope},
    }
    if name in ("completion", "stream"):
        given["messages"] = [{"role": "user", "content": text}]
    elif name == "transcription":
        given["file"] = ("a.wav", text.encode())
    else:
        given["prompt" if name == "text_completion" else "input"] = text
    if name == "stream":
        said = str(door.chunks(door.completion(**given, stream=True)))
    elif name == "embedding":
        assert door.embedding(**given).data[0]["embedding"] == [NUMBERS[scope]]
        return
    else:
        said = getattr(door, name)(**given).raw.decode()
    for other in SCOPES:
        assert (f"secret of {other!r}" in said) is (other == scope), (asked, said)


@pytest.mark.django_db(transaction=True)
def test_no_sequence_of_calls_gives_a_scope_what_is_anothers(
    door: SyncDoor | AsyncDoor, using: str, secrets: None
) -> None:
    @settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(steps=st.lists(CALLS | EVICTIONS, min_size=6, max_size=14))
    def play(steps: list[Any]) -> None:
        for step in steps:
            if isinstance(step, dict):
                door.evict(**step)
            else:
                ask(door, using, step)

    play()
    for name in DOORS:  # what the sequences may have missed: each door, each scope, twice
        for _ in range(2):
            for scope in SCOPES:
                ask(door, using, (name, scope, "every", {}))


def test_scopes_that_ask_at_once_share_no_flight(
    using: str, secrets: None, upstream: FakeUpstream
) -> None:
    upstream.latency = 0.01
    door = SyncDoor()
    with ThreadPoolExecutor(6) as pool:
        for name in DOORS:
            calls = [(name, scope, "same", {}) for scope in SCOPES * 2]
            list(pool.map(lambda asked: ask(door, using, asked), calls))
