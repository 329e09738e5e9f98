"""The writer's thread goes on, whatever becomes of what it has been given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache import signals, writer
from llmcache.exceptions import LLMCacheError


def test_work_that_raises_keeps_nobody_elses_from_being_done(
    counted: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    def fail() -> None:
        raise LLMCacheError("no key")

    assert writer.later(fail) and writer.later(done.set)
    assert done.wait(10)
    assert counted("write_error") == 1
    assert "no key" in caplog.text


@override_settings(LLMCACHE_CONFIG={"WRITER": "thread"})
def test_entries_are_stored_after_one_that_nobody_could_be_told_of(
    door: Any, monkeypatch: pytest.MonkeyPatch, counted: Callable[[str], int]
) -> None:
    def listen(**kwargs: Any) -> None:
        pass

    def fail(*args: object, **kwargs: object) -> None:
        monkeypatch.undo()
        raise LLMCacheError("the keys have changed")

    signals.entry_stored.connect(listen)
    monkeypatch.setattr(writer, "unseal", fail)
    try:
        for text in ("one", "two"):
            door.completion("m", messages=[{"role": "user", "content": text}])
            writer.flush()
    finally:
        signals.entry_stored.disconnect(listen)
    assert counted("write_error") == 1
    assert door.completion("m", messages=[{"role": "user", "content": "two"}]).cache.hit
    assert llmcache.completion("m", messages=[{"role": "user", "content": "one"}]).cache.hit
