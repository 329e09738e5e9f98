"""Embeddings, item by item: partial hits, order, usage, one call for what is missing."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmcache
from llmcache import backends
from llmcache.embeddings import apportion
from llmcache.exceptions import InvalidRequest, NotCached, ServerFailed
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream, _base64, _vector


def ask(door: Any, *items: Any, **kwargs: Any) -> Any:
    return door.embedding(model="e", input=list(items), **kwargs)


def vectors(response: Any) -> list[list[float]]:
    return [part.embedding for part in response.data]


def test_each_item_is_cached_by_itself(door: Any, upstream: FakeUpstream) -> None:
    ask(door, "a", "b", "c")
    for item in ("a", "b", "c"):
        assert ask(door, item).cache.hit
    assert ask(door, "c", "a").cache.hit
    assert upstream.call_count == 1


def test_a_list_with_some_items_cached_fetches_only_the_rest(
    door: Any, upstream: FakeUpstream
) -> None:
    ask(door, "b", "d")
    response = ask(door, "a", "b", "c", "d")
    assert upstream.calls[-1].params["input"] == ["a", "c"]
    assert upstream.call_count == 2
    assert vectors(response) == [_vector(item, 8) for item in "abcd"]
    assert [part.index for part in response.data] == [0, 1, 2, 3]
    assert (response.cache.outcome, response.cache.items) == ("miss", (2, 4))
    assert response.cache.reason == "2 of 4 items were cached"


def test_an_item_whose_entry_is_damaged_is_fetched_with_the_missing(
    door: Any, upstream: FakeUpstream
) -> None:
    ask(door, "a", "b")
    damaged = str(ask(door, "a").cache.key)
    backends.stores["default"].set(damaged, b"damaged", 60)
    response = ask(door, "a", "b", "c")
    assert upstream.calls[-1].params["input"] == ["a", "c"]
    assert vectors(response) == [_vector(item, 8) for item in "abc"]
    assert ask(door, "a", "b", "c").cache.outcome == "hit"


def test_a_repeated_item_is_fetched_once(door: Any, upstream: FakeUpstream) -> None:
    response = ask(door, "a", "b", "a")
    assert upstream.calls[-1].params["input"] == ["a", "b"]
    assert vectors(response) == [_vector(item, 8) for item in "aba"]


def test_first_and_second_answers_are_equal(door: Any) -> None:
    assert ask(door, "a b c", "d e") == ask(door, "a b c", "d e")


def test_usage_is_that_of_all_items_and_savings_are_counted_apart(door: Any) -> None:
    first = ask(door, "one two three", "four five")
    assert (first.usage.prompt_tokens, first.usage.total_tokens) == (5, 5)
    assert first.cache.saved_tokens == 0
    second = ask(door, "one two three", "four five", "six")
    assert second.usage.prompt_tokens == 6
    assert second.cache.saved_tokens == 5
    assert ask(door, "one two three", "four five").cache.saved_tokens == 5


def test_a_single_text_shares_its_entry_with_the_item_of_a_list(
    door: Any, upstream: FakeUpstream
) -> None:
    single = door.embedding(model="e", input="a")
    assert upstream.calls[-1].params["input"] == "a"
    assert ask(door, "a") == single
    assert upstream.call_count == 1
    assert len(single.cache.key) == 64


def test_token_ids_are_items_too(door: Any, upstream: FakeUpstream) -> None:
    ask(door, [1, 2], [3])
    assert door.embedding(model="e", input=[1, 2]).cache.hit
    assert vectors(ask(door, [3])) == [_vector([3], 8)]
    assert upstream.call_count == 1


def test_another_dimension_is_another_entry(door: Any) -> None:
    ask(door, "a", dimensions=4)
    assert len(vectors(ask(door, "a", dimensions=6))[0]) == 6


def test_s_maxage_holds_for_each_item(door: Any, upstream: FakeUpstream) -> None:
    ask(door, "a")
    door.sleep(0.25)
    ask(door, "b")
    response = ask(door, "a", "b", cache={"s-maxage": 0.2})
    assert upstream.calls[-1].params["input"] == ["a"]
    assert response.cache.items == (1, 2)
    ask(door, "a", "b", cache={"s-maxage": 0})
    assert upstream.calls[-1].params["input"] == ["a", "b"]


def test_only_if_cached_needs_all_items(door: Any, upstream: FakeUpstream) -> None:
    ask(door, "a")
    with pytest.raises(NotCached, match="1 items"):
        ask(door, "a", "b", cache={"only-if-cached": True})
    assert upstream.call_count == 1


def test_stale_if_error_fills_in_for_the_missing_items(door: Any, upstream: FakeUpstream) -> None:
    window = {"stale-if-error": 60}
    ask(door, "a", cache={"ttl": 0.1, **window})
    ask(door, "b")
    door.sleep(0.15)
    upstream.fail = 500
    response = ask(door, "a", "b", cache=window)
    assert response.cache.outcome == "stale"
    assert vectors(response) == [_vector(item, 8) for item in "ab"]
    with pytest.raises(ServerFailed):
        ask(door, "a", "b", "c", cache=window)


def test_items_past_their_ttl_serve_while_they_are_renewed_by_one_call(
    door: Any, upstream: FakeUpstream
) -> None:
    window = {"stale-while-revalidate": 600}
    ask(door, "a", "b", cache={"ttl": 0.1, **window})
    ask(door, "c")
    door.sleep(0.15)
    response = ask(door, "c", "b", "a", "b", cache=window)
    assert (response.cache.outcome, response.cache.items) == ("stale", (4, 4))
    while ask(door, "a", "b", cache=window).cache.outcome != "hit":
        door.sleep(0.01)
    renewals = [call.params["input"] for call in upstream.calls[2:]]
    assert renewals[0] == ["b", "a"]
    assert ["c"] not in renewals


def test_items_that_may_not_be_stored_are_not_renewed(door: Any, upstream: FakeUpstream) -> None:
    window = {"stale-while-revalidate": 600}
    ask(door, "a", cache={"ttl": 0.05, **window})
    door.sleep(0.1)
    assert ask(door, "a", cache={**window, "no-store": True}).cache.outcome == "stale"
    door.sleep(0.05)
    assert upstream.call_count == 1


def test_an_answer_with_too_few_embeddings_is_an_error_and_not_stored(
    door: Any, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        short = {"object": "list", "data": [], "model": "e"}
        patched.setattr(upstream, "_embeddings", lambda request, identifier: short)
        with pytest.raises(ServerFailed, match="asked for 2 embeddings and got 0"):
            ask(door, "a", "b")
    assert not ask(door, "a").cache.hit


def test_embeddings_that_come_out_of_order_are_put_in_order(
    door: Any, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = upstream._embeddings

    def reversed_answer(request: Any, identifier: str) -> Any:
        made = make(request, identifier)
        return {**made, "data": made["data"][::-1]}

    monkeypatch.setattr(upstream, "_embeddings", reversed_answer)
    assert vectors(ask(door, "a", "b")) == [_vector("a", 8), _vector("b", 8)]


@pytest.mark.parametrize("wrong", ["", [], 7, b"bytes"], ids=repr)
def test_a_wrong_input_is_an_error(door: Any, wrong: Any) -> None:
    with pytest.raises(InvalidRequest, match="input must be"):
        door.embedding(model="e", input=wrong)


def test_identical_lists_at_once_are_one_call(upstream: FakeUpstream) -> None:
    from concurrent.futures import ThreadPoolExecutor

    upstream.latency = 0.2
    with ThreadPoolExecutor(20) as pool:
        jobs = [pool.submit(llmcache.embedding, "e", ["a", "b"]) for _ in range(20)]
        answers = [job.result() for job in jobs]
    assert upstream.call_count == 1
    assert all(answer == answers[0] for answer in answers)


_fresh = itertools.count()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    known=st.sets(st.sampled_from("abcdef")),
    asked=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=10),
)
def test_answers_are_in_order_for_every_split_of_hits_and_misses(
    known: set[str], asked: list[str]
) -> None:
    controls = {"namespace": f"case {next(_fresh)}"}
    if known:
        llmcache.embedding("e", sorted(known), cache=controls)
    upstream = upstreams["default"]
    assert isinstance(upstream, FakeUpstream)
    upstream.calls.clear()
    response = llmcache.embedding("e", asked, cache=controls)
    assert vectors(response) == [_vector(item, 8) for item in asked]
    missing = [item for item in dict.fromkeys(asked) if item not in known]
    fetched = [item for call in upstream.calls for item in call.params["input"]]
    assert fetched == missing


WORDS = st.sampled_from(["a", "b", "c", "d", "e", "f"])
IDS = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@pytest.mark.parametrize("items", [WORDS, IDS], ids=["texts", "token ids"])
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), form=st.sampled_from([None, "float", "base64"]), size=st.none() | st.just(3))
def test_lists_of_every_form_are_merged_in_order(
    door: Any,
    upstream: FakeUpstream,
    items: st.SearchStrategy[Any],
    data: st.DataObject,
    form: str | None,
    size: int | None,
) -> None:
    more = {"encoding_format": form, "dimensions": size, "cache": {"namespace": f"{next(_fresh)}"}}
    known = data.draw(st.lists(items, max_size=4))
    asked = data.draw(st.lists(items, min_size=1, max_size=8))
    if known:
        ask(door, *known, **more)
    ask(door, *asked, **{**more, "encoding_format": "float", "dimensions": 5})  # another entry
    upstream.calls.clear()
    response = ask(door, *asked, **more)
    encode = _base64 if form == "base64" else list
    assert vectors(response) == [encode(_vector(item, size or 8)) for item in asked]
    assert [part.index for part in response.data] == list(range(len(asked)))
    tokens = sum(1 if isinstance(item, str) else len(item) for item in asked)
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (tokens, tokens)
    missing = [item for at, item in enumerate(asked) if item not in [*known, *asked[:at]]]
    assert [call.params["input"] for call in upstream.calls] == ([missing] if missing else [])
    again = ask(door, *asked, **more)
    assert again == response and again.cache.outcome == "hit"
    assert again.cache.saved_tokens == tokens


@given(st.integers(0, 1000), st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_shares_add_up_to_the_whole(total: int, weights: list[int]) -> None:
    shares = apportion(total, weights)
    assert sum(shares) == total
    assert all(share >= 0 for share in shares)
