"""`llmcache_warm` makes the calls of a file, names the lines that fail, and goes on."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from llmcache.upstreams.fake import FakeUpstream

pytestmark = pytest.mark.django_db


def chat(text: str, **more: Any) -> str:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more})


@pytest.fixture
def requests(site: Path) -> Path:
    path = site / "requests.jsonl"
    lines = [
        chat("one", cache={"ttl": 3600}),
        "{not json",
        "",
        chat("two", stream=True),
        json.dumps({"model": "m"}),
        json.dumps(["a", "list"]),
        json.dumps({"kind": "embedding", "model": "m", "input": ["a", "b"]}),
        chat("one", cache={"tll": 1}),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_calls_are_made_and_bad_lines_are_named(
    run: Any, ask: Any, requests: Path, upstream: FakeUpstream
) -> None:
    done = run("warm", str(requests))
    assert done.code == 1
    assert done.out == "3 calls made: 3 miss.\n"
    named = [line.partition(": ")[0] for line in done.err.splitlines()]
    assert named == ["line 2", "line 5", "line 6", "line 8", "4 lines failed."]
    assert "Did you mean 'ttl'" in done.err
    assert upstream.call_count == 3
    assert ask("one").cache.outcome == ask("two").cache.outcome == "hit"


def test_what_is_cached_already_costs_nothing(
    run: Any, ask: Any, site: Path, upstream: FakeUpstream
) -> None:
    (site / "f").write_text(chat("one"))
    assert run("warm", str(site / "f")).out == "1 call made: 1 miss.\n"
    assert run("warm", str(site / "f")).out == "1 call made: 1 hit.\n"
    assert upstream.call_count == 1


def test_a_provider_that_fails_is_named_by_line_and_the_rest_is_made(
    run: Any, site: Path, upstream: FakeUpstream
) -> None:
    (site / "f").write_text("\n".join(map(chat, "abc")))
    upstream.fail, upstream.fail_times = 500, 1
    done = run("warm", str(site / "f"), "--concurrency", "1")
    assert done.code == 1
    assert done.out == "2 calls made: 2 miss.\n"
    assert done.err.startswith("line 1: ServerFailed")


def test_after_a_failure_no_call_is_begun_if_so_told(
    run: Any, site: Path, upstream: FakeUpstream
) -> None:
    (site / "f").write_text("\n".join(map(chat, "abcd")))
    upstream.fail, upstream.fail_times = 500, 1
    assert run("warm", str(site / "f"), "--concurrency=1", "--stop-on-error").code == 1
    assert upstream.call_count < 4


def test_an_answer_that_may_not_be_stored_is_told_apart(
    run: Any, site: Path, upstream: FakeUpstream
) -> None:
    (site / "f").write_text(chat("one"))
    upstream.finish_reason = "length"
    assert "1 not stored: the answer was cut" in run("warm", str(site / "f")).out


def test_a_dry_run_checks_the_lines_and_calls_nobody(
    run: Any, requests: Path, upstream: FakeUpstream
) -> None:
    done = run("warm", str(requests), "--dry-run")
    assert done.out == "3 requests can be made.\n"
    assert done.code == 1
    assert upstream.call_count == 0


def test_the_answers_go_to_the_store_that_was_named(
    run: Any, site: Path, upstream: FakeUpstream
) -> None:
    from llmcache.backends import stores

    (site / "f").write_text(chat("one"))
    run("warm", str(site / "f"), "--alias", "memory")
    assert len(list(stores["memory"].iterate())) == 1
    assert not list(stores["default"].iterate())


@pytest.mark.parametrize("wrong", [["--concurrency=0"], ["--alias=defualt"]], ids=" ".join)
def test_wrong_usage_is_told(run: Any, requests: Path, wrong: list[str]) -> None:
    assert run("warm", str(requests), *wrong).code == 2


def test_a_file_that_is_not_there_is_wrong_usage(run: Any, site: Path) -> None:
    done = run("warm", str(site / "nowhere"))
    assert done.code == 2
    assert "cannot be read: No such file" in done.err


def test_nothing_is_warmed_where_the_cache_is_off(
    run: Any, requests: Path, upstream: FakeUpstream
) -> None:
    with override_settings(LLMCACHE_CONFIG={"MODE": "off"}):
        done = run("warm", str(requests), "--alias", "default")
    assert done.code == 2 and "nothing would be stored" in done.err
    assert upstream.call_count == 0


def test_calls_come_by_the_standard_input_too(
    run: Any, ask: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(chat("one")))
    assert run("warm", "-").out == "1 call made: 1 miss.\n"
    assert ask("one").cache.outcome == "hit"
