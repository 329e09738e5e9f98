"""What is removed or past its end is no neighbour, in any semantic store."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from llmcache.backends.base import Item
from tests.backends.semantic.conftest import cloud, digest, fill, prompts, unit, vector
from tests.backends.stores import Make

X, Y, Z = unit(1, 0, 0, 0), unit(0, 1, 0, 0), unit(0, 0, 1, 0)
NEAR_X = unit(0.9, 0.4, 0.1, 0)


def eventually(what: Any, within: float = 5.0) -> bool:
    """Whether it becomes true within so many seconds."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return False


def test_a_deleted_entry_is_no_neighbour(store: Any) -> None:
    fill(store, "xyz", np.stack([X, Y, Z]))
    assert store.delete(digest("x")) is True
    assert prompts(store, NEAR_X) == ["y", "z"]
    assert store.delete_many([digest("y"), digest("absent")]) == 1
    assert prompts(store, NEAR_X) == ["z"]
    assert store.vector_count() == 1
    store.set(digest("x"), b"without a vector", 60)
    assert prompts(store, NEAR_X) == ["z"]


def test_many_deleted_ones_do_not_hide_those_that_are_left(store: Any) -> None:
    vectors = cloud(300)
    fill(store, range(300), vectors)
    order = np.argsort(-(vectors @ vectors[0]))
    gone, left = order[:250], order[250:]
    store.delete_many([digest(number) for number in gone])
    assert prompts(store, vectors[0], 3) == [str(number) for number in left[:3]]
    assert store.vector_count() == 50


def test_an_entry_that_goes_without_its_vector_is_no_neighbour(make: Make, door: Any) -> None:
    """As when the server evicts it."""
    store = make()
    opened = door(store)
    vectors = cloud(100)
    fill(opened, range(100), vectors)
    order = np.argsort(-(vectors @ vectors[0]))
    exact = type(store).__mro__[2]
    for number in order[:60]:
        exact.delete(store, digest(number))
    assert prompts(opened, vectors[0], 3) == [str(number) for number in order[60:63]]
    assert prompts(opened, vectors[0], 100) == [str(number) for number in order[60:]]


def test_an_expired_entry_is_no_neighbour(store: Any) -> None:
    store.set_many([Item(digest("x"), b"1", 0.2), Item(digest("y"), b"1", 60)])
    store.add([vector("x", X, expires=time.time() + 0.2), vector("y", Y, expires=time.time() + 60)])
    time.sleep(0.25)
    assert prompts(store, X) == ["y"]
    assert eventually(lambda: store.vector_count() == 1)


def test_an_expired_entry_is_no_neighbour_even_if_its_vector_would_last(store: Any) -> None:
    store.set(digest("x"), b"1", 0.1)
    store.add([vector("x", X)])
    time.sleep(0.15)
    assert prompts(store, X) == []


def test_an_expired_vector_is_no_neighbour_even_if_its_entry_lasts(store: Any) -> None:
    store.set(digest("x"), b"1", 60)
    store.add([vector("x", X, expires=time.time() + 0.1)])
    time.sleep(0.15)
    assert prompts(store, X) == []
    assert store.get(digest("x")) == b"1"


@pytest.mark.parametrize("ttl", [60, None])
def test_touch_moves_the_vectors_end_too(store: Any, ttl: float | None) -> None:
    store.set(digest("x"), b"1", 1)
    store.add([vector("x", X, expires=time.time() + 1)])
    if store.touch(digest("x"), ttl):
        time.sleep(1.1)
        assert prompts(store, X) == ["x"]
    store.touch(digest("x"), 0.05)
    time.sleep(0.1)
    assert prompts(store, X) == []


def test_touch_leaves_other_vectors_alone(store: Any) -> None:
    fill(store, "xy", np.stack([X, Y]))
    assert store.touch(digest("x"), 0.05) is True
    assert store.touch(digest("absent"), 60) is False
    time.sleep(0.1)
    assert prompts(store, X) == ["y"]


def test_clear_removes_all_vectors_of_its_own(store: Any) -> None:
    fill(store, range(700), cloud(700, 4))
    store.set(digest("x"), b"no vector", 60)
    assert store.clear() == 701
    assert prompts(store, X) == []
    assert store.vector_count() == 0
    fill(store, "x", X[None])
    assert prompts(store, X) == ["x"]


def test_vectors_are_no_entries(store: Any) -> None:
    fill(store, "xy", np.stack([X, Y]))
    assert sorted(store.iterate()) == sorted([digest("x"), digest("y")])
    assert store.clear() == 2


def test_sweep_leaves_the_living_alone(store: Any) -> None:
    fill(store, "xy", np.stack([X, Y]))
    store.set(digest("z"), b"1", 0.05)
    store.add([vector("z", Z, expires=time.time() + 0.05)])
    time.sleep(0.1)
    store.sweep()
    store.sweep()
    assert prompts(store, X) == ["x", "y"]


def test_close_gives_back_and_the_store_works_on(store: Any) -> None:
    fill(store, "x", X[None])
    assert prompts(store, X) == ["x"]
    store.close()
    assert prompts(store, X) == ["x"]
    fill(store, "y", Y[None])
    assert prompts(store, Y, 1) == ["y"]
