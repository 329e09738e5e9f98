"""The way of a call: hits, misses, what is stored and what never is. Sync and async alike."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import pytest
from django.test import override_settings

import llmcache
from llmcache import InvalidRequest, NotCached
from llmcache.exceptions import ServerFailed
from llmcache.upstreams.fake import FakeUpstream

ASK = {"model": "m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}


def other(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def test_the_second_identical_call_is_a_hit(door: Any, upstream: FakeUpstream) -> None:
    first, second = door.completion(**ASK), door.completion(**ASK)
    assert (first.cache.outcome, second.cache.outcome) == ("miss", "hit")
    assert (first.cache.hit, second.cache.hit) == (False, True)
    assert first == second
    assert first.id == second.id
    assert upstream.call_count == 1


def test_sync_and_async_calls_share_entries(upstream: FakeUpstream) -> None:
    from tests.doors import AsyncDoor

    door = AsyncDoor()
    llmcache.completion(**ASK)
    assert door.completion(**ASK).cache.hit
    door.close()
    assert upstream.call_count == 1


def test_another_question_is_a_miss(door: Any, upstream: FakeUpstream) -> None:
    door.completion(**ASK)
    assert door.completion(**other("Why is grass green?")).cache.outcome == "miss"
    assert upstream.call_count == 2


def test_a_response_reads_as_attributes_and_as_a_mapping(door: Any) -> None:
    door.completion(**ASK)
    response = door.completion(**ASK)
    text = "You said: Why is the sky blue?"
    assert response.choices[0].message.content == text
    assert response["choices"][0]["message"]["content"] == text
    assert response.model_dump()["choices"][0]["message"]["content"] == text
    assert orjson.loads(response.raw) == response == orjson.loads(response.model_dump_json())
    assert response.choices[0].message.tool_calls is None
    with pytest.raises(AttributeError, match="chioces"):
        _ = response.chioces


def test_a_caller_that_changes_its_response_changes_nobody_elses(door: Any) -> None:
    first = door.completion(**ASK)
    first.choices[0].message.content = "changed"
    first["extra"] = True
    second = door.completion(**ASK)
    second.choices[0].message["content"] = "changed again"
    third = door.completion(**ASK)
    assert third.choices[0].message.content == "You said: Why is the sky blue?"
    assert "extra" not in third
    assert orjson.loads(first.raw)["extra"] is True


def test_what_a_hit_saved_is_told(door: Any) -> None:
    prices = {"m": {"input": 1_000_000, "output": 2_000_000}}
    with override_settings(LLMCACHE_CONFIG={"PRICING": prices}):
        first, second = door.completion(**ASK), door.completion(**ASK)
    assert (first.usage.prompt_tokens, first.usage.completion_tokens) == (5, 7)
    assert second.usage == first.usage
    with override_settings(LLMCACHE_CONFIG={"PRICING": prices}):
        assert (first.cache.saved_tokens, first.cache.saved_cost, first.cache.cost) == (0, 0, 19)
        assert (second.cache.saved_tokens, second.cache.saved_cost, second.cache.cost) == (
            12,
            19,
            0,
        )
    assert second.cache.saved_cost is None  # a model without a price
    assert 0 <= second.cache.age < 5
    assert second.cache.similarity == 1.0
    assert second.cache.alias == second.cache.layer == "default"
    assert len(second.cache.key) == 64


def test_a_long_conversation_is_cached(door: Any, upstream: FakeUpstream) -> None:
    turns = [
        {"role": "user", "content": f"turn {number} " + "word " * 200} for number in range(200)
    ]
    door.completion(model="m", messages=turns)
    assert door.completion(model="m", messages=turns).cache.hit


class TestControls:
    def test_no_cache_asks_upstream_and_still_writes(self, door: Any) -> None:
        door.completion(**ASK)
        fresh = door.completion(**ASK, cache={"no-cache": True})
        assert (fresh.cache.outcome, fresh.cache.reason) == ("miss", "no-cache")
        assert door.completion(**ASK).id == fresh.id

    def test_refresh_renews_the_entry(self, door: Any) -> None:
        old = door.completion(**ASK)
        fresh = door.completion(**ASK, cache={"refresh": True})
        assert fresh.id != old.id
        assert door.completion(**ASK).id == fresh.id

    def test_no_store_does_not_write_but_still_reads(self, door: Any) -> None:
        door.completion(**ASK, cache={"no-store": True})
        assert door.completion(**ASK).cache.outcome == "miss"
        assert door.completion(**ASK, cache={"no-store": True}).cache.hit

    def test_no_cache_with_no_store_bypasses(self, door: Any) -> None:
        door.completion(**ASK)
        response = door.completion(**ASK, cache={"no-cache": True, "no-store": True})
        assert response.cache.outcome == "bypass"

    def test_a_ttl_below_a_second_is_kept_and_ends(self, door: Any) -> None:
        door.completion(**ASK, cache={"ttl": 0.4})
        assert door.completion(**ASK).cache.hit
        door.sleep(0.45)
        assert door.completion(**ASK).cache.outcome == "miss"

    def test_a_ttl_of_zero_stores_nothing(self, door: Any) -> None:
        response = door.completion(**ASK, cache={"ttl": 0})
        assert response.cache.reason == "not stored: ttl is 0"
        assert door.completion(**ASK).cache.outcome == "miss"

    def test_s_maxage_accepts_only_younger_entries(self, door: Any) -> None:
        door.completion(**ASK)
        assert door.completion(**ASK, cache={"s-maxage": 60}).cache.hit
        door.sleep(0.2)
        response = door.completion(**ASK, cache={"s-maxage": 0.1})
        assert (response.cache.outcome, response.cache.reason) == ("miss", "older than s-maxage")

    def test_an_s_maxage_of_zero_accepts_none(self, door: Any, upstream: FakeUpstream) -> None:
        door.completion(**ASK)
        assert door.completion(**ASK, cache={"s-maxage": 0}).cache.outcome == "miss"
        assert upstream.call_count == 2

    def test_only_if_cached_never_calls_upstream(self, door: Any, upstream: FakeUpstream) -> None:
        with pytest.raises(NotCached):
            door.completion(**ASK, cache={"only-if-cached": True})
        assert upstream.call_count == 0
        door.completion(**ASK)
        assert door.completion(**ASK, cache={"only-if-cached": True}).cache.hit

    def test_namespaces_and_scopes_are_apart(self, door: Any) -> None:
        door.completion(**ASK, cache={"scope": "ann"})
        assert door.completion(**ASK).cache.outcome == "miss"
        assert door.completion(**ASK, cache={"scope": "bob"}).cache.outcome == "miss"
        assert door.completion(**ASK, cache={"namespace": "ann"}).cache.outcome == "miss"
        assert door.completion(**ASK, cache={"scope": "ann"}).cache.hit

    def test_a_bucket_keeps_several_variants(self, door: Any, upstream: FakeUpstream) -> None:
        ids = {door.completion(**ASK, cache={"bucket": 3}).id for _ in range(60)}
        assert len(ids) == upstream.call_count == 3

    def test_ones_own_key_names_the_entry(self, door: Any) -> None:
        door.completion(**ASK, cache={"key": "greeting"})
        assert door.completion(**other("Good day"), cache={"key": "greeting"}).cache.hit

    def test_controls_of_none_are_no_controls(self, door: Any) -> None:
        door.completion(**ASK, cache=None)
        assert door.completion(**ASK, cache={}).cache.hit
        assert door.completion(**ASK, cache={"ttl": None, "tags": None}).cache.hit

    @pytest.mark.parametrize(
        ("controls", "words"),
        [
            ({"no_cache": True}, "'no-cache'"),
            ({"max-age": 3}, "s-maxage"),
            ({"ttl": -1}, "not negative"),
            ({"ttl": "60"}, "number of seconds"),
            ({"ttl": float("nan")}, "number of seconds"),
            ({"no-store": 1}, "True or False"),
            ({"tags": "one"}, "list of strings"),
            ({"bucket": 0}, "from 1 up"),
            ({"scope": ""}, "non-empty"),
            (True, "dict of controls"),
        ],
        ids=repr,
    )
    def test_a_wrong_control_is_an_error_that_names_the_right_ones(
        self, door: Any, controls: Any, words: str
    ) -> None:
        with pytest.raises(InvalidRequest, match=words):
            door.completion(**ASK, cache=controls)

    def test_a_wrong_alias_is_an_error_that_names_the_right_ones(self, door: Any) -> None:
        with pytest.raises(InvalidRequest, match=r"'defualt'.*'default'"):
            door.completion(**ASK, using="defualt")

    def test_a_call_without_its_input_is_an_error(self, door: Any) -> None:
        with pytest.raises(InvalidRequest, match="messages"):
            door.completion(model="m")
        with pytest.raises(InvalidRequest, match="model"):
            door.completion(model=None, messages=[])


class TestNeverStored:
    def test_errors_of_upstream_are_raised_and_not_stored(
        self, door: Any, upstream: FakeUpstream
    ) -> None:
        upstream.fail = 503
        with pytest.raises(ServerFailed) as caught:
            door.completion(**ASK)
        assert caught.value.status == 503
        upstream.fail = None
        assert door.completion(**ASK).cache.outcome == "miss"

    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    def test_cut_answers_are_not_stored_unless_the_site_opts_in(
        self, door: Any, upstream: FakeUpstream, reason: str
    ) -> None:
        upstream.finish_reason = reason
        response = door.completion(**ASK)
        assert reason in response.cache.reason
        assert door.completion(**ASK).cache.outcome == "miss"
        with override_settings(LLMCACHE_CONFIG={"STORE_TRUNCATED": True}):
            from llmcache.upstreams import upstreams

            upstreams["default"].finish_reason = reason
            door.completion(**ASK)
            assert door.completion(**ASK).cache.hit

    def test_empty_answers_are_not_stored(self, door: Any, upstream: FakeUpstream) -> None:
        upstream.responses = {"Why is the sky blue?": ""}
        assert "empty" in door.completion(**ASK).cache.reason
        assert door.completion(**ASK).cache.outcome == "miss"

    def test_tool_calls_are_answers(self, door: Any) -> None:
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        asked = {**ASK, "tools": tools, "tool_choice": "required"}
        first, second = door.completion(**asked), door.completion(**asked)
        assert second.cache.hit
        assert second.choices[0].message.tool_calls[0].function.name == "f"
        assert first == second

    def test_what_cannot_be_written_as_json_bypasses_and_says_so(
        self, door: Any, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture, counted: Any
    ) -> None:
        with caplog.at_level(logging.WARNING, "llmcache"):
            response = door.completion(**ASK, seed=float("nan"))
        assert response.cache.outcome == "bypass"
        assert "not JSON" in response.cache.reason
        assert counted("uncacheable") == 1


class TestSingleFlight:
    def test_a_hundred_identical_misses_are_one_upstream_call(
        self, door: Any, upstream: FakeUpstream
    ) -> None:
        upstream.latency = 0.2
        responses = door.together(100, **ASK)
        assert upstream.call_count == 1
        assert len({response.id for response in responses}) == 1
        outcomes = [response.cache.outcome for response in responses]
        assert outcomes.count("miss") == 1
        assert set(outcomes) <= {"miss", "coalesced", "hit"}

    def test_followers_get_copies_of_their_own(self, door: Any, upstream: FakeUpstream) -> None:
        upstream.latency = 0.1
        first, second = door.together(2, **ASK)
        first.choices[0].message.content = "changed"
        assert second.choices[0].message.content != "changed"

    def test_the_leaders_error_goes_to_its_followers_once(
        self, door: Any, upstream: FakeUpstream
    ) -> None:
        upstream.latency, upstream.fail = 1.0, 503
        errors = door.together(20, **ASK)
        assert all(isinstance(error, ServerFailed) and error.status == 503 for error in errors)
        assert upstream.call_count == 1

    def test_without_it_each_caller_calls(self, door: Any) -> None:
        from llmcache.upstreams import upstreams

        with override_settings(LLMCACHE_CONFIG={"SINGLE_FLIGHT": False}):
            upstream = upstreams["default"]
            upstream.latency = 0.2
            door.together(5, **ASK)
            assert upstream.call_count == 5

    def test_an_impatient_follower_asks_for_itself(self, door: Any) -> None:
        from llmcache.upstreams import upstreams

        with override_settings(LLMCACHE_CONFIG={"SINGLE_FLIGHT_TIMEOUT": 0.1}):
            upstream = upstreams["default"]
            upstream.latency = 0.4
            responses = door.together(2, **ASK)
            assert upstream.call_count == 2
            assert {response.cache.outcome for response in responses} == {"miss"}


@pytest.mark.parametrize(
    "more",
    [
        {"background": True},
        {"conversation": "conv_1"},
        {"container": "cntr_1"},
        {"mcp_servers": [{"url": "https://example.com"}]},
        {"tools": [{"type": "mcp", "server_label": "x"}]},
        {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
    ],
)
def test_a_call_with_effects_besides_its_answer_is_always_made(
    door: Any, upstream: FakeUpstream, more: dict[str, Any]
) -> None:
    said = [door.responses("m", input="hello", **more).cache for _ in range(2)]
    assert [cache.outcome for cache in said] == ["bypass", "bypass"]
    assert "effects" in said[0].reason
    assert upstream.call_count == 2


def test_parameters_that_switch_effects_off_are_cached(door: Any, upstream: FakeUpstream) -> None:
    tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
    for _ in range(2):
        door.responses("m", input="hello", background=False, tools=tools)
    assert upstream.call_count == 1
