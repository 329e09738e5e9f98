"""What every store must do, as tests that a store of somebody else's can be put to:

    from llmcache.testing.store_contract import StoreContract

    class TestOurStore(StoreContract):
        @pytest.fixture
        def make(self, tmp_path):
            def make(**changes):
                settings = BackendSettings(alias="ours", location=str(tmp_path), **changes)
                return OurBackend(settings)

            return make

It needs pytest, and is the only module here that is made of tests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, Final

import pytest

from llmcache.backends.base import BaseBackend, Item
from llmcache.exceptions import UnsupportedOperation
from llmcache.testing.twins import Door, door_of

Make = Callable[..., BaseBackend]
"""Makes backends at one place, which is empty before a test. Its keyword arguments are those of
BackendSettings that the tests change: `key_prefix` and `version`. Two backends made with the same
arguments are one alias, seen from two objects.
"""

TTL: Final = 0.3
ROUNDING: Final = 1.1
"""Seconds that a store without `exact_ttl` may drop an entry later."""


def digest(name: object) -> str:
    """A digest that has this name."""
    return sha256(str(name).encode()).hexdigest()


A: Final = digest("a")
B: Final = digest("b")
C: Final = digest("c")


def soon(is_so: Callable[[], bool], within: float) -> bool:
    """Whether something becomes so within that many seconds."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def gone(store: Any, name: str, within: float) -> bool:
    """Whether an entry disappears within so many seconds."""
    return soon(lambda: store.get(name) is None, within)


def patience(store: Any) -> float:
    """Seconds after which an entry with a short ttl is gone, on a machine with much else to do."""
    return 5.0 if store.exact_ttl else 5.0 + ROUNDING


class StoreContract:
    """Each test is done over the sync and over the async methods. A subclass, whose name begins
    with Test, gives the fixture `make`: see `Make`.
    """

    @pytest.fixture(params=["sync", "async"])
    def door(self, request: pytest.FixtureRequest) -> Iterator[Callable[[BaseBackend], Door]]:
        """Turns a backend into one that is called through its sync or its async methods."""
        with door_of(request.param) as opened:
            yield opened

    @pytest.fixture
    def store(self, make: Make, door: Callable[[BaseBackend], Door]) -> Door:
        """One store, behind its sync or its async methods."""
        return door(make())

    # --- round trips ---

    @pytest.mark.parametrize(
        "data",
        [b"", b"x", bytes(range(256)), b"12", b"\x80\x05K\x01.", "☃".encode(), os.urandom(1 << 20)],
        ids=["empty", "one", "binary", "digits", "pickle-like", "utf8", "1MB"],
    )
    def test_what_was_stored_comes_back_byte_for_byte(self, store: Any, data: bytes) -> None:
        store.set(A, data, 60)
        found = store.get(A)
        assert type(found) is bytes
        assert found == data

    def test_an_absent_entry_is_none(self, store: Any) -> None:
        assert store.get(A) is None
        assert store.get_many([A, B]) == {}
        assert store.get_many([]) == {}

    def test_a_second_set_replaces_data_and_ttl(self, store: Any) -> None:
        store.set(A, b"old", 0.1)
        store.set(A, b"new, longer", None)
        time.sleep(0.15)
        assert store.get(A) == b"new, longer"

    def test_get_many_finds_what_is_there_and_leaves_out_the_rest(self, store: Any) -> None:
        store.set(A, b"1", 60)
        store.set(C, b"3", None)
        assert store.get_many([A, B, C]) == {A: b"1", C: b"3"}
        assert store.get_many(iter([C])) == {C: b"3"}

    def test_set_many_keeps_each_ttl(self, store: Any) -> None:
        store.set_many(
            iter([Item(A, b"short", TTL), Item(B, b"long", 60), Item(C, b"for ever", None)])
        )
        assert gone(store, A, patience(store))
        assert store.get_many([A, B, C]) == {B: b"long", C: b"for ever"}
        store.set_many([])

    def test_a_thousand_entries_in_one_go(self, store: Any) -> None:
        items = [Item(digest(number), str(number).encode(), 60) for number in range(1000)]
        store.set_many(items)
        assert store.get_many([item.digest for item in items]) == {i.digest: i.data for i in items}
        assert store.delete_many([item.digest for item in items]) == 1000
        assert store.get_many([item.digest for item in items]) == {}

    # --- delete, touch, ttl ---

    def test_delete_removes_one_and_says_whether_it_was_there(self, store: Any) -> None:
        store.set(A, b"1", 60)
        store.set(B, b"2", 60)
        assert store.delete(A) is True
        assert store.delete(A) is False
        assert store.get(A) is None
        assert store.get(B) == b"2"

    def test_delete_many_counts_what_was_there(self, store: Any) -> None:
        store.set(A, b"1", 60)
        store.set(B, b"2", None)
        assert store.delete_many(iter([A, B, C])) == 2
        assert store.delete_many([]) == 0
        assert store.get_many([A, B, C]) == {}

    def test_a_ttl_is_honoured_and_never_early(self, store: Any) -> None:
        begun = time.monotonic()  # a ttl counts from the call, however slow the store is
        store.set(A, b"brief", TTL)
        found = store.get(A)
        if time.monotonic() - begun < TTL * 0.9:
            assert found == b"brief"
        assert gone(store, A, patience(store))
        assert time.monotonic() - begun >= TTL * 0.9
        assert store.get_many([A]) == {}

    def test_no_ttl_is_no_end(self, store: Any) -> None:
        store.set(A, b"lasting", None)
        time.sleep(0.1)
        assert store.get(A) == b"lasting"

    def test_a_ttl_of_a_few_milliseconds_stores_nothing_that_stays(self, store: Any) -> None:
        store.set(A, b"blink", 0.004)
        assert gone(store, A, patience(store))

    @pytest.mark.parametrize("longer", [60, None], ids=["60s", "no-end"])
    def test_touch_extends(self, store: Any, longer: float | None) -> None:
        store.set(A, b"kept", TTL)
        touched = store.touch(A, longer)
        if touched:  # a machine under load may have let it expire first
            time.sleep(TTL + 0.1)
            if not store.exact_ttl:
                time.sleep(ROUNDING)
            assert store.get(A) == b"kept"
        else:
            assert store.get(A) is None

    def test_touch_shortens(self, store: Any) -> None:
        for name, ttl in ((A, 60), (B, None)):
            store.set(name, b"soon gone", ttl)
            assert store.touch(name, 0.05) is True
        assert gone(store, A, patience(store))
        assert gone(store, B, patience(store))

    def test_touch_cannot_wake_the_dead(self, store: Any) -> None:
        assert store.touch(A, 60) is False
        store.set(A, b"gone", 0.02)
        assert gone(store, A, patience(store))
        assert store.touch(A, 60) is False
        assert store.get(A) is None

    def test_replace_changes_only_what_is_as_it_was(self, make: Make) -> None:
        store = make()
        assert store.replace(A, b"old", b"new", 60) is False
        assert store.get(A) is None
        store.set(A, b"old", 60)
        assert store.replace(A, b"older", b"new", 60) is False
        assert store.get(A) == b"old"
        assert store.replace(A, b"old", b"new", None) is True
        assert store.get(A) == b"new"
        assert store.replace(A, b"new", b"soon gone", 0.05) is True
        assert gone(store, A, patience(store))

    def test_of_many_that_replace_an_entry_at_once_one_does(self, make: Make) -> None:
        store = make()
        deciding = [store]
        while deciding[-1].layers:
            deciding.append(deciding[-1].layers[-1])
        if any(type(one).replace is BaseBackend.replace for one in deciding):
            pytest.skip("this store has no one step for that")
        store.set(A, b"old", 60)
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda n: store.replace(A, b"old", b"new %d" % n, 60), range(8)))
        assert done.count(True) == 1
        assert store.get(A) == b"new %d" % done.index(True)

    # --- prefixes ---

    def test_aliases_with_another_prefix_or_version_never_see_each_other(
        self, make: Make, door: Any
    ) -> None:
        stores = [
            door(make(**changes))
            for changes in (
                {},
                {"version": 2},
                {"version": 21},
                {"key_prefix": "tenant"},
                {"key_prefix": "tenant:1"},
                {"key_prefix": "ten*"},
                {"key_prefix": "_enant"},
                {"key_prefix": "TENANT"},
                {"key_prefix": "Tenant"},
                {"key_prefix": "ténant"},
            )
        ]
        for number, store in enumerate(stores):
            assert store.get(A) is None
            store.set(A, str(number).encode(), 60)
        assert [store.get(A) for store in stores] == [str(n).encode() for n in range(len(stores))]
        assert stores[3].delete(A) is True
        assert [store.get(A) is None for store in stores] == [n == 3 for n in range(len(stores))]

    def test_clear_removes_its_own_entries_and_no_others(self, make: Make, door: Any) -> None:
        mine = door(make(key_prefix="t*"))
        others = [
            door(make(**changes))
            for changes in (
                {},
                {"key_prefix": "tenant"},
                {"key_prefix": "t*", "version": 2},
                {"key_prefix": "t*:1"},
                {"key_prefix": "T*"},
            )
        ]
        for store in [mine, *others]:
            store.set(A, b"1", 60)
            store.set(B, b"2", None)
        if not mine.supports_clear:
            with pytest.raises(UnsupportedOperation, match="VERSION"):
                mine.clear()
            return
        assert mine.clear() == 2
        assert mine.get_many([A, B]) == {}
        for other in others:
            assert other.get_many([A, B]) == {A: b"1", B: b"2"}
        assert mine.clear() == 0
        mine.set(A, b"again", 60)
        assert mine.get(A) == b"again"

    def test_iterate_lists_exactly_the_live_entries_of_its_own_prefix(
        self, make: Make, door: Any
    ) -> None:
        mine, other = door(make(key_prefix="t")), door(make(key_prefix="t:1"))
        if not mine.supports_iterate:
            with pytest.raises(UnsupportedOperation):
                list(mine.iterate())
            return
        assert list(mine.iterate()) == []
        many = [digest(number) for number in range(250)]
        mine.set_many([Item(name, b"1", 60) for name in many])
        mine.set(A, b"1", None)
        mine.set(B, b"2", 0.05)
        other.set(C, b"3", 60)
        assert gone(mine, B, patience(mine))
        assert set(mine.iterate()) == {A, *many}
        # Each once; a store's table that has just grown may repeat one for a moment.
        assert soon(lambda: sorted(mine.iterate()) == sorted([A, *many]), 5)
        assert list(other.iterate()) == [C]

    def test_sweep_removes_only_what_has_expired_and_keeps_to_its_limit(
        self, make: Make, door: Any
    ) -> None:
        mine, other = door(make(key_prefix="t")), door(make(key_prefix="t:1"))
        for number in range(5):
            mine.set(digest(number), b"old", 0.05)
        mine.set(A, b"live", 60)
        mine.set(B, b"live", None)
        other.set(A, b"live", 60)
        time.sleep(0.1 if mine.exact_ttl else 0.1 + ROUNDING)
        swept = [mine.sweep(2) for _ in range(20)]
        assert max(swept) <= 2
        assert swept[-1] == 0
        assert mine.get_many([A, B]) == {A: b"live", B: b"live"}
        assert other.get(A) == b"live"
        assert mine.get_many([digest(number) for number in range(5)]) == {}

    def test_close_gives_back_and_the_store_works_on(self, store: Any) -> None:
        store.set(A, b"1", 60)
        store.close()
        store.set(B, b"2", 60)
        assert store.get(B) == b"2"
