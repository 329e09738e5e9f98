"""A similar question and the controls of its call: what they allow, and how long it serves."""

from __future__ import annotations

from typing import Any

import pytest

import llmcache
from llmcache import maintenance, recorder, writer
from llmcache.backends import stores
from llmcache.exceptions import NotCached
from llmcache.models import Entry
from tests.matching.conftest import Site
from tests.matching.test_serving import OTHER, SIMILAR, ask
from tests.matching.words import WordEmbedder


def test_only_if_cached_takes_a_similar_answer(door: Any, site: Site) -> None:
    first = ask(door)
    assert ask(door, SIMILAR, cache={"only-if-cached": True}).id == first.id
    with pytest.raises(NotCached, match="similar"):
        ask(door, OTHER, cache={"only-if-cached": True})


def test_no_cache_asks_anew_and_stores_a_vector(door: Any, site: Site) -> None:
    ask(door, cache={"no-cache": True})
    assert ask(door, SIMILAR).cache.hit
    assert not ask(door, SIMILAR, cache={"no-cache": True}).cache.hit


def test_no_store_leaves_nothing_to_match(door: Any, site: Site) -> None:
    ask(door, cache={"no-store": True})
    assert not ask(door, SIMILAR).cache.hit


def test_a_call_may_refuse_similar_answers(door: Any, site: Site) -> None:
    ask(door)
    assert not ask(door, SIMILAR, cache={"semantic": False}).cache.hit
    assert len(WordEmbedder.texts) == 1


def test_an_answer_older_than_s_maxage_does_not_serve(door: Any, site: Site) -> None:
    ask(door)
    door.sleep(0.05)
    assert not ask(door, SIMILAR, cache={"s-maxage": 0.01}).cache.hit


def test_a_similar_answer_past_its_ttl_does_not_serve_even_within_its_stale_window(
    door: Any, site: Site
) -> None:
    stale = {"ttl": 0.05, "stale-while-revalidate": 60, "stale-if-error": 60}
    ask(door, cache=stale)
    door.sleep(0.1)
    assert ask(door, SIMILAR, cache=stale).cache.outcome == "miss"


@pytest.mark.django_db
def test_the_vector_of_an_entry_that_lives_on_does_so_too(
    door: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site({"REFRESH_TTL_ON_HIT": True})
    touched: list[Any] = []
    touch = type(stores["default"]).touch

    def seen(self: Any, digest: str, ttl: float | None) -> bool:
        touched.append((digest, ttl))
        return touch(self, digest, ttl)

    monkeypatch.setattr(type(stores["default"]), "touch", seen)
    key = ask(door, cache={"ttl": 100}).cache.key
    assert ask(door, SIMILAR, cache={"ttl": 1000}).cache.key == key
    writer.flush()
    ((digest, ttl),) = touched
    assert digest == key and 900 < ttl <= 1000
    recorder.flush()
    maintenance.pin(Entry.objects.get())
    assert touched[1] == (key, None)


@pytest.mark.django_db
def test_an_evicted_answer_matches_nothing(door: Any, site: Site) -> None:
    ask(door, cache={"tags": ["shoes"]})
    llmcache.recorder.flush()  # type: ignore[attr-defined]
    llmcache.evict(tag="shoes")
    assert ask(door, SIMILAR).cache.outcome == "miss"


def test_with_require_scope_a_call_without_one_matches_nothing(door: Any, site: Site) -> None:
    site({"REQUIRE_SCOPE": True})
    ask(door)
    assert ask(door, SIMILAR).cache.outcome == "miss"
    assert WordEmbedder.texts == []
    first = ask(door, cache={"scope": "me"})
    assert ask(door, SIMILAR, cache={"scope": "me"}).id == first.id
