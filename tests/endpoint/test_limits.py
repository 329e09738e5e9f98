"""Limits of keys, and what they may see and evict of what is their own."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import openai
import pytest
from django.core.cache import caches
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from llmcache.endpoint import limits
from llmcache.endpoint.holders import token_of
from llmcache.models import Entry, EntryTag, HourlyStat, VirtualKey
from llmcache.recorder import recorder
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream
from llmcache.virtual_keys import Holder
from tests.endpoint.conftest import Caller

PRICED = {"PRICING": {"m": {"input": 1_000_000.0, "output": 0.0}}}  # one unit for each input token


def ask(caller: Caller, token: str, text: str, **more: Any) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    return caller.post("v1/chat/completions", body, token)


def test_requests_over_the_rate_are_refused_until_the_next_minute(
    caller: Caller, key: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "time", lambda: 60_000_030.0)
    token, other = key("one", requests_per_minute=2), key("other", requests_per_minute=2)
    assert [ask(caller, token, "x").status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(caller, token, "x")
    assert refused["Retry-After"] == "30"
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert ask(caller, other, "x").status_code == 200
    monkeypatch.setattr(limits, "time", lambda: 60_000_061.0)
    assert ask(caller, token, "x").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_is_spent_by_misses_and_not_by_hits(
    caller: Caller, key: Callable[..., str], stream: bool
) -> None:
    token = key(budget=5.0)

    def spend(text: str) -> int:
        found = ask(caller, token, text, stream=stream)
        if found.streaming:
            caller.content(found)
        return int(found.status_code)

    with override_settings(LLMCACHE_CONFIG=PRICED):
        assert spend("three words here") == 200
        for _ in range(5):
            assert spend("three words here") == 200
        assert spend("two more") == 200
        assert spend("two more") == 429
        refused = ask(caller, token, "x")
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert refused["X-Should-Retry"] == "false"


def test_what_was_spent_before_counts_when_the_counter_is_lost(
    caller: Caller, key: Callable[..., str]
) -> None:
    token = key(budget=3.0, budget_period="total")
    with override_settings(LLMCACHE_CONFIG=PRICED):
        assert ask(caller, token, "three words here").status_code == 200
        recorder.flush()
        caches["default"].clear()
        assert HourlyStat.objects.get().caller == "key:tester"
        assert ask(caller, token, "more").status_code == 429


def test_a_budget_counts_in_its_own_period(key: Callable[..., str]) -> None:
    key(budget=1.0, budget_period="day")
    holder = VirtualKey.objects.get().holder()
    HourlyStat.objects.create(
        hour="2020-01-01T00:00Z", caller="key:tester", outcome="miss", cost=7.0
    )
    assert limits.spent(holder) == 0.0


def test_counters_that_fail_let_calls_through(caller: Caller, key: Callable[..., str]) -> None:
    token = key(requests_per_minute=1, budget=1.0)
    broken = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "limits": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        },
    }
    with override_settings(CACHES=broken, LLMCACHE_CONFIG={"ENDPOINT_CACHE": "limits"}):
        assert [ask(caller, token, "x").status_code for _ in range(3)] == [200] * 3


@pytest.mark.filterwarnings("error::django.core.cache.CacheKeyWarning")  # as memcached does
@pytest.mark.parametrize("name", ["mobile app", "k" * 80])
def test_limits_hold_whatever_the_key_is_called(
    caller: Caller, key: Callable[..., str], name: str
) -> None:
    token = key(name, requests_per_minute=1, budget=5)
    assert [ask(caller, token, "x").status_code for _ in range(2)] == [200, 429]


def test_limits_hold_over_processes(key: Callable[..., str], redis_server: Any) -> None:
    """Two processes stand for two clients of one Redis, whose counters they share."""
    shared = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "limits": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": redis_server.url,
            "KEY_PREFIX": str(random.random()),
        },
    }
    key(requests_per_minute=3)
    holder = VirtualKey.objects.get().holder()
    with (
        override_settings(CACHES=shared, LLMCACHE_CONFIG={"ENDPOINT_CACHE": "limits"}),
        multiprocessing.get_context("fork").Pool(2) as pool,
    ):
        admitted = pool.map(_admitted, [holder] * 10)
    assert sum(admitted) == 3


def _admitted(holder: Any) -> bool:
    caches.close_all()
    try:
        limits.admit(holder)
    except Exception:
        return False
    return True


def test_keys_never_share_answers_unless_their_scope_is_one(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream
) -> None:
    tokens = [key("a"), key("b"), key("c", scope="team"), key("d", scope="team")]
    for token in tokens:
        ask(caller, token, "the same")
    assert upstream.call_count == 3


def test_no_sequence_of_calls_gives_a_key_the_answer_of_another(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream
) -> None:
    tokens = {name: key(name, allowed_controls=["ttl", "no-cache"]) for name in ("a", "b", "c")}
    owners: dict[str, str] = {}
    chance = random.Random(3)
    for _ in range(120):
        name = chance.choice(list(tokens))
        more: dict[str, Any] = chance.choice(
            [
                {},
                {"cache": {"ttl": 5}},
                {"cache": {"no-cache": True}},
                {"cache": {"scope": "key:1"}},
            ]
        )
        found = ask(caller, tokens[name], chance.choice("xyz"), **more)
        if found.status_code == 200:
            identity = found.json()["id"]
            assert owners.setdefault(identity, name) == name


def test_ping_and_stats(caller: Caller, key: Callable[..., str]) -> None:
    token, other = key("one"), key("other")
    assert caller.get("cache/ping", token).json()["status"] == "healthy"
    for _ in range(3):
        ask(caller, token, "x")
    ask(caller, other, "y")
    recorder.flush()
    found = caller.get("cache/stats", token).json()
    assert (found["requests"], found["hits"]) == (3, 2)
    assert found["saved_tokens"] > 0
    assert caller.get("cache/stats?hours=x", token).status_code == 400


def test_deleting_reaches_ones_own_entries_only(caller: Caller, key: Callable[..., str]) -> None:
    mine, other = key("one", may_evict=True), key("other")
    digests = [ask(caller, token, "x")["X-LLMCache-Key"] for token in (mine, other)]
    recorder.flush()
    found = caller.post("cache/delete", {"keys": digests}, mine)
    assert found.json() == {"evicted": 1, "failed": 0}
    assert ask(caller, mine, "x")["X-LLMCache-Outcome"] == "miss"
    assert ask(caller, other, "x")["X-LLMCache-Outcome"] == "hit"
    assert caller.post("cache/delete", {"keys": digests}, other).status_code == 403
    assert caller.post("cache/delete", {}, mine).status_code == 400
    assert caller.post("cache/delete", {"keys": ["0"] * 1001}, mine).status_code == 400


@pytest.mark.parametrize("name", ["keys", "tags"])
def test_deleting_what_no_database_can_hold_deletes_nothing(
    caller: Caller, key: Callable[..., str], name: str
) -> None:
    found = caller.post("cache/delete", {name: ["te\x00m"]}, key(may_evict=True))
    assert (found.status_code, found.json()["evicted"]) == (200, 0)


def test_deleting_by_tag(caller: Caller, key: Callable[..., str]) -> None:
    token = key(may_evict=True, allowed_controls=["tags"])
    ask(caller, token, "x", cache={"tags": ["one"]})
    ask(caller, token, "y", cache={"tags": ["two"]})
    recorder.flush()
    assert caller.post("cache/delete", {"tags": ["one"]}, token).json()["evicted"] == 1


def test_deleting_by_a_tag_of_many_names_them_in_batches(key: Callable[..., str]) -> None:
    caller = Caller(is_async=False)
    token, now = key("one", may_evict=True), timezone.now()
    scope = VirtualKey.objects.get().holder().scope
    given = {"alias": "default", "kind": "completion", "scope": scope, "size": 1, "created": now}
    rows = [Entry(digest=f"{number:064x}", **given) for number in range(3000)]
    made = Entry.objects.bulk_create(rows)
    EntryTag.objects.bulk_create(EntryTag(entry=entry, name="many") for entry in made)
    with CaptureQueriesContext(connection) as captured:
        assert caller.post("cache/delete", {"tags": ["many"]}, token).json()["evicted"] == 3000
    longest = max(query["sql"].count(", ") for query in captured)
    assert longest < 1100


def test_flushing_empties_ones_own_scope_only(caller: Caller, key: Callable[..., str]) -> None:
    mine, other = key("one", may_flush=True), key("other")
    for token in (mine, other):
        ask(caller, token, "x")
        ask(caller, token, "y")
    recorder.flush()
    assert caller.post("cache/flush", {}, mine).json()["evicted"] == 2
    assert [entry.scope for entry in Entry.objects.all()] == [
        VirtualKey.objects.get(name="other").holder().scope
    ] * 2
    assert caller.post("cache/flush", {}, other).status_code == 403


LONG = "a team whose name is long " * 10


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        (LONG, LONG + "!"),
        (LONG[:199] + "…", LONG),
        ("team", "Team"),
        ("team", "team "),
        ("te\N{REPLACEMENT CHARACTER}m", "te\x00m"),
    ],
)
def test_scopes_that_look_alike_to_a_database_are_two(
    caller: Caller, settings: Any, transactional_db: None, mine: str, others: str
) -> None:
    scopes = {"mine": mine, "others": others}
    settings.LLMCACHE_CONFIG = {
        "ENDPOINT_AUTH": lambda request: Holder(
            name="x", scope=scopes[token_of(request)], may_evict=True, may_flush=True
        )
    }
    kept = ask(caller, "others", "x")["X-LLMCache-Key"]
    removed = ask(caller, "mine", "x")["X-LLMCache-Key"]
    assert caller.post("cache/delete", {"keys": [kept]}, "mine").json()["evicted"] == 0
    assert caller.post("cache/flush", {}, "mine").json()["evicted"] == 1
    assert ask(caller, "others", "x")["X-LLMCache-Outcome"] == "hit"
    assert ask(caller, "mine", "x")["X-LLMCache-Outcome"] == "miss"
    assert caller.post("cache/delete", {"keys": [removed]}, "mine").json()["evicted"] == 1


def test_the_models_that_others_ask_are_not_told(caller: Caller, key: Callable[..., str]) -> None:
    mine, other = key("one"), key("other")
    ask(caller, other, "x", model="ft:their-secret-plan")
    ask(caller, mine, "x")
    recorder.flush()
    assert [model["id"] for model in caller.get("v1/models", mine).json()["data"]] == ["m"]


def test_a_new_key_may_ask_for_fresh_answers(caller: Caller, key: Callable[..., str]) -> None:
    token = key()
    ask(caller, token, "x")
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    said = {"Cache-Control": "max-age=0"}
    found = caller.post("v1/chat/completions", body, token, headers=said)
    assert found["X-LLMCache-Outcome"] == "miss"


def test_a_stream_that_is_left_is_charged_for_what_came(
    server: str, key: Callable[..., str], upstream: FakeUpstream
) -> None:
    prices = {"m": {"input": 1_000_000.0, "output": 1_000_000.0}}
    text = "a question of a good many words so that there is time to leave"
    messages = [{"role": "user", "content": text}]
    with override_settings(LLMCACHE_CONFIG={"PRICING": prices}):
        fake: Any = upstreams["default"]
        fake.chunk_latency = 0.3
        token = key(budget=1000.0)
        client = openai.OpenAI(base_url=f"{server}/llm/v1", api_key=token, max_retries=0)
        stream = client.chat.completions.create(model="m", messages=messages, stream=True)  # type: ignore[call-overload]
        next(iter(stream))
        stream.close()
        holder = VirtualKey.objects.get().holder()
        deadline = time.monotonic() + 20
        while not (spent := limits.spent(holder)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        asked = len("user" + text) // 4 + 1
        assert asked + 1 <= spent < asked + 14  # as many events as came until the server noticed
        client.close()


def test_a_key_with_a_deleted_ones_name_has_spent_nothing(
    caller: Caller, key: Callable[..., str]
) -> None:
    with override_settings(LLMCACHE_CONFIG=PRICED):
        token = key("shop", budget=3.0, budget_period="total", requests_per_minute=5)
        assert ask(caller, token, "one two three").status_code == 200
        assert ask(caller, token, "four").status_code == 429
        recorder.flush()
        VirtualKey.objects.all().delete()
        HourlyStat.objects.update(hour=timezone.now() - timedelta(hours=2))
        token = key("shop", budget=3.0, budget_period="total", requests_per_minute=1)
        assert ask(caller, token, "four").status_code == 200
