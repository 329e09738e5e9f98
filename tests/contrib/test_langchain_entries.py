"""What LangChain's cache puts into a store are entries like all others."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.prompts import PromptTemplate

import llmcache
from llmcache import events
from llmcache.backends.base import BaseBackend
from llmcache.contrib import entries
from llmcache.contrib.langchain import DjangoLLMCache
from llmcache.envelope import seal
from llmcache.exceptions import LLMCacheError, NotRepeatable, UnsupportedOperation
from llmcache.models import Call, Entry
from llmcache.recorder import flush
from llmcache.refreshing import refresh
from tests.contrib.langchain_models import Counted, Model, Run, outcomes

pytestmark = pytest.mark.django_db(transaction=True)


def test_hits_and_misses_are_in_the_log_and_the_entry_in_the_index(
    run: Run, cache: DjangoLLMCache
) -> None:
    model = Model(cache=cache)
    for _ in range(3):
        run(model, "invoke", "Why is the sky blue?")
    assert outcomes() == ["miss", "hit", "hit"]
    entry = Entry.objects.get()
    assert (entry.alias, entry.namespace, entry.kind) == ("bridge", "langchain", "function")
    assert (entry.model, entry.preview) == ("gpt-4o-mini", "Why is the sky blue?")
    assert (entry.input_tokens, entry.output_tokens, entry.hits) == (100, 20, 2)
    miss, hit = Call.objects.order_by("pk")[:2]
    assert miss.cost == pytest.approx((100 * 0.15 + 20 * 0.6) / 1e6)
    assert hit.saved_cost == miss.cost
    assert (hit.saved_input_tokens, hit.layer, hit.digest) == (100, "bridge", entry.digest)


def test_the_entry_s_page_reads_as_a_conversation(
    cache: DjangoLLMCache, settings: Any, admin_client: Client
) -> None:
    settings.LLMCACHE_CONFIG = {"STORE_PROMPTS": "full"}
    Model(cache=cache).invoke([SystemMessage("You bake."), HumanMessage("Is rye dark?")])
    flush()
    address = reverse("admin:llmcache_entry_change", args=[Entry.objects.get().pk])
    page = " ".join(re.sub(r"<[^>]+>", " ", admin_client.get(address).content.decode()).split())
    assert "system You bake. user Is rye dark?" in page
    assert "answer 1 to Is rye dark?" in page


def test_answers_are_stored_where_warnings_are_errors(run: Run, cache: DjangoLLMCache) -> None:
    model = Model(cache=cache)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=DeprecationWarning, module="llmcache")
        for _ in range(2):
            run(model, "invoke", "hello")
    assert outcomes() == ["miss", "hit"]


def test_an_entry_of_langchain_cannot_be_asked_again_by_us(cache: DjangoLLMCache) -> None:
    Model(cache=cache).invoke("hello")
    flush()
    with pytest.raises(NotRepeatable):
        refresh(Entry.objects.get())


def test_a_semantic_store_serves_the_identical_prompt_alone(
    run: Run, settings: Any, tmp_path: Any
) -> None:
    settings.LLMCACHE = {
        "bridge": {
            "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
            "LOCATION": str(tmp_path),
            "OPTIONS": {"embedder": {"BACKEND": "provider", "OPTIONS": {"model": "m"}}},
        }
    }
    model = Model(cache=DjangoLLMCache("bridge"))
    for prompt in ("How do I get a refund?", "How do I get a refund ?", "How do I get a refund?"):
        run(model, "invoke", prompt)
    assert model.asked == 2


def test_a_prompt_is_kept_as_the_settings_say(
    run: Run, cache: DjangoLLMCache, settings: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"STORE_PROMPTS": "none"}
    run(Model(cache=cache), "invoke", "a secret wish")
    flush()
    entry = Entry.objects.get()
    assert "secret wish" not in entry.material + entry.preview


def test_an_answer_that_never_came_is_no_miss(run: Run, cache: DjangoLLMCache) -> None:
    with pytest.raises(ConnectionError):
        run(Model(cache=cache, fails=True), "invoke", "hello")
    assert outcomes() == []
    run(Model(cache=cache), "invoke", "hello")
    assert outcomes() == ["miss"]


def test_callbacks_hear_of_hits_and_misses(run: Run, cache: DjangoLLMCache) -> None:
    heard = []

    class Listener:
        def finished(self, call: Any, info: Any, response: Callable[[], Any]) -> None:
            heard.append((info.outcome, "generations" in response()))

        def failed(self, *arguments: object) -> None: ...

    listener = Listener()
    events.observers.append(listener)
    try:
        model = Model(cache=cache)
        for _ in range(2):
            run(model, "invoke", "hello")
    finally:
        events.observers.remove(listener)
    assert heard == [("miss", True), ("hit", True)]


def test_bytes_that_we_have_not_signed_are_a_miss(
    run: Run, cache: DjangoLLMCache, store: BaseBackend, counted: Counted
) -> None:
    model = Model(cache=cache)
    run(model, "invoke", "hello")
    flush()
    digest = Entry.objects.get().digest
    body = json.dumps({"generations": []}).encode()
    for forged in (b"nonsense", body, seal(digest[::-1], body, created=0.0, sign=True)):
        store.set(digest, forged, 60)
        asked, unreadable = model.asked, counted("unreadable")
        run(model, "invoke", "hello")
        assert model.asked == asked + 1
        assert counted("unreadable") == unreadable + 1


@pytest.mark.parametrize(
    "dumped",
    [
        {"lc": 1, "type": "constructor", "id": ["langchain_core", "prompts", "PromptTemplate"]},
        {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "chat_models", "openai", "ChatOpenAI"],
            "kwargs": {"base_url": "http://evil.example"},
        },
        {"lc": 1, "type": "not_implemented", "id": ["os", "system"]},
        {"lc": 1, "type": "secret", "id": ["PATH"]},
        "text",
        None,
    ],
)
def test_only_generations_and_messages_are_ever_made_of_an_entry(
    run: Run, cache: DjangoLLMCache, store: BaseBackend, dumped: object, counted: Counted
) -> None:
    model = Model(cache=cache)
    run(model, "invoke", "hello")
    flush()
    digest = Entry.objects.get().digest
    body = json.dumps({"generations": [dumped] if dumped else []}).encode()
    store.set(digest, seal(digest, body, created=0.0), 60)  # signed by us: it opens
    assert run(model, "invoke", "hello").content == "answer 2 to hello"
    assert counted("unreadable") == 1


def test_nothing_else_is_made_inside_a_message_either(
    run: Run, cache: DjangoLLMCache, store: BaseBackend
) -> None:
    model = Model(cache=cache)
    run(model, "invoke", "hello")
    flush()
    digest = Entry.objects.get().digest
    generation = dumpd(ChatGeneration(message=AIMessage("forged")))
    prompt = dumpd(PromptTemplate.from_template("{a}"))
    generation["kwargs"]["message"]["kwargs"]["additional_kwargs"] = {"tool": prompt}
    body = json.dumps({"generations": [generation]}).encode()
    store.set(digest, seal(digest, body, created=0.0), 60)
    assert run(model, "invoke", "hello").content == "answer 2 to hello"


def test_two_misses_at_one_time_are_two(run: Run, cache: DjangoLLMCache) -> None:
    given = [Generation(text="x")]
    for _ in range(2):
        run(cache, "lookup", "prompt", "llm")
    for _ in range(3):
        run(cache, "update", "prompt", "llm", given)
    assert outcomes() == ["miss", "miss"]
    assert cache._entries._awaited == {}


def test_answers_that_never_come_are_forgotten_in_time(
    run: Run, cache: DjangoLLMCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_MOST_AWAITED", 2)
    for prompt in ("a", "b", "c"):
        run(cache, "lookup", prompt, "llm")
    assert len(cache._entries._awaited) == 2


def test_clear_removes_what_came_through_this_cache_alone(run: Run, cache: DjangoLLMCache) -> None:
    model, other = Model(cache=cache), Model(cache=DjangoLLMCache("bridge", namespace="other"))
    for asked in (model, other):
        run(asked, "invoke", "hello")
    llmcache.completion(model="m", messages=[{"role": "user", "content": "x"}], using="bridge")
    run(cache, "clear")
    for asked in (model, other):
        run(asked, "invoke", "hello")
    assert (model.asked, other.asked) == (2, 1)
    again = llmcache.completion(
        model="m", messages=[{"role": "user", "content": "x"}], using="bridge"
    )
    assert again.cache.outcome == "hit"


def test_clear_without_an_index_says_what_to_do(
    run: Run, cache: DjangoLLMCache, settings: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"RECORDER": "off"}
    with pytest.raises(UnsupportedOperation, match="RECORDER"):
        run(cache, "clear")


def test_clear_over_a_store_that_fails_says_what_stayed(
    run: Run, cache: DjangoLLMCache, store: BaseBackend, failing: Any
) -> None:
    run(Model(cache=cache), "invoke", "one")
    flush()
    failing(store, "delete_many", "read-only")
    with pytest.raises(LLMCacheError, match=r"1 entries stayed: .*read-only"):
        cache.clear()
    assert Entry.objects.count() == 1


def test_entries_can_be_evicted_by_tag(run: Run, store: BaseBackend) -> None:
    model = Model(cache=DjangoLLMCache("bridge", tags=["docs"]))
    run(model, "invoke", "hello")
    flush()
    llmcache.evict(tag="docs")
    run(model, "invoke", "hello")
    assert model.asked == 2


def test_a_ttl_ends(run: Run, store: BaseBackend) -> None:
    model = Model(cache=DjangoLLMCache("bridge", ttl=0))
    for _ in range(2):
        run(model, "invoke", "hello")
    assert model.asked == 2
    kept = Model(cache=DjangoLLMCache("bridge", ttl=60))
    run(kept, "invoke", "hello")
    flush()
    entry = Entry.objects.get()
    assert entry.expires is not None
    assert (entry.expires - entry.created).total_seconds() == pytest.approx(60)


TENANT: dict[str, str] = {}


def tenant() -> str | None:
    return TENANT.get("name")


def test_answers_are_of_the_scope_in_force(
    run: Run, cache: DjangoLLMCache, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LLMCACHE_CONFIG = {"SCOPE": f"{__name__}.tenant"}
    model = Model(cache=cache)
    for number, name in enumerate(("a", "b", "a"), 1):
        monkeypatch.setitem(TENANT, "name", name)
        run(model, "invoke", "hello")
        assert model.asked == min(number, 2)
    flush()
    assert set(Entry.objects.values_list("scope", flat=True)) == {"a", "b"}


def test_a_cache_that_is_off_stores_nothing(run: Run, settings: Any) -> None:
    settings.LLMCACHE_CONFIG = {"MODE": "off"}
    model = Model(cache=DjangoLLMCache())
    for _ in range(2):
        run(model, "invoke", "hello")
    assert model.asked == 2
    settings.LLMCACHE_CONFIG = {"MODE": "default_off"}  # whoever makes this cache has opted in
    for _ in range(2):
        run(model, "invoke", "hello")
    assert model.asked == 3


def test_a_store_that_is_away_is_a_miss_and_left_alone_after_some_tries(
    run: Run, own_redis: Any, settings: Any, counted: Counted
) -> None:
    settings.LLMCACHE = {
        "bridge": {"BACKEND": "llmcache.backends.redis.RedisBackend", "LOCATION": own_redis.url}
    }
    settings.LLMCACHE_CONFIG = {"BREAKER_THRESHOLD": 2, "BREAKER_COOLDOWN": 60.0}
    own_redis.process.kill()
    own_redis.process.wait()
    model = Model(cache=DjangoLLMCache("bridge"))
    for _ in range(4):
        run(model, "invoke", "hello")
    assert model.asked == 4
    assert (counted("read_error"), counted("write_error")) == (2, 1)  # then it is left alone
    assert outcomes() == ["error"] * 4


def test_where_caching_is_off_there_is_nothing_to_delete_or_to_list(
    cache: DjangoLLMCache, settings: Any
) -> None:
    made = entries.Entries("package", using="bridge", namespace="n")
    made.write("m", {"a": 1}, {"text": "x"}, "tag")
    assert list(made.tagged("m", "tag")) == [{"text": "x"}]
    settings.LLMCACHE_CONFIG = {"MODE": "off"}
    assert made.delete("m", {"a": 1}) is False
    assert list(made.tagged("m", "tag")) == []
    settings.LLMCACHE_CONFIG = {}
    assert made.delete("m", {"a": 1}) is True
    assert made.delete("m", {"a": 1}) is False


def test_an_entry_that_its_store_does_not_give_up_is_an_error(
    cache: DjangoLLMCache, store: BaseBackend, failing: Any
) -> None:
    made = entries.Entries("package", using="bridge", namespace="n")
    made.write("m", {"a": 1}, {"text": "x"})
    failing(store, "delete", "unplugged")
    with pytest.raises(LLMCacheError, match=r"The entry stayed.*unplugged"):
        made.delete("m", {"a": 1})
