"""What fails a test: calls that are not recorded, swallowed ones, and recordings left unused."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import llmcache
from llmcache import state
from llmcache.exceptions import UpstreamError
from llmcache.testing import (
    CassetteError,
    UnexpectedLiveCall,
    UnusedRecordings,
    use_cassette,
)
from tests.doors import AsyncDoor, SyncDoor
from tests.servers.provider import Provider
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
