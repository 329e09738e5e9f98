"""A match that was wrong is said to be so once, and never comes back."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest

import llmcache
from llmcache import backends, maintenance, prompts, rejecting
from llmcache.exceptions import InvalidRequest
from llmcache.matching import observing
from llmcache.models import Entry, Eviction, MatchedPair
from tests.matching.conftest import Site
from tests.matching.test_serving import SIMILAR, STORED, ask, provider

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_rejected_pair_never_matches_again_whichever_is_stored(door: Any, site: Site) -> None:
    ask(door)
    door.reject(ask(door, SIMILAR))
    assert ask(door, SIMILAR).cache.outcome == "miss"
    again = ask(door)
    assert again.cache.outcome == "miss"
    assert "rejected" in again.cache.reason
    assert ask(door).cache.hit
    assert ask(door, SIMILAR).cache.hit
    assert provider().call_count == 3


def test_the_entry_is_evicted_and_the_pair_joins_the_evaluation_set(door: Any, site: Site) -> None:
    site({"STORE_PROMPTS": "full"})
    first = ask(door)
    llmcache.recorder.flush()  # type: ignore[attr-defined]
    wrong = ask(door, SIMILAR)
    assert door.reject(wrong, reason="other shoes", by="anna").removed == 1
    assert not Entry.objects.filter(digest=first.cache.key).exists()
    assert Eviction.objects.get(part_of=None).reason == "other shoes"
    row = MatchedPair.objects.measurable().get()
    assert (row.asked, row.stored, row.same, row.decided_by) == (SIMILAR, STORED, False, "anna")
    assert row.similarity == pytest.approx(wrong.cache.similarity)


def test_an_exact_hit_that_is_rejected_is_evicted_alone(door: Any, site: Site) -> None:
    ask(door)
    door.reject(ask(door))
    assert ask(door).cache.outcome == "miss"
    assert not MatchedPair.objects.exists()


def test_a_new_answer_cannot_be_rejected(door: Any, site: Site) -> None:
    with pytest.raises(InvalidRequest, match="came from the cache"):
        door.reject(ask(door))


def test_a_cleared_store_still_knows_what_was_rejected(site: Site) -> None:
    ask(llmcache)
    llmcache.reject(ask(llmcache, SIMILAR))
    maintenance.clear("default")
    ask(llmcache)
    assert not ask(llmcache, SIMILAR).cache.hit


def test_staff_may_decide_otherwise(site: Site) -> None:
    ask(llmcache)
    llmcache.reject(ask(llmcache, SIMILAR))
    row = MatchedPair.objects.get()
    rejecting.decide(row, True, by="ben")
    ask(llmcache)
    assert ask(llmcache, SIMILAR).cache.hit
    row.refresh_from_db()
    assert (row.same, row.decided_by) == (True, "ben")
    rejecting.decide(row, False, by="ben")
    assert not ask(llmcache, SIMILAR).cache.hit


def test_blocks_are_no_entries_of_the_index(site: Site) -> None:
    from llmcache import reindexing

    ask(llmcache)
    llmcache.reject(ask(llmcache, SIMILAR))
    ask(llmcache)
    Entry.objects.all().delete()
    steps = list(reindexing.reindex("default"))
    assert sum(step.indexed for step in steps) == 1
    assert sum(step.unreadable for step in steps) == 0


# --- what is noted of matches ---


def test_a_match_is_noted_once_a_pair_and_counted(door: Any, site: Site) -> None:
    ask(door)
    for _ in range(3):
        ask(door, SIMILAR)
    observing.flush()
    row = MatchedPair.objects.get()
    assert (row.how, row.times, row.same, row.alias) == ("served", 3, None, "default")
    assert (row.asked, row.stored, row.whole) == (SIMILAR, STORED, True)


@pytest.mark.parametrize(
    "config", [{"STORE_PROMPTS": "none"}, {"REDACT": lambda text: text.replace("shoes", "***")}]
)
def test_prompts_are_kept_as_the_settings_allow(site: Site, config: dict[str, Any]) -> None:
    site(config)
    ask(llmcache)
    ask(llmcache, SIMILAR)
    observing.flush()
    row = MatchedPair.objects.get()
    assert "shoes" not in row.asked + row.stored
    assert not row.whole
    assert not MatchedPair.objects.measurable().exists()


def test_without_a_recorder_nothing_is_noted(site: Site) -> None:
    site({"RECORDER": "off"})
    ask(llmcache)
    assert ask(llmcache, SIMILAR).cache.hit
    observing.flush()
    assert not MatchedPair.objects.exists()


def test_in_shadow_mode_the_model_is_called_and_the_answers_are_compared(
    door: Any, site: Site
) -> None:
    site(mode="shadow")
    provider().responses = lambda request: "Send them back within a month."
    first = ask(door)
    second = ask(door, SIMILAR)
    assert second.id != first.id
    assert second.cache.outcome == "miss"
    assert "shadow" in second.cache.reason
    observing.flush()
    row = MatchedPair.objects.get()
    assert (row.how, row.same, row.decided_by) == ("shadow", True, "audit")


def test_answers_that_say_something_else_make_a_wrong_match(door: Any, site: Site) -> None:
    site(mode="shadow")
    replies = {STORED: "Send them back within 30 days.", SIMILAR: "Send them back within 14 days."}
    provider().responses = replies
    ask(door)
    ask(door, SIMILAR)
    observing.flush()
    assert MatchedPair.objects.get().same is False


def test_an_audit_calls_the_model_for_a_share_of_the_matches(door: Any, site: Site) -> None:
    site(audit=1.0)
    ask(door)
    assert not ask(door, SIMILAR).cache.hit
    observing.flush()
    assert MatchedPair.objects.get().how == "audit"
    assert ask(door, SIMILAR).cache.hit  # by now it is an entry of its own


def test_what_staff_have_said_an_audit_does_not_change(site: Site) -> None:
    site(mode="shadow")
    provider().responses = lambda request: "The same for all."
    ask(llmcache)
    ask(llmcache, SIMILAR, cache={"no-store": True})
    observing.flush()
    rejecting.decide(MatchedPair.objects.get(), True, by="ben")
    provider().responses = lambda request: "Now something else entirely, with the number 7."
    ask(llmcache, SIMILAR, cache={"no-store": True})
    observing.flush()
    row = MatchedPair.objects.get()
    assert (row.same, row.decided_by, row.times) == (True, "ben", 2)


def test_a_database_that_fails_costs_the_caller_nothing(
    site: Site, counted: Callable[[str], int]
) -> None:
    from django.db import connection

    ask(llmcache)
    with connection.schema_editor() as editor:
        editor.delete_model(MatchedPair)
    try:
        assert ask(llmcache, SIMILAR).cache.hit
        observing.flush()
        assert counted("match_lost") == 1
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(MatchedPair)


def test_a_thread_of_each_process_writes_by_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site({"FLUSH_INTERVAL": 0.05})
    monkeypatch.setattr(observing, "in_test_run", lambda: False)
    ask(llmcache)
    ask(llmcache, SIMILAR)
    ask(llmcache, SIMILAR)
    until = monotonic() + 10
    while not MatchedPair.objects.exists() and monotonic() < until:
        sleep(0.05)
    observing.observer.stop()
    assert MatchedPair.objects.get().times == 2


def test_a_full_buffer_loses_pairs_and_counts_them(
    site: Site, monkeypatch: pytest.MonkeyPatch, counted: Callable[[str], int]
) -> None:
    monkeypatch.setattr(observing, "_MOST", 0)
    ask(llmcache)
    assert ask(llmcache, SIMILAR).cache.hit
    observing.flush()
    assert counted("match_lost") == 1
    assert not MatchedPair.objects.exists()


# --- stores that fail ---


def test_a_store_that_fails_while_it_is_cleared_still_knows_what_was_rejected(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(llmcache)
    llmcache.reject(ask(llmcache, SIMILAR))
    backend = backends.stores["default"]
    clear = backend.clear

    def break_off() -> None:
        clear()
        raise OSError("unplugged")

    monkeypatch.setattr(backend, "clear", break_off)
    assert maintenance.clear("default").problems == {"default": "OSError: unplugged"}
    ask(llmcache)
    assert not ask(llmcache, SIMILAR).cache.hit


def test_rejected_pairs_that_cannot_be_stored_again_are_told(site: Site, failing: Any) -> None:
    ask(llmcache)
    llmcache.reject(ask(llmcache, SIMILAR))
    failing(backends.stores["default"], "set_many", "unplugged")
    done = maintenance.clear("default")
    assert done.failed == 1
    assert done.problems == {"default": "rejected pairs may match again: OSError: unplugged"}


def test_a_pair_of_a_store_that_this_process_lacks_cannot_be_rejected(site: Site) -> None:
    ask(llmcache)
    llmcache.reject(ask(llmcache, SIMILAR))
    MatchedPair.objects.update(alias="gone")
    row = MatchedPair.objects.get()
    with pytest.raises(InvalidRequest, match="no store of the alias 'gone'"):
        rejecting.decide(row, False, by="ben")
    rejecting.decide(row, None, by="ben")  # there is nothing left that could match
    row.refresh_from_db()
    assert (row.same, row.decided_by) == (None, "")


def test_a_match_that_cannot_be_noted_does_not_keep_others_from_it(
    site: Site, counted: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = prompts.kept
    ask(llmcache)
    ask(llmcache, SIMILAR)

    def fail_once(text: str) -> Any:
        monkeypatch.setattr(prompts, "kept", kept)
        raise ValueError("broken")

    monkeypatch.setattr(prompts, "kept", fail_once)
    observing.flush()
    assert counted("match_error") == 1 and not MatchedPair.objects.exists()
    ask(llmcache, SIMILAR)
    observing.flush()
    assert MatchedPair.objects.get().times == 1


def test_a_redaction_that_fails_keeps_nothing_of_a_pair(
    site: Site, counted: Callable[[str], int]
) -> None:
    def fail(text: str) -> str:
        raise ValueError("cannot redact")

    site({"REDACT": fail, "STORE_PROMPTS": "full"})
    ask(llmcache)
    ask(llmcache, SIMILAR)
    observing.flush()
    row = MatchedPair.objects.get()
    assert (row.asked, row.stored, row.whole) == ("", "", False)
    assert counted("redact_error") == 2
