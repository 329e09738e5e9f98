"""Asking again: an entry's call is made once more, and the new answer takes its place."""

from __future__ import annotations

import math
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

import llmcache
from llmcache import backends, jobs, maintenance, recorder, refreshing, task_queue, writer
from llmcache.exceptions import EntryGone, NotRepeatable, UpstreamError
from llmcache.models import Entry, RecordBatch
from llmcache.refreshing import refresh
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream

pytestmark = pytest.mark.django_db
FULL = {"STORE_PROMPTS": "full"}


@pytest.fixture(autouse=True)
def full_prompts(request: pytest.FixtureRequest) -> Any:
    with override_settings(LLMCACHE_CONFIG=FULL):
        yield


def ask(text: str = "hello", stream: bool = False, **cache: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    answer = llmcache.completion("m", messages=messages, stream=stream, cache=cache, temperature=0)
    if stream:
        list(answer)
    recorder.flush()
    return answer


def test_a_new_answer_takes_the_place_of_the_old_one(upstream: FakeUpstream) -> None:
    first = ask()
    answer = refresh(Entry.objects.get())
    recorder.flush()
    assert answer.id != first.id
    again = ask()
    assert (again.id, again.cache.outcome) == (answer.id, "hit")
    assert upstream.call_count == 2
    assert Entry.objects.count() == 1


def test_the_new_entry_keeps_tags_namespace_scope_and_lifetimes(upstream: FakeUpstream) -> None:
    ask(ttl=600, namespace="shop", scope="tenant", tags=["a", "b"], **{"stale-if-error": 60})
    before = Entry.objects.get()
    refresh(before)
    recorder.flush()
    after = Entry.objects.get()
    assert after.created > before.created
    assert (after.namespace, after.scope) == ("shop", "tenant")
    assert set(after.tags.values_list("name", flat=True)) == {"a", "b"}
    assert (after.expires - after.created).total_seconds() == pytest.approx(600)  # type: ignore[operator]
    assert (after.kept_until - after.expires).total_seconds() == pytest.approx(60)  # type: ignore[operator]
    header = maintenance.payload(after).header
    assert (header["namespace"], header["scope"], header["tags"]) == ("shop", "tenant", ["a", "b"])


def test_a_pinned_entry_stays_pinned_and_without_end(upstream: FakeUpstream) -> None:
    ask()
    maintenance.pin(Entry.objects.get())
    refresh(Entry.objects.get())
    recorder.flush()
    entry = Entry.objects.get()
    assert (entry.pinned, entry.expires, entry.kept_until) == (True, None, None)
    assert maintenance.payload(entry).expires == math.inf


def test_a_ttl_without_end_is_one(upstream: FakeUpstream) -> None:
    ask(ttl=math.inf)
    assert Entry.objects.get().expires is None
    assert ask().cache.outcome == "hit"


@pytest.mark.parametrize(
    "kind", ["stream", "embedding", "responses", "messages", "text_completion"]
)
def test_every_kind_of_call_can_be_made_again(upstream: FakeUpstream, kind: str) -> None:
    if kind == "stream":
        ask(stream=True)
    elif kind == "embedding":
        llmcache.embedding("m", input=["one"])
    elif kind == "responses":
        llmcache.responses("m", input="hello")
    elif kind == "messages":
        llmcache.messages("m", messages=[{"role": "user", "content": "hello"}], max_tokens=9)
    else:
        llmcache.text_completion("m", prompt="hello")
    recorder.flush()
    before = Entry.objects.get()
    refresh(before)
    recorder.flush()
    assert Entry.objects.get().created > before.created
    assert upstream.call_count == 2


def test_one_of_several_variants_is_renewed_as_itself(upstream: FakeUpstream) -> None:
    ask(bucket=5)
    before = Entry.objects.get()
    refresh(before)
    recorder.flush()
    assert Entry.objects.get().digest == before.digest


def test_the_settings_own_scope_does_not_get_into_the_way(upstream: FakeUpstream) -> None:
    ask()
    with override_settings(LLMCACHE_CONFIG={**FULL, "SCOPE": lambda: "somebody"}):
        refresh(Entry.objects.get())
        assert calls() == 1  # of these settings' provider


def calls() -> int:
    """How often the provider of the settings in force was called."""
    made: int = upstreams["default"].call_count  # type: ignore[attr-defined]
    return made


def why_not(entry: Entry) -> str:
    with pytest.raises(NotRepeatable) as raised:
        refresh(entry)
    return str(raised.value)


@pytest.mark.parametrize(
    "config",
    [{}, {"STORE_PROMPTS": "none"}, {**FULL, "REDACT": lambda text: text.replace("hello", "***")}],
    ids=["preview", "none", "redacted"],
)
def test_a_prompt_that_is_not_kept_whole_cannot_be_asked_again(
    upstream: FakeUpstream, config: dict[str, Any]
) -> None:
    with override_settings(LLMCACHE_CONFIG=config):
        ask()
        assert "STORE_PROMPTS" in why_not(Entry.objects.get())
        assert calls() == 1


def test_a_call_known_only_by_its_hashes_cannot_be_made_again(upstream: FakeUpstream) -> None:
    ask(key="mine")
    assert "key of its own" in why_not(Entry.objects.get())
    Entry.objects.all().delete()
    llmcache.transcription("m", file=b"sound")
    recorder.flush()
    assert "a file" in why_not(Entry.objects.get())
    Entry.objects.all().delete()
    llmcache.completion("m", messages=[], extra_headers={"x-style": "short"})
    recorder.flush()
    assert "headers" in why_not(Entry.objects.get())
    Entry.objects.update(material='{"kind":"view"}')
    assert "view or a function of this site" in why_not(Entry.objects.get())
    Entry.objects.update(material="")
    assert "nothing of this entry" in why_not(Entry.objects.get())


def test_a_call_to_another_address_or_another_version_is_not_the_same(
    upstream: FakeUpstream,
) -> None:
    llmcache.completion("m", messages=[], base_url="https://elsewhere.example/v1")
    recorder.flush()
    assert "base_url" in why_not(Entry.objects.get())
    Entry.objects.all().delete()
    ask()
    with override_settings(LLMCACHE={"default": {"VERSION": 2}}):
        assert "VERSION" in why_not(Entry.objects.get())


def test_a_store_that_the_settings_no_longer_name_is_told(upstream: FakeUpstream) -> None:
    ask()
    Entry.objects.update(alias="gone")
    with pytest.raises(EntryGone, match="'gone'"):
        refresh(Entry.objects.get())


def test_nothing_is_asked_again_while_the_cache_is_off(upstream: FakeUpstream) -> None:
    ask()
    with override_settings(LLMCACHE_CONFIG={**FULL, "MODE": "off"}):
        assert "'MODE'] is \"off\"" in why_not(Entry.objects.get())
        assert calls() == 0


def test_an_entry_of_a_store_that_the_program_made_is_asked_again_there(
    upstream: FakeUpstream,
) -> None:
    with llmcache.enable_cache(type="local"):
        first = ask()
        answer = refresh(Entry.objects.get())
        assert Entry.objects.get().alias == "local"
        assert ask().id == answer.id != first.id
    assert upstream.call_count == 2


def test_a_provider_that_fails_leaves_the_old_answer(upstream: FakeUpstream) -> None:
    first = ask()
    upstream.fail = 500
    with pytest.raises(UpstreamError):
        refresh(Entry.objects.get())
    assert ask().id == first.id


def test_an_answer_that_may_not_be_stored_says_so_and_leaves_the_old_one(
    upstream: FakeUpstream,
) -> None:
    first = ask()
    upstream.finish_reason = "length"
    assert refresh(Entry.objects.get()).cache.reason.startswith("not stored")
    assert ask().id == first.id


@pytest.mark.parametrize("queue", ["thread", "celery"])
def test_the_new_answer_is_stored_before_it_is_returned_whoever_else_writes(
    upstream: FakeUpstream, queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over: list[str] = []

    def put(*job: Any) -> bool:
        handed_over.append("thread")
        job[3]()  # whoever waits for the answer to be stored
        return True

    monkeypatch.setattr(writer._worker, "put", put)
    monkeypatch.setattr(task_queue, "send", lambda *_, **__: handed_over.append("celery") or True)
    store = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    with override_settings(LLMCACHE={"default": store}):
        ask()
        entry = Entry.objects.get()
        before = maintenance.payload(entry).created
        with override_settings(LLMCACHE_CONFIG={**FULL, "WRITER": queue}):
            ask("elsewhere")
            assert handed_over == [queue]
            refresh(entry)
            assert handed_over == [queue]
            assert maintenance.payload(entry).created > before


# --- renewed for those who were served a stale answer ---


def stale() -> tuple[str, dict[str, Any]]:
    """An entry past its ttl, and the request as the caller's process sends it."""
    digest = ask(ttl=0.01, tags=["a"], **{"stale-while-revalidate": 600}).cache.key
    sleep(0.02)
    request = {
        "kind": "completion",
        "model": "m",
        "arguments": {
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0.0,
            "cache": {"ttl": 600, "tags": ["a"]},
        },
    }
    return digest, request


def test_a_stale_entry_is_renewed_once_however_often_it_is_asked_for(
    upstream: FakeUpstream,
) -> None:
    digest, request = stale()
    assert jobs.refresh_entry("default", digest, request) is True
    assert jobs.refresh_entry("default", digest, request) is False
    assert upstream.call_count == 2
    assert ask().cache.outcome == "hit"


def test_a_stale_entry_that_does_not_open_any_more_is_renewed(upstream: FakeUpstream) -> None:
    digest, request = stale()
    backends.stores["default"].set(digest, b"damaged", 60)
    assert jobs.refresh_entry("default", digest, request) is True
    assert ask().cache.outcome == "hit"


@pytest.mark.django_db(transaction=True)
def test_without_the_table_of_claims_it_is_renewed_all_the_same(
    upstream: FakeUpstream, counted: Any
) -> None:
    digest, request = stale()
    with connection.schema_editor() as editor:
        editor.delete_model(RecordBatch)
    try:
        assert jobs.refresh_entry("default", digest, request) is True
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(RecordBatch)
    assert counted("claim_error") == 1 and upstream.call_count == 2


def test_a_stale_entry_that_another_worker_is_renewing_is_left_to_it(
    upstream: FakeUpstream,
) -> None:
    digest, request = stale()

    def meanwhile(_: object) -> str:
        assert jobs.refresh_entry("default", digest, request) is False
        return "the answer"

    upstream.responses = meanwhile
    assert jobs.refresh_entry("default", digest, request) is True
    assert upstream.call_count == 2


def test_a_worker_that_died_while_it_renewed_does_not_keep_others_from_it(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, request = stale()

    def die(plan: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(refreshing, "_answered", die)
        with pytest.raises(KeyboardInterrupt):
            jobs.refresh_entry("default", digest, request)
    assert jobs.refresh_entry("default", digest, request) is False
    RecordBatch.objects.update(created=timezone.now() - 2 * refreshing._CLAIM_HOLDS)
    assert jobs.refresh_entry("default", digest, request) is True


def test_after_a_failure_the_next_worker_tries_again(upstream: FakeUpstream) -> None:
    digest, request = stale()
    upstream.fail, upstream.fail_times = 500, 1
    with pytest.raises(UpstreamError):
        jobs.refresh_entry("default", digest, request)
    assert jobs.refresh_entry("default", digest, request) is True


def test_a_request_that_is_not_the_entrys_is_refused(upstream: FakeUpstream) -> None:
    digest, request = stale()
    request["arguments"]["messages"][0]["content"] = "something else"
    with pytest.raises(NotRepeatable):
        jobs.refresh_entry("default", digest, request)
    assert upstream.call_count == 1


def test_an_entry_that_the_index_lacks_cannot_be_refreshed_by_name() -> None:
    with pytest.raises(EntryGone):
        jobs.refresh_entry("default", "0" * 64)
