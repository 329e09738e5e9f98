"""Which requests share an answer."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings

import llmcache
from llmcache.models import Call, Entry
from llmcache.recorder import recorder
from tests.views.conftest import Visitor
from tests.views.site import visits


def test_a_second_visit_is_answered_from_the_cache(visitor: Visitor) -> None:
    first, second = visitor.get("whole"), visitor.get("whole")
    assert first.content == second.content
    assert second["Content-Type"] == "application/json"
    assert [found["X-LLMCache-Outcome"] for found in (first, second)] == ["miss", "hit"]
    assert visits == ["whole"]


def test_headers_tell_of_age_and_key(visitor: Visitor) -> None:
    first, second = visitor.get("whole"), visitor.get("whole")
    assert first["Cache-Status"].startswith("llmcache; fwd=miss; stored; key=")
    assert second["Cache-Status"].startswith("llmcache; hit; ttl=")
    assert second["Age"] == "0"
    assert first["X-LLMCache-Key"] == second["X-LLMCache-Key"]
    assert "Age" not in first


def test_visitors_need_not_be_told(visitor: Visitor) -> None:
    visitor.get("quiet")
    told = visitor.get("quiet")
    assert not [name for name in told.headers if name.startswith("X-LLMCache")]
    assert told["Cache-Status"].startswith("llmcache; hit; ttl=")
    assert "key=" not in told["Cache-Status"]
    assert told["Age"] == "0"


def test_the_order_of_a_query_makes_no_difference(visitor: Visitor) -> None:
    one = {"a": ["1", "2"], "b": "3"}
    visitor.get("whole", one)
    visitor.get("whole", dict(reversed(one.items())))
    assert len(visits) == 1
    visitor.get("whole", {"a": ["2", "1"], "b": "3"})
    visitor.get("whole", {"a": ["1", "2"]})
    assert len(visits) == 3


def test_paths_and_methods_are_told_apart(visitor: Visitor) -> None:
    visitor.get("whole")
    visitor.get("whole/1")
    visitor.get("whole/2")
    visitor.post("whole", {})
    assert len(visits) == 4


def test_json_is_compared_by_what_it_says(visitor: Visitor) -> None:
    bodies = [b'{"a": 1, "b": [2]}', b'{"b":[2],"a":1}', b'{"a": "1", "b": [2]}']
    for body in bodies:
        visitor.post("whole", body, "application/json")
    assert len(visits) == 2


def test_other_bodies_are_compared_by_their_bytes(visitor: Visitor) -> None:
    for body in (b"one", b"one", b"two"):
        visitor.post("whole", body, "text/plain")
    visitor.post("whole", b"one", "text/csv")
    assert len(visits) == 3


def test_forms_are_compared_by_their_fields_without_the_token(visitor: Visitor) -> None:
    for token in ("x", "y"):
        visitor.post("form", {"q": "one", "csrfmiddlewaretoken": token})
    visitor.post("form", {"q": "two"})
    assert len(visits) == 2


def test_files_are_compared_by_their_content(visitor: Visitor) -> None:
    for name, content in (("a", b"one"), ("b", b"one"), ("a", b"two")):
        found = visitor.post("form", {"f": SimpleUploadedFile(name, content)})
        assert found.json()["files"] == [content.decode()]
    assert len(visits) == 2


def test_a_url_encoded_form_is_read(visitor: Visitor) -> None:
    kind = "application/x-www-form-urlencoded"
    for body in ("a=1&b=2", "b=2&a=1", "a=1&b=3"):
        visitor.post("form", body, kind)
    assert len(visits) == 2


def test_named_headers_are_told_apart(visitor: Visitor) -> None:
    for style in ("short", "long", "short"):
        found = visitor.get("language", X_Style=style)
        assert "X-Style" in found["Vary"]
    assert len(visits) == 2


def test_languages_and_hosts_are_told_apart(visitor: Visitor) -> None:
    visitor.get("whole")
    with override_settings(LANGUAGE_CODE="de"):
        visitor.get("whole")
    with override_settings(ALLOWED_HOSTS=["*"], USE_X_FORWARDED_HOST=True):
        visitor.get("whole", X_Forwarded_Host="other.example")
    assert len(visits) == 3


def test_head_is_answered_from_the_cache_but_never_stored(visitor: Visitor) -> None:
    visitor.head("whole")
    visitor.head("whole")
    assert len(visits) == 2
    visitor.get("whole")
    assert visitor.head("whole")["X-LLMCache-Outcome"] == "hit"
    assert len(visits) == 3


def test_other_methods_always_reach_the_view(visitor: Visitor) -> None:
    for _ in range(2):
        found = visitor._send("put", "whole", b"x", {})
        assert "Cache-Status" not in found
    assert len(visits) == 2


def test_classes_are_cached_by_method_decorator(visitor: Visitor) -> None:
    found = [visitor.get("class") for _ in range(2)]
    assert [one.content for one in found] == [b"page"] * 2
    assert found[1]["X-LLMCache-Outcome"] == "hit"
    assert visits == ["class"]


def test_a_key_of_ones_own_stands_for_the_request(visitor: Visitor) -> None:
    visitor.get("keyed", {"page": "1", "other": "a"})
    visitor.get("keyed", {"page": "1", "other": "b"})
    visitor.get("keyed", {"page": "2"})
    assert len(visits) == 2


@pytest.mark.django_db(transaction=True)
def test_a_tag_of_the_request_evicts_its_answer(visitor: Visitor) -> None:
    for page in ("1", "2"):
        visitor.get("tagged", {"page": page})
    recorder.flush()
    llmcache.evict(tag="page-1")
    assert visitor.get("tagged", {"page": "2"})["X-LLMCache-Outcome"] == "hit"
    assert visitor.get("tagged", {"page": "1"})["X-LLMCache-Outcome"] == "miss"


@pytest.mark.django_db(transaction=True)
def test_the_ledger_counts_what_a_page_has_saved(visitor: Visitor) -> None:
    visitor.get("model", {"q": "hello there"})
    found = visitor.get("model", {"q": "hello there"})
    assert int(found["X-LLMCache-Saved-Tokens"]) == found.json()["usage"]["total_tokens"]
    recorder.flush()
    entry = Entry.objects.get(kind="view")
    assert entry.model.endswith("model")
    assert entry.input_tokens > 0
    calls = Call.objects.filter(kind__endswith="view").order_by("pk")
    assert [call.outcome for call in calls] == ["miss", "hit"]


CONTROLS: list[tuple[str, int]] = [("no-cache", 2), ("max-age=0", 2), ("max-age=60", 1)]


@pytest.mark.parametrize(("said", "runs"), CONTROLS)
def test_a_visitors_cache_control_is_followed_where_that_is_allowed(
    visitor: Visitor, said: str, runs: int
) -> None:
    visitor.get("obedient")
    visitor.get("obedient", Cache_Control=said)
    assert len(visits) == runs
    visits.clear()
    visitor.get("whole")
    visitor.get("whole", Cache_Control=said)
    assert len(visits) == 1


def test_the_settings_say_what_visitors_may(visitor: Visitor) -> None:
    with override_settings(LLMCACHE_CONFIG={"CLIENT_CONTROLS": ["no-cache"]}):
        visitor.get("whole")
        visitor.get("whole", Cache_Control="no-cache")
    assert len(visits) == 2


def test_no_store_of_a_visitor_stores_nothing(visitor: Visitor) -> None:
    visitor.get("obedient", Cache_Control="no-store")
    assert visitor.get("obedient")["X-LLMCache-Outcome"] == "miss"


def test_only_if_cached_is_a_504_where_nothing_is(visitor: Visitor) -> None:
    found: Any = visitor.get("obedient", Cache_Control="only-if-cached")
    assert found.status_code == 504
    assert 'detail="only-if-cached"' in found["Cache-Status"]
    assert visits == []
    visitor.get("obedient")
    assert visitor.get("obedient", Cache_Control="only-if-cached").status_code == 200
