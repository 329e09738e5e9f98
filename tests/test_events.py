"""Unusual events are counted always, and logged in a number of different texts that has an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import llmcache
from llmcache import events
from llmcache.exceptions import ServerFailed
from llmcache.signals import call_failed
from llmcache.upstreams.fake import FakeUpstream

Counted = Callable[[str], int]


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_what_is_said_again_is_counted_and_not_logged_again(
    caplog: pytest.LogCaptureFixture, counted: Counted
) -> None:
    for _ in range(3):
        events.warn_once("odd", "The field %s is odd", "a")
    events.warn_once("odd", "The field %s is odd", "b")
    assert texts(caplog) == ["The field a is odd", "The field b is odd"]
    assert counted("odd") == 4


def test_ever_new_texts_end_in_a_closing_line_and_are_counted_on(
    caplog: pytest.LogCaptureFixture, counted: Counted
) -> None:
    for number in range(250):
        events.warn_once("odd", "The field %s is odd", number)
    for number in range(250):  # neither what was logged nor what was not is told anew
        events.warn_once("odd", "The field %s is odd", number)
    *said, closing = texts(caplog)
    assert said == [f"The field {number} is odd" for number in range(100)]
    assert closing == "Further events of the kind 'odd' are counted, and not logged any more"
    assert counted("odd") == 500


def test_one_kind_that_is_said_too_often_does_not_silence_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(250):
        events.warn_once("odd", "The field %s is odd", number)
    caplog.clear()
    events.warn_once("strange", "The field %s is odd", 0)
    assert texts(caplog) == ["The field 0 is odd"]


class Failing(llmcache.CustomLogger):
    """A callback that fails whatever it is told."""

    def log_success_event(self, *told: Any) -> None:
        raise LookupError("my own")

    log_failure_event = log_success_event

    async def async_log_success_event(self, *told: Any) -> None:
        raise LookupError("my own")

    async_log_failure_event = async_log_success_event


def test_a_callback_that_fails_breaks_neither_an_answer_nor_the_providers_error(
    door: Any, upstream: FakeUpstream, counted: Counted
) -> None:
    heard: list[Any] = []

    def failed(error: Any, **told: Any) -> None:
        heard.append(error)
        raise LookupError("a receiver's own")

    llmcache.callbacks = [Failing()]
    call_failed.connect(failed)
    try:
        messages = [{"role": "user", "content": "Hi"}]
        assert door.completion("m", messages=messages).choices
        upstream.fail = 503
        with pytest.raises(ServerFailed):
            door.completion("other", messages=messages)
    finally:
        call_failed.disconnect(failed)
    assert [type(error) for error in heard] == [ServerFailed]
    assert counted("callback_error") == 2
