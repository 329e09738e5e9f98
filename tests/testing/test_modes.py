"""Which calls are asked and which replayed, what is written, and what is put back at the end."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import llmcache
from llmcache.exceptions import InvalidRequest
from llmcache.testing import (
    UnexpectedLiveCall,
    UpstreamCalls,
    use_cassette,
)
from tests.doors import AsyncDoor, SyncDoor
from tests.servers.provider import Provider
from tests.testing.conftest import asked

Door = SyncDoor | AsyncDoor


def recorded(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["interactions"]


def said(response: Any) -> str:
    return response.choices[0].message.content


def test_once_records_where_there_is_no_file_and_then_only_replays(
    site: Provider, path: Path
) -> None:
    with use_cassette(path, mode="once"):
        llmcache.completion(**asked())
    with use_cassette(path, mode="once"):
        llmcache.completion(**asked())
    assert len(site.requests) == 1


def test_new_episodes_keeps_what_is_recorded_and_adds_the_rest(site: Provider, path: Path) -> None:
    for texts in (["a"], ["a", "b"]):
        with use_cassette(path, mode="new_episodes"):
            for text in texts:
                llmcache.completion(**asked(text))
    assert len(recorded(path)) == len(site.requests) == 2


def test_off_asks_the_provider_and_writes_nothing(site: Provider, path: Path) -> None:
    with use_cassette(path, mode="off") as player:
        llmcache.completion(**asked())
    assert player is None
    assert len(site.requests) == 1
    assert not path.exists()


@pytest.mark.parametrize(("vcrs", "ours"), [("all", "record"), ("none", "replay")])
def test_vcrs_names_of_modes_are_understood(
    site: Provider, path: Path, vcrs: str, ours: str
) -> None:
    with use_cassette(path, mode=vcrs) as player:
        assert player is not None
        assert player.mode == ours


def test_the_mode_is_the_arguments_then_the_environments_then_replay(
    site: Provider, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMCACHE_TEST_MODE", "once")
    with use_cassette(path) as player, use_cassette(path, mode="replay") as inner:
        assert player is not None and inner is not None
        assert (player.mode, inner.mode) == ("once", "replay")
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("LLMCACHE_TEST_MODE")
        else:
            monkeypatch.setenv("LLMCACHE_TEST_MODE", unset)
        with use_cassette(path) as player:
            assert player is not None
            assert player.mode == "replay"


def test_an_unknown_mode_or_part_to_match_on_is_refused_with_those_that_exist(path: Path) -> None:
    with pytest.raises(InvalidRequest, match="Did you mean 'record'"):
        use_cassette(path, mode="recrod")
    with pytest.raises(InvalidRequest, match="part to match on 'modle'"):
        use_cassette(path, match_on=["modle"])


def test_recording_anew_replaces_the_file_and_tests_that_share_it_add_to_it(
    site: Provider, path: Path
) -> None:
    path.write_text('{"format": 1, "interactions": []}')
    for text in ("a", "b"):
        with use_cassette(path, mode="record"):
            llmcache.completion(**asked(text))
    assert [one["request"]["params"]["messages"][0]["content"] for one in recorded(path)] == [
        "a",
        "b",
    ]


def test_what_was_recorded_is_kept_when_the_test_fails(site: Provider, path: Path) -> None:
    with pytest.raises(ZeroDivisionError), use_cassette(path, mode="record"):
        llmcache.completion(**asked())
        raise ZeroDivisionError
    assert len(recorded(path)) == 1


def test_a_decorated_function_has_the_cassette_at_each_call(site: Provider, path: Path) -> None:
    @use_cassette(path, mode="once")
    def ask() -> str:
        return said(llmcache.completion(**asked()))

    @use_cassette(path)
    async def aask() -> str:
        return said(await llmcache.acompletion(**asked()))

    opened = AsyncDoor()
    assert [ask(), ask(), opened._runner.run(aask()), opened._runner.run(aask())] == ["Hello!"] * 4
    opened.close()
    assert len(site.requests) == 1


async def test_async_with_does_too(site: Provider, path: Path) -> None:
    async with use_cassette(path, mode="record"):
        await llmcache.acompletion(**asked())
    async with use_cassette(path):
        assert said(await llmcache.acompletion(**asked())) == "Hello!"
    assert len(site.requests) == 1


def test_the_inner_of_two_cassettes_answers(site: Provider, path: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner.json"
    with use_cassette(path), UpstreamCalls() as calls:
        with use_cassette(inner, mode="record"):
            llmcache.completion(**asked())
        with use_cassette(inner):
            llmcache.completion(**asked())
        calls.assert_count(2)
    assert len(site.requests) == 1


def test_after_the_block_all_is_as_before(site: Provider, path: Path) -> None:
    from llmcache.upstreams import upstreams

    llmcache.completion(**asked())
    with use_cassette(path, mode="record"):
        assert llmcache.completion(**asked()).cache.outcome == "miss"
        assert upstreams.interceptor is not None
    assert upstreams.interceptor is None
    assert llmcache.completion(**asked()).cache.outcome == "hit"


def test_each_call_of_a_decorated_function_is_judged_by_itself(site: Provider, path: Path) -> None:
    @use_cassette(path)
    def ask() -> None:
        with contextlib.suppress(Exception):
            llmcache.completion(**asked())

    for _ in range(2):
        with pytest.raises(UnexpectedLiveCall):
            ask()


def test_an_eager_task_meets_the_tests_cache_and_cassette(site: Provider, path: Path) -> None:
    app = Celery("eager", broker="memory://", set_as_current=False)
    app.conf.task_always_eager = True

    @app.task
    def ask() -> str:
        return str(llmcache.completion(**asked()).cache.outcome)

    for mode in ("record", "replay"):
        with use_cassette(path, mode=mode):
            assert [ask.delay().get() for _ in range(2)] == ["miss", "hit"]
    assert len(site.requests) == 1
