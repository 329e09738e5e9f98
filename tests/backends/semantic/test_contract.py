"""What every semantic store must do beside what it does as an exact one, over the real thing."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.backends.semantic.conftest import cloud, digest, fill, prompts, unit, vector
from tests.backends.stores import Make

X, Y, Z = unit(1, 0, 0, 0), unit(0, 1, 0, 0), unit(0, 0, 1, 0)
NEAR_X = unit(0.9, 0.4, 0.1, 0)


# --- nearness ---


def test_nothing_is_near_in_an_empty_store(store: Any) -> None:
    assert list(store.nearest("p", "s", X.tobytes())) == []
    assert store.vector_count() == 0


def test_the_nearest_come_first_with_their_cosine_similarity(store: Any) -> None:
    fill(store, "xyz", np.stack([X, Y, Z]))
    found = store.nearest("p", "s", NEAR_X.tobytes())
    assert [(one.digest, one.prompt) for one in found] == [(digest(name), name) for name in "xyz"]
    wanted = [float(NEAR_X @ other) for other in (X, Y, Z)]
    assert [one.similarity for one in found] == pytest.approx(wanted, abs=1e-5)


def test_similarities_reach_from_0_to_1(store: Any) -> None:
    fill(store, ["same", "across", "opposite"], np.stack([X, Y, -X]))
    found = store.nearest("p", "s", X.tobytes())
    similarities = {one.prompt: one.similarity for one in found}
    assert similarities == pytest.approx({"same": 1.0, "across": 0.0, "opposite": 0.0}, abs=1e-6)
    assert all(0.0 <= value <= 1.0 for value in similarities.values())


def test_ten_thousand_vectors_give_what_comparing_them_all_gives(store: Any) -> None:
    vectors, questions = cloud(10_000), cloud(20, seed=2)
    fill(store, range(10_000), vectors)
    assert store.vector_count() == 10_000
    for question in questions:
        scores = vectors @ question
        best = np.argsort(-scores)[:5]
        found = store.nearest("p", "s", question.tobytes())
        assert [one.digest for one in found] == [digest(number) for number in best]
        assert [one.similarity for one in found] == pytest.approx(list(scores[best]), abs=1e-5)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 50])
def test_no_more_than_the_limit_are_found(store: Any, limit: int) -> None:
    fill(store, "xyz", np.stack([X, Y, Z]))
    assert prompts(store, NEAR_X, limit) == list("xyz"[:limit])


def test_a_second_vector_of_a_digest_replaces_the_first(store: Any) -> None:
    fill(store, "ab", np.stack([X, Y]))
    store.add([vector("a", Z, prompt="later")])
    assert prompts(store, Z, 1) == ["later"]
    assert store.vector_count() == 2
    store.add([vector("a", Y, prompt="elsewhere", partition="q")])
    assert prompts(store, Z) == ["b"]
    assert prompts(store, Z, partition="q") == ["elsewhere"]
    assert store.vector_count() == 2


def test_the_last_of_a_digest_in_one_go_wins(store: Any) -> None:
    store.set(digest("a"), b"1", 60)
    store.add(iter([vector("a", X, prompt="first"), vector("a", Y, prompt="last")]))
    assert prompts(store, X) == ["last"]
    store.add([])
    assert store.vector_count() == 1


def test_a_vector_of_nothing_or_of_half_a_number_is_near_nothing(store: Any) -> None:
    fill(store, "x", X[None])
    for data in (b"", b"123", np.zeros(4, "f4").tobytes(), np.full(4, np.nan, "f4").tobytes()):
        assert list(store.nearest("p", "s", data)) == []


# --- partitions and spaces ---


def test_partitions_and_spaces_never_mix(store: Any) -> None:
    places = [(p, s) for p in ("p", "q", "p q", "pq") for s in ("s", "t", "q s")]
    for n, (partition, space) in enumerate(places):
        fill(store, [n], X[None], partition=partition, space=space)
    for n, (partition, space) in enumerate(places):
        assert prompts(store, X, 50, partition, space) == [str(n)]
    assert store.vector_count() == len(places)


def test_vectors_of_another_dimension_never_meet_even_in_a_space_of_one_name(store: Any) -> None:
    fill(store, ["four"], X[None])
    fill(store, ["three"], unit(1, 0, 0)[None])
    fill(store, ["a thousand"], cloud(1, 1000))
    assert prompts(store, X) == ["four"]
    assert prompts(store, unit(1, 0, 0)) == ["three"]
    assert prompts(store, cloud(1, 1000)[0]) == ["a thousand"]
    assert store.vector_count() == 3


def test_a_replaced_vector_of_another_dimension_is_found_no_more(store: Any) -> None:
    fill(store, ["a", "b"], np.stack([X, Y]))
    store.add([vector("a", unit(1, 0, 0))])
    assert prompts(store, X) == ["b"]
    store.add([vector("a", X)])
    assert prompts(store, unit(1, 0, 0)) == []


def test_aliases_with_another_prefix_or_version_never_meet(make: Make, door: Any) -> None:
    stores = [
        door(make(**changes))
        for changes in (
            {},
            {"version": 2},
            {"key_prefix": "tenant"},
            {"key_prefix": "tenant:1"},
            {"key_prefix": "ten*"},
            {"key_prefix": "ten|ant}"},
        )
    ]
    for n, store in enumerate(stores):
        fill(store, ["a"], X[None], prompt=str(n))
    assert [prompts(store, X) for store in stores] == [[str(n)] for n in range(len(stores))]
    assert [store.vector_count() for store in stores] == [1] * len(stores)
    assert stores[2].clear() == 1
    assert [prompts(store, X) == [] for store in stores] == [n == 2 for n in range(len(stores))]


NAMES = ["", "{a}", "a,b", "a|b", '"', "*", "\\", "a b", "@place:{x}", "☃", "a" * 5000, "\ud800"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_text_may_name_a_partition_or_a_space(store: Any, name: str) -> None:
    fill(store, ["other"], X[None])
    fill(store, ["mine"], X[None], partition=name, space=name)
    assert prompts(store, X, 5, name, name) == ["mine"]
    assert prompts(store, X) == ["other"]


TEXTS = [
    "",
    "Größe 大きい ☃ 👩‍🚀",
    "a\nb\r\n\tc",
    "'; DROP TABLE vectors; --",
    "{{}}",
    "x" * 200_000,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_prompt_comes_back_as_it_was(store: Any, text: str) -> None:
    fill(store, ["a"], X[None], prompt=text)
    assert prompts(store, X) == [text]


def test_a_prompt_that_no_database_takes_is_cleaned_and_not_lost(store: Any) -> None:
    fill(store, ["a"], X[None], prompt="a\0b\ud800c")
    (found,) = prompts(store, X)
    assert "\0" not in found
    assert found.startswith("a")
    found.encode()


# --- together ---


def test_two_stores_at_one_place_see_each_others_changes_at_once(make: Make, door: Any) -> None:
    one, two = door(make()), door(make())
    for n in range(20):
        fill(one, [f"one {n}"], X[None])
        assert prompts(two, X, 1) == [f"one {n}"]
        fill(two, [f"two {n}"], Y[None])
        assert prompts(one, Y, 1) == [f"two {n}"]
        assert two.delete(digest(f"one {n}"))
        assert f"one {n}" not in prompts(one, X, 50)
        assert one.touch(digest(f"two {n}"), None)
        one.add([vector(f"two {n}", Y, prompt="new")])
        assert prompts(two, Y, 1) == ["new"]
        assert two.clear() == 1
        assert prompts(one, Y) == []


def test_threads_share_one_store(make: Make) -> None:
    store: Any = make()
    vectors = cloud(8 * 25)

    def work(thread: int) -> None:
        for n in range(25):
            number = thread * 25 + n
            fill(store, [number], vectors[number : number + 1])
            assert prompts(store, vectors[number], 1) == [str(number)]
            if n % 3 == 0:
                store.delete(digest(number))
                assert str(number) not in prompts(store, vectors[number], 3)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, thread) for thread in range(8)]:
            done.result()
    left = [n for n in range(8 * 25) if n % 25 % 3 != 0]
    assert store.vector_count() == len(left)
    for number in left:
        assert prompts(store, vectors[number], 1) == [str(number)]


def test_tasks_of_an_event_loop_share_one_store(make: Make) -> None:
    store: Any = make()
    vectors = cloud(60)

    async def work(number: int) -> None:
        await store.aset(digest(number), b"1", 60)
        await store.aadd([vector(number, vectors[number])])
        (found,) = await store.anearest("p", "s", vectors[number].tobytes(), 1)
        assert found.prompt == str(number)

    async def crowd() -> None:
        await asyncio.gather(*(work(number) for number in range(60)))

    asyncio.run(crowd())
    asyncio.run(work(3))
    assert store.vector_count() == 60


# --- settings ---


def test_what_counts_as_a_match_is_left_to_the_matching(make: Make) -> None:
    matching = {"similarity_threshold": 0.9, "embedder": {"model": "m"}}
    store: Any = make(options=matching)
    assert store.matching == matching


def test_an_unknown_option_is_refused_and_the_known_are_listed(make: Make) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"Known: .*similarity_threshold"):
        make(options={"similarty": 1})
