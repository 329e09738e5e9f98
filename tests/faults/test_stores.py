"""A store that is broken costs its hits, and nothing else: each caller has the right answer, each
failure is counted, and what was stored is there when the store is."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from llmcache import caching
from llmcache.upstreams.fake import FakeUpstream
from tests.faults.every import FAULTS
from tests.faults.parts import Part
from tests.servers.ports import Missing

QUICK = {"BACKEND_TIMEOUT": 0.5, "BREAKER_THRESHOLD": 2, "BREAKER_COOLDOWN": 0.2}


@pytest.fixture(params=sorted(FAULTS))
def part(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store that works, with a way to break it."""
    from tests.conftest import missing

    if request.param.startswith("s3"):  # one server for all of them
        url = request.getfixturevalue("s3_server").endpoint_url
        request.getfixturevalue("monkeypatch").setenv("LLMCACHE_TEST_S3_ENDPOINT", url)
    with ExitStack() as stack:
        try:
            part = stack.enter_context(FAULTS[request.param](tmp_path))
        except Missing as error:
            missing(request.param, error)
        stack.enter_context(
            override_settings(LLMCACHE={"default": part.store}, LLMCACHE_CONFIG=QUICK)
        )
        yield part
        store = caching.for_alias("default")
        assert store is not None
        store.close()


def question() -> str:
    """One that nobody has asked before, and too long to be compressed away."""
    return secrets.token_hex(12_000)


def ask(door: Any, text: str, *, stream: bool = False) -> str:
    """The outcome of a call whose answer is right: the fake provider quotes the question."""
    messages = [{"role": "user", "content": text}]
    response = door.completion("m", messages=messages, stream=stream)
    if stream:
        chunks = door.chunks(response)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    else:
        said = response.choices[0].message.content
    assert text in said
    outcome: str = response.cache.outcome
    return outcome


def is_hit(door: Any, text: str) -> bool:
    """Whether the store answers, sooner or later."""
    deadline = time.monotonic() + 30
    while ask(door, text) != "hit":
        if time.monotonic() > deadline:
            return False
        door.sleep(0.05)
    return True


def test_a_broken_store_costs_its_hits_and_nothing_else(
    door: Any,
    part: Part,
    upstream: FakeUpstream,
    counted: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = [question() for _ in range(3)]
    for text in known:
        ask(door, text)
        assert is_hit(door, text)
    caplog.clear()
    before = failures(counted)
    part.strike()
    try:
        seen = {ask(door, text, stream=bool(n % 2)) for n, text in enumerate(known * 2)}
        new = {ask(door, question(), stream=bool(n % 2)) for n in range(4)}
    finally:
        part.mend()
    assert (seen <= part.known, new <= part.new) == (True, True), (seen, new)
    if part.fails:
        assert failures(counted) > before
        assert "Alias 'default'" in caplog.text
    # What was stored is there. The first call may be the one that finds out that the store is back.
    door.sleep(QUICK["BREAKER_COOLDOWN"] + 0.1)
    upstream.reset()
    outcomes = [ask(door, text) for text in known]
    assert outcomes.count("hit") >= len(known) - 1, outcomes
    latest = question()
    ask(door, latest)
    assert is_hit(door, latest)


def failures(counted: Callable[[str], int]) -> int:
    """How often the store has failed."""
    names = ("read_error", "write_error", "claim_error", "write_skipped")
    return sum(counted(name) for name in names)
