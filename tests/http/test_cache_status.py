"""The headers of an answer: Cache-Status as RFC 9211 writes it, Age, and our own."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpResponse
from hypothesis import given
from hypothesis import strategies as st

from llmcache.http import cache_status
from llmcache.http.cache_status import headers_for, not_cached
from llmcache.outcome import BYPASS, COALESCED, ERROR, HIT, MISS, OUTCOMES, STALE, CacheInfo

DIGEST = "ab" * 32
NOW = 1_700_000_000.0
# RFC 8941 section 3.1.2: an item's parameters, of tokens, integers and strings.
_STRING = r'"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
ITEM = re.compile(rf"llmcache(?:; [a-z][a-z0-9_-]*(?:=(?:[a-z-]+|-?\d{{1,15}}|{_STRING}))?)*")


def info(outcome: str, **more: Any) -> CacheInfo:
    stored = more.pop("stored", False)
    found = CacheInfo(outcome, key=DIGEST, layer="default", **more)
    found.stored = stored
    return found


def entry(seconds: float) -> Any:
    return SimpleNamespace(expires=NOW + seconds, header={})


KEY = f'key="{DIGEST}"'


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (info(HIT, source=entry(377)), f"llmcache; hit; ttl=376; {KEY}"),
        (info(HIT, source=entry(float("inf"))), f"llmcache; hit; {KEY}"),
        (info(STALE, source=entry(-411)), f"llmcache; hit; ttl=-412; {KEY}"),
        (info(MISS), f"llmcache; fwd=miss; {KEY}"),
        (info(MISS, stored=True), f"llmcache; fwd=miss; stored; {KEY}"),
        (
            info(MISS, reason="past its ttl", stored=True),
            f'llmcache; fwd=stale; stored; {KEY}; detail="past its ttl"',
        ),
        (
            info(MISS, reason="no-cache"),
            f'llmcache; fwd=request; {KEY}; detail="no-cache"',
        ),
        (info(COALESCED), f"llmcache; fwd=miss; collapsed; {KEY}"),
        (info(ERROR), f'llmcache; fwd=miss; {KEY}; detail="the store failed"'),
        (CacheInfo(BYPASS, reason="the cache is off"), "llmcache; fwd=bypass"),
    ],
)
def test_cache_status_says_what_rfc_9211_has_words_for(
    given: CacheInfo, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_status, "time", lambda: NOW + 0.5)
    said = headers_for(given)
    assert said["Cache-Status"] == status
    assert said["X-LLMCache-Outcome"] == given.outcome
    assert ITEM.fullmatch(status)


@pytest.mark.parametrize(
    ("items", "status"), [((1, 3), "fwd=partial"), ((0, 3), "fwd=miss"), ((3, 3), "hit")]
)
def test_an_answer_of_several_items_may_be_a_hit_in_part(
    items: tuple[int, int], status: str
) -> None:
    given = info(HIT if items[0] == items[1] else MISS)
    given.items = items
    said = headers_for(given)
    assert said["Cache-Status"] == f"llmcache; {status}; {KEY}"
    assert said["X-LLMCache-Items"] == f"{items[0]}/3"


@pytest.mark.parametrize(
    ("outcome", "has_age"), [(outcome, outcome in (HIT, STALE)) for outcome in OUTCOMES]
)
def test_only_answers_from_the_cache_have_an_age_in_whole_seconds(
    outcome: str, has_age: bool
) -> None:
    assert headers_for(info(outcome, age=59.9)).get("Age") == ("59" if has_age else None)


def test_what_is_not_exposed_is_age_and_status_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_status, "time", lambda: NOW)
    given = info(HIT, age=3.0, reason="a reason", source=entry(9))
    assert headers_for(given, expose=False) == {
        "Age": "3",
        "Cache-Status": "llmcache; hit; ttl=9",
    }
    assert headers_for(info(MISS, reason="x"), expose=False) == {
        "Cache-Status": "llmcache; fwd=miss"
    }


def test_a_504_says_why(settings: Any) -> None:
    assert not_cached(DIGEST) == {
        "Cache-Status": 'llmcache; fwd=miss; detail="only-if-cached"',
        "X-LLMCache-Outcome": "miss",
        "X-LLMCache-Key": DIGEST,
    }
    assert "X-LLMCache-Key" not in not_cached(None)


@given(
    outcome=st.sampled_from(OUTCOMES),
    texts=st.tuples(st.text(), st.text(), st.text())
    | st.tuples(
        *[st.sampled_from(["a\r\nSet-Cookie: x=y", '"; hit', "\\", "\x00", "é" * 500])] * 3
    ),
    age=st.floats(min_value=0, max_value=1e12),
    expires=st.floats(min_value=0, max_value=1e12),
    expose=st.booleans(),
)
def test_no_text_can_put_a_header_of_its_own_into_the_answer(
    outcome: str, texts: tuple[str, str, str], age: float, expires: float, expose: bool
) -> None:
    key, layer, reason = texts
    source = SimpleNamespace(expires=expires, header={})
    given = CacheInfo(outcome, key=key, layer=layer, reason=reason, age=age, source=source)
    response = HttpResponse(headers={**not_cached(key), **headers_for(given, expose=expose)})
    for name, value in response.items():
        assert name == "Content-Type" or re.fullmatch(r"[\x20-\x7e]*", value)
    assert ITEM.fullmatch(response["Cache-Status"])
