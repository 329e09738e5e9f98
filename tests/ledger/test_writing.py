"""What `ledger.write` makes of records, on every database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from llmcache import ledger
from llmcache.figures import SUMS, moment
from llmcache.models import Call, Entry, EntryTag, HourlyStat, RecordBatch
from llmcache.text import NAME_LENGTH, name_of
from tests.ledger.records import called, digest, stored

pytestmark = pytest.mark.usefixtures("database")

HOSTILE = (
    "NUL \x00, half of a pair \ud83d, all of one \N{SLICE OF PIZZA}\N{ZERO WIDTH JOINER}\u202e"
)
CLEANED = HOSTILE.replace("\x00", "\ufffd").replace("\ud83d", "\ufffd")


def figures() -> dict[str, float]:
    """The sums over all figures."""
    rows = list(HourlyStat.objects.all())
    return {name: sum(getattr(row, name) for row in rows) for name in SUMS}


# --- entries ---


def test_an_entry_becomes_a_row_with_its_tags() -> None:
    ledger.write([], [stored(1, tags=["a", "b"], namespace="shop", scope="ann")])
    entry = Entry.objects.get()
    assert (entry.digest, entry.namespace, entry.scope) == (digest(1), "shop", "ann")
    assert (entry.input_tokens, entry.output_tokens, entry.cached_tokens) == (100, 20, 10)
    assert entry.cost is not None and entry.cost > 0
    assert entry.preview == "hello"
    assert {tag.name for tag in entry.tags.all()} == {"a", "b"}


def test_a_renewed_entry_keeps_its_hits_and_its_row() -> None:
    ledger.write([], [stored(1, size=10)])
    before = Entry.objects.get()
    ledger.write([called("hit", 1), called("stale", 1)], [])
    ledger.write([], [stored(1, size=77, tags=["new"])])
    after = Entry.objects.get()
    assert (after.pk, after.hits, after.size) == (before.pk, 2, 77)
    assert after.created > before.created
    assert [tag.name for tag in after.tags.all()] == ["new"]


def test_a_renewed_entry_has_the_tags_of_its_last_answer_only() -> None:
    ledger.write([], [stored(1, tags=["old", "both"]), stored(2, tags=["old"])])
    ledger.write([], [stored(1, tags=["both", "new"])])
    names = EntryTag.objects.filter(entry__digest=digest(1)).values_list("name", flat=True)
    assert sorted(names) == ["both", "new"]
    assert EntryTag.objects.get(entry__digest=digest(2)).name == "old"


def test_a_later_end_is_noted_of_the_very_answer_that_got_it_and_of_no_other() -> None:
    first = stored(1, size=10, tags=["a"])
    end = first.created + 5000
    longer = replace(
        first, expires=end, kept_until=end + 9, lengthened=first.created + 1, material=b""
    )
    ledger.write([], [longer])
    assert not Entry.objects.exists()  # of what the index does not know it learns nothing
    ledger.write([], [longer, first])
    entry = Entry.objects.get()
    assert entry.expires == moment(end) and entry.kept_until == moment(end + 9)
    assert entry.preview == "hello" and entry.tags.get().name == "a"
    newer = stored(1, created=first.created + 2)
    ledger.write([], [newer, longer])
    renewed = Entry.objects.get()
    assert newer.expires is not None and renewed.expires == moment(newer.expires)


def test_one_digest_under_two_aliases_is_two_entries() -> None:
    ledger.write([called("hit", 1, alias="b")], [stored(1, alias="a"), stored(1, alias="b")])
    assert sorted(Entry.objects.values_list("alias", "hits")) == [("a", 0), ("b", 1)]


def test_of_two_versions_in_one_batch_the_last_is_kept() -> None:
    ledger.write([], [stored(1, size=1), stored(1, size=2)])
    assert Entry.objects.get().size == 2


def test_an_entry_without_end_is_live_and_never_expired() -> None:
    ledger.write([], [stored(1, expires=None, kept_until=None), stored(2, ttl=-5)])
    assert Entry.objects.live().get().digest == digest(1)
    assert Entry.objects.expired().get().digest == digest(2)


def test_many_entries_at_once_are_all_there() -> None:
    ledger.write([], [stored(n, tags=[f"t{n % 7}", "all"]) for n in range(1203)])
    assert Entry.objects.count() == 1203
    assert Entry.objects.tagged("all").count() == 1203
    assert Entry.objects.tagged("t3", "t4").count() == 344


@pytest.mark.parametrize("length", [1, 8, 63, 64])
def test_a_prefix_finds_the_digests_that_begin_so(length: int) -> None:
    ledger.write([], [stored(n) for n in range(200)])
    prefix = digest(7)[:length]
    expected = {digest(n) for n in range(200) if digest(n).startswith(prefix)}
    assert {entry.digest for entry in Entry.objects.with_digest_prefix(prefix)} == expected


# --- texts ---


def test_hostile_texts_are_stored_cleaned_in_every_column() -> None:
    names = {"namespace": HOSTILE, "scope": HOSTILE}
    labels = {"reason": HOSTILE, "caller": HOSTILE, "layer": HOSTILE, "model": HOSTILE}
    ledger.write(
        [called(alias="default", **names, **labels)],
        [stored(1, tags=[HOSTILE], model=HOSTILE, **names)],
    )
    call, entry, stat = Call.objects.get(), Entry.objects.get(), HourlyStat.objects.get()
    for row, column in [
        *((call, name) for name in (*names, *labels)),
        *((stat, name) for name in ("namespace", "model", "caller")),
    ]:
        assert getattr(row, column) == CLEANED, column
    for name in (entry.namespace, entry.scope, entry.model, entry.tags.get().name):
        assert name == name_of(HOSTILE) and name.startswith(CLEANED + "…")


def test_no_two_names_become_one() -> None:
    long = "x" * 200
    given = [
        "x",
        long,
        long + "y",
        long + "z",
        long[:199] + "…",
        "\0",
        "\ud800",
        "\ufffd",
        "",
        None,
    ]
    names = [name_of(name) for name in given]
    assert len(set(names)) == len(given) - 1  # none is the empty one
    assert max(map(len, names)) == NAME_LENGTH
    assert [name_of(name) for name in names] == names


def test_over_long_texts_are_cut_and_still_added_up_together() -> None:
    long = "x" * 5000
    for end in "ab":
        texts = dict.fromkeys(("namespace", "scope", "caller", "model", "reason"), long + end)
        ledger.write(
            [called(layer=long, alias=long + end, **texts)],
            [stored(1, alias=long + end, tags=[long + end], model=long, namespace=long)],
        )
    assert Call.objects.count() == 2
    assert HourlyStat.objects.get().calls == 2
    assert Entry.objects.get().tags.get().name == name_of(long + "b")
    assert len(Call.objects.all()[0].reason) == 255


def test_texts_that_become_one_by_cutting_are_one_row_of_a_batch() -> None:
    calls = [called(model="y" * 300 + end, namespace=None if end == "a" else "") for end in "abc"]
    entries = [stored(1, alias="z" * 100 + end) for end in "abc"]
    ledger.write(calls, entries)
    assert HourlyStat.objects.get().calls == 3
    assert Entry.objects.count() == 1


def test_numbers_beyond_a_column_are_limited() -> None:
    usage = {"input": 10**12, "output": -5, "cached": 0}
    ledger.write([called("miss", noted={"usage": usage})], [stored(1, usage=usage)])
    assert Call.objects.get().input_tokens == 2**31 - 1
    assert Entry.objects.get().output_tokens == 0


# --- calls and figures ---


def test_a_hit_saves_what_its_answer_cost_and_a_miss_pays_it() -> None:
    ledger.write([called("hit"), called("miss", 2, latency=2.0)], [])
    hit, miss = Call.objects.get(outcome="hit"), Call.objects.get(outcome="miss")
    assert (hit.saved_input_tokens, hit.saved_output_tokens, hit.input_tokens) == (100, 20, 0)
    assert (miss.input_tokens, miss.saved_input_tokens) == (100, 0)
    assert hit.saved_cost == miss.cost and hit.saved_cost
    assert (hit.cost, miss.saved_cost) == (0.0, 0.0)
    assert figures()["saved_cost"] == hit.saved_cost
    assert figures()["saved_seconds"] == pytest.approx(1.9995)


def test_figures_of_an_hour_add_up_over_batches() -> None:
    at = datetime(2026, 3, 4, 5, 30, tzinfo=UTC).timestamp()
    for _ in range(3):
        ledger.write([called("hit", n, at=at) for n in range(4)] + [called("miss", at=at)], [])
    assert HourlyStat.objects.get(outcome="hit").calls == 12
    assert HourlyStat.objects.get(outcome="miss").calls == 3
    sums = figures()
    assert (sums["calls"], sums["saved_input_tokens"], sums["input_tokens"]) == (15, 1200, 300)
    assert set(HourlyStat.objects.values_list("hour", flat=True)) == {
        datetime(2026, 3, 4, 5, tzinfo=UTC)
    }


def test_calls_of_models_without_a_price_are_counted_as_unpriced() -> None:
    ledger.write([called("miss", model="of our own"), called("miss")], [])
    assert figures()["unpriced"] == 1
    assert Call.objects.get(model="of our own").cost is None


def test_lost_records_are_a_row_of_the_figures() -> None:
    ledger.write([], [], lost=3)
    ledger.write([], [], lost=4)
    assert HourlyStat.objects.lost().get().calls == 7
    assert not HourlyStat.objects.answered().exists()


def test_hits_are_counted_with_the_time_of_the_last() -> None:
    ledger.write([], [stored(n) for n in range(5)])
    at = datetime(2026, 3, 4, tzinfo=UTC).timestamp()
    calls = [called("hit", n, at=at + n) for n in range(5) for _ in range(n)]
    ledger.write([*calls, called("miss", 1), called("coalesced", 1)], [])
    hits = {entry.digest: entry.hits for entry in Entry.objects.all()}
    assert hits == {digest(n): n for n in range(5)}
    assert Entry.objects.get(digest=digest(4)).last_hit == datetime.fromtimestamp(at + 4, UTC)
    assert Entry.objects.get(digest=digest(2)).last_hit == datetime.fromtimestamp(at + 2, UTC)
    assert Entry.objects.get(digest=digest(0)).last_hit is None


def test_the_log_may_be_a_sample_while_the_figures_count_all() -> None:
    with override_settings(LLMCACHE_CONFIG={"LOG_SAMPLE": 0}):
        ledger.write([called() for _ in range(20)], [])
    assert (Call.objects.count(), figures()["calls"]) == (0, 20)
    with override_settings(LLMCACHE_CONFIG={"LOG_SAMPLE": 0.5}):
        ledger.write([called() for _ in range(200)], [])
    assert 0 < Call.objects.count() < 200
    assert figures()["calls"] == 220


def test_the_log_may_be_a_sample_of_some_outcomes_only() -> None:
    with override_settings(LLMCACHE_CONFIG={"LOG_SAMPLE": {"hit": 0, "miss": 0.5}}):
        calls = [called(outcome) for outcome in ("hit", "miss", "failed") for _ in range(100)]
        ledger.write(calls, [])
    logged = {name: Call.objects.filter(outcome=name).count() for name in ("hit", "failed")}
    assert logged == {"hit": 0, "failed": 100}
    assert 0 < Call.objects.filter(outcome="miss").count() < 100
    assert figures()["calls"] == 300


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 1.0])
def test_the_index_may_count_hits_by_a_sample_while_the_figures_count_all(share: float) -> None:
    ledger.write([], [stored(n) for n in range(2)])
    with override_settings(LLMCACHE_CONFIG={"HIT_SAMPLE": share}):
        for _ in range(10):
            ledger.write([called("hit", 0) for _ in range(500)], [])
    hits, none = (Entry.objects.get(digest=digest(n)).hits for n in (0, 1))
    if share in (0, 1.0):
        assert hits == 5000 * share
    else:
        assert 5000 * 0.6 < hits < 5000 * 1.4  # six standard deviations and more
    assert none == 0
    assert figures()["calls"] == 5000


def test_hits_that_are_not_counted_touch_no_entry(database: str) -> None:
    ledger.write([], [stored(1)])
    with (
        override_settings(LLMCACHE_CONFIG={"HIT_SAMPLE": 0}),
        CaptureQueriesContext(connections[database]) as asked,
    ):
        ledger.write([called("hit", 1)] * 10, [])
    statements = [query["sql"] for query in asked]
    assert not any('llmcache_entry"' in text or "llmcache_entry`" in text for text in statements)
    assert any("llmcache_hourlystat" in text for text in statements)


# --- once and no more ---


def test_a_batch_under_one_id_is_written_once() -> None:
    name = str(uuid.uuid4())
    for _ in range(2):
        ledger.write([called()], [stored(1)], lost=1, batch_id=name)
    assert (Call.objects.count(), Entry.objects.get().hits, figures()["calls"]) == (1, 1, 2)
    assert RecordBatch.objects.get().pk == uuid.UUID(name)


class Fails:
    """Fails at one statement, as a database that goes away there."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, *rest: Any) -> Any:
        if self.words in str(sql):
            raise DatabaseError("gone")
        return execute(sql, params, *rest)


@pytest.mark.parametrize(
    "words",
    ["recordbatch", "call", "entry", "entrytag", "hourlystat", "eviction"],
)
def test_a_batch_that_failed_anywhere_and_is_written_again_counts_once(
    words: str, database: str
) -> None:
    calls = [called("hit", n) for n in (1, 2, 2)]
    entries = [stored(n, tags=["t"]) for n in (1, 2)]
    name = str(uuid.uuid4())
    with (
        connections[database].execute_wrapper(Fails(f"llmcache_{words}")),
        pytest.raises(DatabaseError),
    ):
        ledger.write(calls, entries, lost=1, batch_id=name)
    ledger.write(calls, entries, lost=1, batch_id=name)
    assert Call.objects.count() == 3
    assert figures()["calls"] == 3 + 1
    assert sorted(Entry.objects.values_list("hits", flat=True)) == [1, 2]
    assert EntryTag.objects.count() == 2
