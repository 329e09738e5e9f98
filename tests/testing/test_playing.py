"""What is recorded from a real server is replayed without it: every kind, sync and async."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import llmcache
from llmcache.exceptions import RateLimited, StreamBroken, UpstreamError
from llmcache.testing import (
    CassetteError,
    UnexpectedLiveCall,
    use_cassette,
)
from tests.doors import AsyncDoor, SyncDoor
from tests.servers.provider import CHAT, Provider, answer, delta, events, refusal, stream
from tests.testing.conftest import KEY, asked

Door = SyncDoor | AsyncDoor


def recorded(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["interactions"]


def reply(text: str) -> dict[str, Any]:
    choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": text}}
    return {**CHAT, "choices": [choice]}


def said(response: Any) -> str:
    return response.choices[0].message.content


def test_a_recorded_answer_is_replayed_without_the_provider(
    door: Door, site: Provider, path: Path
) -> None:
    with use_cassette(path, mode="record"):
        first = door.completion(**asked())
    assert len(site.requests) == 1
    with use_cassette(path):
        second = door.completion(**asked())
    assert second == first
    assert second.cache.outcome == "miss"
    assert len(site.requests) == 1


def test_what_is_recorded_sync_is_replayed_async(site: Provider, path: Path) -> None:
    with use_cassette(path, mode="record"):
        first = llmcache.completion(**asked())
    opened = AsyncDoor()
    with use_cassette(path):
        assert opened.completion(**asked()) == first
    opened.close()


def test_a_stream_is_recorded_and_replayed_chunk_by_chunk(
    door: Door, site: Provider, path: Path
) -> None:
    site.script(stream(events(delta("Hel"), delta("lo"), delta(finish_reason="stop"))))
    with use_cassette(path, mode="record"):
        live = door.chunks(door.completion(**asked(), stream=True))
    assert len(recorded(path)[0]["chunks"]) == 3
    assert recorded(path)[0]["request"]["stream"] is True
    with use_cassette(path, chunk_delay=0.001):
        again = door.chunks(door.completion(**asked(), stream=True))
    assert [chunk.model_dump() for chunk in again] == [chunk.model_dump() for chunk in live]
    assert len(site.requests) == 1


def test_a_stream_that_breaks_breaks_again_at_the_same_place(
    door: Door, site: Provider, path: Path
) -> None:
    site.script(stream(events(delta("Hel"), delta("lo"), done=False), end="broken"))
    for mode in ("record", "replay"):
        with use_cassette(path, mode=mode):
            source = door.completion(**asked(), stream=True)
            assert len(door.chunks(source, 2)) == 2
            with pytest.raises(StreamBroken):
                door.chunks(door.completion(**asked("again"), stream=True))
    assert len(site.requests) == 2


def test_a_stream_left_by_its_reader_ends_there_when_replayed(
    door: Door, site: Provider, path: Path
) -> None:
    site.script(stream(events(delta("a"), delta("b"), delta("c"))))
    with use_cassette(path, mode="record"):
        door.chunks(door.completion(**asked(), stream=True), 2)
    with use_cassette(path):
        assert len(door.chunks(door.completion(**asked(), stream=True), 2)) == 2
    told = "left by its reader after 2 chunks"
    with pytest.raises(UnexpectedLiveCall, match=told), use_cassette(path):
        door.chunks(door.completion(**asked(), stream=True))


def test_a_stream_without_a_chunk_is_replayed_as_one(
    door: Door, site: Provider, path: Path
) -> None:
    site.script(stream(events()))
    for mode in ("record", "replay"):
        with use_cassette(path, mode=mode):
            assert door.chunks(door.completion(**asked(), stream=True)) == []
    assert recorded(path)[0]["chunks"] == []
    assert len(site.requests) == 1


def test_a_stream_may_answer_a_plain_call_and_the_reverse_where_stream_does_not_matter(
    site: Provider, path: Path
) -> None:
    parts = ("kind", "model", "params")
    site.script(stream(events(delta("Hel"), delta("lo"), delta(finish_reason="stop"))))
    with use_cassette(path, mode="record"):
        list(llmcache.completion(**asked(), stream=True))
    with use_cassette(path, match_on=parts):
        assert said(llmcache.completion(**asked())) == "Hello"
    path.unlink()
    site.script(answer(reply("Hello")))
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked())
    with use_cassette(path, match_on=parts):
        chunks = list(llmcache.completion(**asked(), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_an_error_is_the_same_when_replayed(
    door: Door, site: Provider, path: Path, status: int
) -> None:
    site.script(refusal(status, {"retry-after-ms": "7000"}))
    found: list[UpstreamError] = []
    for mode in ("record", "replay"):
        with use_cassette(path, mode=mode), pytest.raises(UpstreamError) as caught:
            door.completion(**asked())
        found.append(caught.value)
    live, again = found
    assert len(site.requests) == 1
    assert type(again) is type(live)
    assert str(again) == str(live)
    assert again.__dict__ == live.__dict__
    if status == 429:
        assert isinstance(again, RateLimited)
        assert again.retry_after == 7


def test_a_cassette_with_an_error_of_no_class_says_which_there_are(
    door: Door, site: Provider, path: Path
) -> None:
    site.script(answer({"error": {"message": "no"}}, 429))
    with use_cassette(path, mode="record"), pytest.raises(RateLimited):
        door.completion(**asked())
    path.write_text(path.read_text().replace("RateLimited", "RateLimitted"))
    with use_cassette(path), pytest.raises(CassetteError, match=r"'RateLimitted'; known are.*Rate"):
        door.completion(**asked())


def test_embeddings_are_replayed_with_each_vector_on_one_line(
    door: Door, site: Provider, path: Path
) -> None:
    vectors = [{"object": "embedding", "index": n, "embedding": [n, 0.25, -1e-7]} for n in (0, 1)]
    site.script(answer({"object": "list", "data": vectors, "model": "e", "usage": {}}))
    with use_cassette(path, mode="record"):
        first = door.embedding(model="e", input=["a", "b"])
    assert "[1, 0.25, -1e-07]" in path.read_text()
    with use_cassette(path):
        assert door.embedding(model="e", input=["a", "b"]) == first
    assert len(site.requests) == 1


def test_a_transcription_keeps_the_files_hash_and_not_its_bytes(
    door: Door, site: Provider, path: Path
) -> None:
    site.script(answer({"text": "spoken words"}))
    sound = b"RIFF very long sound"
    with use_cassette(path, mode="record"):
        door.transcription(model="w", file=("a.wav", sound))
    assert b"very long" not in path.read_bytes()
    assert len(recorded(path)[0]["request"]["params"]["file"]["sha256"]) == 64
    with use_cassette(path):
        assert door.transcription(model="w", file=("other.wav", sound)).text == "spoken words"
    with pytest.raises(UnexpectedLiveCall, match=r"params.file.sha256"), use_cassette(path):
        door.transcription(model="w", file=b"another sound")
    assert len(site.requests) == 1


def test_messages_are_replayed(door: Door, site: Provider, settings: Any, path: Path) -> None:
    backend = "llmcache.upstreams.anthropic.Anthropic"
    options = {"base_url": site.base_url, "api_key": KEY}
    settings.LLMCACHE_PROVIDERS = {"anthropic": {"BACKEND": backend, "OPTIONS": options}}
    made = {"id": "1", "type": "message", "role": "assistant", "content": [], "usage": {}}
    site.script(answer({**made, "stop_reason": "end_turn"}))
    question = {**asked(), "model": "anthropic/claude", "max_tokens": 5}
    with use_cassette(path, mode="record"):
        first = door.messages(**question)
    with use_cassette(path):
        assert door.messages(**question) == first
    assert recorded(path)[0]["request"]["provider"] == "anthropic"
    assert len(site.requests) == 1


def test_equal_calls_are_answered_in_the_order_of_their_recording(
    door: Door, site: Provider, path: Path
) -> None:
    site.script(answer(reply("one")), answer(reply("two")))
    found = []
    for mode in ("record", "replay"):
        with use_cassette(path, mode=mode):
            found.append([said(door.completion(**asked(), caching=False)) for _ in range(2)])
    assert found == [["one", "two"], ["one", "two"]]
    assert len(site.requests) == 2


def test_a_recording_answers_once_unless_it_may_repeat(site: Provider, path: Path) -> None:
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked())
    with use_cassette(path, repeat=True):
        for _ in range(3):
            llmcache.completion(**asked(), caching=False)
    told = "recorded once, and each recording has answered"
    with pytest.raises(UnexpectedLiveCall, match=told), use_cassette(path):
        for _ in range(2):
            llmcache.completion(**asked(), caching=False)


def test_the_cache_works_as_always_while_a_cassette_is_in(
    door: Door, site: Provider, path: Path
) -> None:
    with use_cassette(path, mode="record"):
        outcomes = [door.completion(**asked()).cache.outcome for _ in range(2)]
    assert outcomes == ["miss", "hit"]
    assert len(recorded(path)) == 1


def test_threads_share_one_cassette(site: Provider, path: Path) -> None:
    def ask(number: int) -> str:
        return said(llmcache.completion(**asked(str(number))))

    site.script(*[answer(reply(f"answer {n}")) for n in range(40)])
    with ThreadPoolExecutor(8) as pool:
        with use_cassette(path, mode="record"):
            first = list(pool.map(ask, range(40)))
        with use_cassette(path, strict=True):
            assert list(pool.map(ask, range(40))) == first
    assert len(set(first)) == len(site.requests) == 40


# --- calls that embedders and judges make ---


def by_meaning(settings: Any, tmp_path: Path) -> None:
    """Answers are found by meaning, with the provider's embeddings and a model that judges."""
    model = {"BACKEND": "provider", "OPTIONS": {"model": "text-embedding-3-small"}}
    judge = {"BACKEND": "provider", "OPTIONS": {"model": "judge"}}
    settings.LLMCACHE = {
        "default": {
            "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
            "LOCATION": str(tmp_path / "vectors"),
            "OPTIONS": {
                "embedder": model,
                "judge": judge,
                "similarity_threshold": 0.5,
                "judge_band": [0.1, 0.9999],
                "guards": [],
            },
        }
    }


def test_the_calls_of_embedders_and_judges_are_recorded_and_replayed(
    door: Door, site: Provider, settings: Any, path: Path, tmp_path: Path
) -> None:
    by_meaning(settings, tmp_path)

    def script(handler: Any) -> None:
        asked_for = site.requests[-1].json
        if "input" in asked_for:
            vector = [1.0, 0.0] if "capital" in asked_for["input"] else [0.8, 0.6]
            data = [{"object": "embedding", "index": 0, "embedding": vector}]
            answer({"object": "list", "data": data, "usage": {}})(handler)
        else:
            answer(reply("yes" if asked_for["model"] == "judge" else "Paris"))(handler)

    site.script(script)
    texts = ("What is the capital of France?", "Which city governs France?")
    for mode in ("record", "replay"):
        with use_cassette(path, mode=mode, strict=True):
            found = [door.completion(**asked(text)) for text in texts]
        assert [said(one) for one in found] == ["Paris", "Paris"]
        assert [one.cache.outcome for one in found] == ["miss", "hit"]
    kinds = [(one["request"]["kind"], one["request"]["model"]) for one in recorded(path)]
    assert sorted(kinds) == [
        ("completion", "judge"),
        ("completion", "m"),
        ("embedding", "text-embedding-3-small"),
        ("embedding", "text-embedding-3-small"),
    ]
    assert len(site.requests) == 4


def test_a_live_call_of_an_embedder_fails_though_the_cache_swallows_it(
    site: Provider, settings: Any, path: Path, tmp_path: Path
) -> None:
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked())
    by_meaning(settings, tmp_path)
    told = "embedding 'text-embedding-3-small'"
    with pytest.raises(UnexpectedLiveCall, match=told), use_cassette(path):
        assert said(llmcache.completion(**asked())) == "Hello!"
    assert len(site.requests) == 1
