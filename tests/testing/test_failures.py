"""What fails a test: calls that are not recorded, swallowed ones, and recordings left unused."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import llmcache
from llmcache import state
from llmcache.exceptions import RateLimited, UpstreamError
from llmcache.testing import (
    CassetteError,
    UnexpectedLiveCall,
    UnusedRecordings,
    UpstreamCalls,
    use_cassette,
)
from llmcache.testing.cassette import write
from tests.doors import AsyncDoor, SyncDoor
from tests.servers.provider import Provider, answer
from tests.testing.conftest import asked

Door = SyncDoor | AsyncDoor


def test_strict_fails_where_a_recorded_call_is_not_made(site: Provider, path: Path) -> None:
    with use_cassette(path, mode="record"):
        for text in ("used", "not used"):
            llmcache.completion(**asked(text))
    with use_cassette(path) as player:
        llmcache.completion(**asked("used"))
    assert player is not None
    assert len(player.unused) == 1
    told = r"(?s)not made:\n  2: completion 'm'.*'not used'"
    with pytest.raises(UnusedRecordings, match=told), use_cassette(path, strict=True):
        llmcache.completion(**asked("used"))


def test_a_swallowed_live_call_fails_all_the_same(door: Door, site: Provider, path: Path) -> None:
    with pytest.raises(UnexpectedLiveCall), use_cassette(path), contextlib.suppress(Exception):
        door.completion(**asked())
    assert site.requests == []


def test_a_live_call_swallowed_in_a_thread_fails_too(site: Provider, path: Path) -> None:
    with pytest.raises(UnexpectedLiveCall), use_cassette(path), ThreadPoolExecutor(1) as pool:
        pool.submit(llmcache.completion, **asked())


def test_the_failure_that_follows_a_swallowed_call_names_it_as_its_cause(
    site: Provider, path: Path
) -> None:
    with pytest.raises(UnexpectedLiveCall) as caught, use_cassette(path):
        answers = {}
        with contextlib.suppress(Exception):
            answers["a"] = llmcache.completion(**asked())
        answers["a"]
    assert isinstance(caught.value.__cause__, KeyError)


def test_errors_that_a_test_provokes_may_be_cleared(site: Provider, path: Path) -> None:
    with use_cassette(path) as player:
        with pytest.raises(UnexpectedLiveCall):
            llmcache.completion(**asked())
        assert player is not None
        player.problems.clear()


def test_the_code_under_test_does_not_take_it_for_a_failing_provider(
    site: Provider, path: Path
) -> None:
    with pytest.raises(UnexpectedLiveCall), use_cassette(path):
        try:
            llmcache.completion(**asked())
        except UpstreamError:
            pytest.fail("it was")


def test_a_lone_surrogate_is_refused_in_words(door: Door, site: Provider, path: Path) -> None:
    for mode in ("record", "replay"):
        told = r"fits into no cassette.*surrogates"
        with pytest.raises(CassetteError, match=told), use_cassette(path, mode=mode):
            door.completion(**asked("\ud800"))
    assert site.requests == []


def test_caching_switched_off_by_the_program_stays_off(site: Provider, path: Path) -> None:
    state.use(None)
    with use_cassette(path, mode="record"):
        assert llmcache.completion(**asked()).cache.outcome == "bypass"


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "cannot be read"),
        (
            lambda path: path.write_text(
                '{"format": 1, "interactions": [{"request": {"kind": "completion"}}]}'
            ),
            "an interaction that is not complete",
        ),
    ],
)
def test_a_cassette_that_cannot_be_read_says_why(
    site: Provider, path: Path, write: Any, words: str
) -> None:
    write(path)
    with pytest.raises(CassetteError, match=words), use_cassette(path):
        pass


def test_a_cassette_that_cannot_be_replaced_leaves_nothing_behind(path: Path) -> None:
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write(path, [])
    assert list(path.parent.iterdir()) == [path]


def test_a_call_that_fits_into_no_cassette_is_counted_all_the_same(
    door: Door, site: Provider
) -> None:
    with UpstreamCalls() as calls, contextlib.suppress(UpstreamError):
        door.completion(**asked("\ud800"))
    calls.assert_count(1)
    assert "fits into no cassette" in str(calls[0].params)


def test_an_error_before_the_first_chunk_is_one_however_it_is_asked_for(
    door: Door, site: Provider, path: Path
) -> None:
    site.script(answer({"error": {"message": "slowly"}}, 429))
    with use_cassette(path, mode="record"), pytest.raises(RateLimited):
        door.completion(**asked())
    loosely = use_cassette(path, match_on=("kind", "model", "params"))
    with loosely, pytest.raises(RateLimited, match="slowly"):
        door.chunks(door.completion(**asked(), stream=True))
    assert len(site.requests) == 1


def test_of_many_differences_the_first_are_shown(site: Provider, path: Path) -> None:
    first = {f"p{number:02}": 1 for number in range(20)}
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked("far away, and longer than the other one"))
        llmcache.completion(**asked(logit_bias=first))
        llmcache.completion(**asked("far away, and longer than the other two"))
    with pytest.raises(UnexpectedLiveCall) as caught, use_cassette(path):
        llmcache.completion(**asked(logit_bias=dict.fromkeys(first, 2)))
    told = str(caught.value)
    assert "The nearest of 3 recorded is number 2" in told
    assert "logit_bias.p11: 1 -> 2\n  and 8 more\n" in told and "p12" not in told


@pytest.mark.parametrize("name", ["filter_request", "filter_answer"])
def test_a_filter_that_gives_nothing_back_is_named_though_the_code_swallows_it(
    site: Provider, path: Path, name: str
) -> None:
    given: dict[str, Any] = {name: lambda made: None}
    told = f"{name} must return what is to be written, not None"
    block, swallowed = use_cassette(path, mode="record", **given), contextlib.suppress(Exception)
    with pytest.raises(CassetteError, match=told), block, swallowed:
        llmcache.completion(**asked())
    assert not path.exists()
