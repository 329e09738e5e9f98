"""What may be stored, and for how long: every reason and every border."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from django.test import override_settings

from llmcache import policy
from llmcache.controls import Controls
from llmcache.streams import OWN_KINDS

SAID = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}
WRITTEN = {"choices": [{"text": "hello", "finish_reason": "stop"}]}


def chat(finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("completion", SAID),
        ("completion", chat(tool_calls=[{"id": "1"}])),
        ("completion", chat(function_call={"name": "f"})),
        ("completion", chat(refusal="I will not")),
        ("completion", chat(audio={"id": "1"})),
        ("completion", {**SAID, "error": None}),
        ("completion", {**SAID, "status": "failed"}),  # of responses alone
        ("completion", {**SAID, "status": "queued"}),
        ("text_completion", WRITTEN),
        ("transcription", {"text": "hello"}),
        ("embedding", {"data": [{"embedding": [0.1]}]}),
        ("responses", {"output": [{"type": "message"}]}),
        ("responses", {"output": [{"type": "message"}], "status": "completed"}),
        ("messages", {"content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"}),
        *((kind, {"refused": ""}) for kind in OWN_KINDS),
        *((kind, {"error": "a value of its own"}) for kind in OWN_KINDS),
    ],
)
def test_a_whole_answer_may_be_stored(kind: str, body: dict[str, Any]) -> None:
    assert policy.refusal(kind, body) == ""


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("completion", ["a list"], "the answer is not a JSON object"),
        ("completion", None, "the answer is not a JSON object"),
        ("completion", {**SAID, "error": {"message": "no"}}, "the answer is an error"),
        ("responses", {"output": [{}], "status": "failed"}, "the answer's status is failed"),
        ("responses", {"output": [{}], "status": "cancelled"}, "the answer's status is cancelled"),
        ("responses", {"output": [{}], "status": "queued"}, "the answer is not complete yet"),
        ("responses", {"output": [{}], "status": "in_progress"}, "the answer is not complete yet"),
        ("completion", {}, "the answer is empty"),
        ("completion", {"choices": None}, "the answer is empty"),
        ("completion", {"choices": [{"message": None}]}, "the answer is empty"),
        ("completion", {"choices": [{}]}, "the answer is empty"),
        ("completion", chat(content=""), "the answer is empty"),
        ("completion", chat(role="assistant"), "the answer is empty"),
        ("completion", {"choices": [*SAID["choices"], {}]}, "the answer is empty"),
        ("text_completion", {}, "the answer is empty"),
        ("text_completion", {"choices": [{"text": ""}]}, "the answer is empty"),
        ("text_completion", {"choices": [*WRITTEN["choices"], {}]}, "the answer is empty"),
        ("transcription", {}, "the answer is empty"),
        ("transcription", {"text": ""}, "the answer is empty"),
        ("transcription", {"text": 5}, "the answer is empty"),
        ("embedding", {}, "the answer is empty"),
        ("embedding", {"data": []}, "the answer is empty"),
        ("embedding", {"data": {"not": "a list"}}, "the answer is empty"),
        ("embedding", {"data": [{}, None]}, "the answer is empty"),
        ("responses", {"data": [{}]}, "the answer is empty"),
        ("responses", {"output": []}, "the answer is empty"),
        ("messages", {"data": [{}]}, "the answer is empty"),
        ("messages", {"content": ["not an object"]}, "the answer is empty"),
        *((kind, {"refused": "it says so"}, "it says so") for kind in OWN_KINDS),
    ],
)
def test_what_is_no_whole_answer_is_refused_with_its_reason(kind: str, body: Any, why: str) -> None:
    assert policy.refusal(kind, body) == why


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_cut_answer_is_stored_only_where_the_site_says_so(finish: str) -> None:
    body = chat(finish, content="half of")
    assert policy.refusal("completion", body) == f"the answer was cut (finish_reason {finish})"
    with override_settings(LLMCACHE_CONFIG={"STORE_TRUNCATED": True}):
        assert policy.refusal("completion", body) == ""


def test_of_each_kind_a_cut_answer_is_told_by_its_own_words() -> None:
    cut = {"output": [{"type": "message"}], "status": "incomplete"}
    assert policy.refusal("responses", cut) == "the answer was cut (finish_reason length)"
    cut = {"content": [{"type": "text", "text": "half"}], "stop_reason": "max_tokens"}
    assert policy.refusal("messages", cut) == "the answer was cut (finish_reason length)"


def test_every_way_in_which_an_answer_was_cut_is_named_in_order() -> None:
    choices = [
        *chat("length", content="a")["choices"],
        *chat("content_filter", content="b")["choices"],
    ]
    why = policy.refusal("completion", {"choices": choices})
    assert why == "the answer was cut (finish_reason content_filter, length)"


def test_of_our_own_kinds_the_first_line_is_read_and_of_a_providers_all() -> None:
    for kind in OWN_KINDS:
        assert policy.readable(kind, b'{"refused": ""}\nnot JSON\nat all') == {"refused": ""}
    assert policy.readable("completion", b'{\n"a":\n1}') == {"a": 1}
    with pytest.raises(orjson.JSONDecodeError):
        policy.readable("completion", b"{}\nnot JSON")


@pytest.mark.parametrize(
    ("asked", "default", "ttl"),
    [
        (None, 60.0, 60.0),
        (None, None, None),
        (None, 0, 0),
        (30, 60.0, 30),
        (0, 60.0, 0),
        (30, None, 30),
        (math.inf, 60.0, None),
        (None, math.inf, None),
        (policy.LONGEST, 60.0, None),
        (None, 1e300, None),
    ],
)
def test_a_calls_own_ttl_comes_before_the_stores(
    asked: float | None, default: float | None, ttl: float | None
) -> None:
    assert policy.ttl_for(Controls(ttl=asked), default) == ttl


@override_settings(LLMCACHE_CONFIG={"TTL_JITTER": 0.25})
def test_jitter_takes_off_at_most_its_share_and_never_adds() -> None:
    ttls = [policy.ttl_for(Controls(ttl=100), None) for _ in range(200)]
    assert all(ttl is not None and 75 < ttl <= 100 for ttl in ttls)
    assert len(set(ttls)) > 100


@override_settings(LLMCACHE_CONFIG={"REFRESH_TTL_MAX_AGE": 500})
@pytest.mark.parametrize(
    ("asked", "default", "now", "until"),
    [
        (None, 100, 1200, 1300),
        (50, 100, 1200, 1250),
        (0, 100, 1200, 1200),
        (None, 100, 1450, 1500),  # never past what a new entry's birth allows
        (None, None, 1200, 1500),
        (1e300, None, 1200, 1500),
    ],
)
def test_a_longer_life_ends_with_the_entrys_greatest_age(
    asked: float | None, default: float | None, now: float, until: float
) -> None:
    assert policy.longer_life(Controls(ttl=asked), default, 1000, now) == until


@override_settings(LLMCACHE_CONFIG={"DEFAULT_STALE_IF_ERROR": 40})
@pytest.mark.parametrize(
    ("asked", "if_error", "window"),
    [
        (Controls(), 40, 40),
        (Controls(stale_if_error=0), 0, 0),
        (Controls(stale_if_error=5), 5, 5),
        (Controls(stale_if_error=5, stale_while_revalidate=20), 5, 20),
        (Controls(stale_while_revalidate=20), 40, 40),
        (Controls(stale_while_revalidate=math.inf), 40, None),
        (Controls(stale_if_error=1e300), 1e300, None),
    ],
)
def test_a_stale_entry_is_kept_as_long_as_the_longer_of_its_uses(
    asked: Controls, if_error: float, window: float | None
) -> None:
    assert policy.stale_if_error(asked) == if_error
    assert policy.kept_for(asked, 100) == (None if window is None else 100 + window)
    assert policy.kept_for(asked, None) is None
