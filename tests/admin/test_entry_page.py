"""The page of one entry, and its buttons."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings
from django.utils import timezone

import llmcache
from llmcache import maintenance
from llmcache.admin import entry_history
from llmcache.backends import stores
from llmcache.models import Call, Entry
from llmcache.recorder import recorder
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream
from tests.admin.conftest import MODEL, Ask, Person, address, words


@pytest.fixture
def read(admin_client: Client) -> Callable[[Entry], str]:
    """The words of an entry's page."""
    return lambda entry: words(admin_client.get(address("entry_change", entry.pk)).content.decode())


def test_a_conversation_reads_as_one(read: Any, ask: Ask) -> None:
    image = "data:image/png;base64," + "iVBORw0KGgo" * 1000
    messages = [
        {"role": "system", "content": "You bake."},
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": image}},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        ]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "type": "function",
             "function": {"name": "lookup", "arguments": '{"bread": "rye"}'}}
        ]},
        {"role": "tool", "tool_call_id": "1", "content": "Rye is dark."},
        {"role": "user", "content": "So?"},
    ]  # fmt: skip
    text = read(ask(messages=messages))
    assert "system You bake. user What is this? [image, 8.3 kB]" in text
    assert "[image] https://example.org/a.png" in text
    assert 'assistant lookup({"bread": "rye"}) tool Rye is dark. user So? answer' in text
    assert "iVBORw0KGgoiVBORw0KGgo" not in text


@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_is_shown_whichever_way_it_came(stream: bool, read: Any, ask: Ask) -> None:
    entry = ask("Say it", stream=stream)
    again = llmcache.completion(MODEL, messages=[{"role": "user", "content": "Say it"}])
    assert again.cache.hit
    assert words(again.choices[0].message.content) in read(entry)


def test_answers_of_other_call_types_are_shown(admin_client: Client, read: Any) -> None:
    llmcache.embedding(MODEL, input="bread")
    llmcache.responses(MODEL, input="bread")
    llmcache.transcription("whisper-1", file=b"sound")
    llmcache.text_completion(MODEL, prompt="bread")
    llmcache.messages(MODEL, messages=[{"role": "user", "content": "bread"}], max_tokens=9)
    recorder.flush()
    shown = {entry.kind: read(entry) for entry in Entry.objects.all()}
    assert "answer You said: bread" in shown["messages"]
    assert "…] (" in shown["embedding"] and "user bread" in shown["embedding"]
    for kind in ("responses", "transcription", "text_completion"):
        answer = maintenance.payload(Entry.objects.get(kind=kind))
        body = orjson.loads(answer.payload)
        said = body.get("text") or str(body.get("choices") or body.get("output"))
        assert any(word in shown[kind].partition("answer")[2] for word in said.split()), kind


def test_the_facts_tags_hits_and_calls_are_there(read: Any, ask: Ask) -> None:
    entry = ask("one", cache={"tags": ["product:7"], "namespace": "help", "caller": "shop"})
    for _ in range(2):
        ask("one", cache={"namespace": "help", "caller": "search"})
    text = read(entry)
    for part in (entry.digest, "product:7", "Namespace help", "Hits 2", "search", "shop"):
        assert part in text
    assert "Hits by day" in text and '"temperature"' not in text and '"provider"' in text


def test_hits_of_earlier_days_are_drawn_on_their_days(admin_client: Client, ask: Ask) -> None:
    entry = ask()
    ask()
    Call.objects.filter(outcome="hit").update(created=timezone.now() - timedelta(days=3))
    chart = admin_client.get(address("entry_change", entry.pk)).context["chart"]
    (bar,) = chart.bars
    assert bar.title.endswith("hits 1")
    day = timezone.now() - timedelta(days=3)
    assert bar.title.startswith(f"{day:%B} {day.day}:")


@pytest.mark.parametrize(("asked", "said"), [(3, ""), (5, "Counted are its last 3 calls only.")])
def test_of_an_entry_that_is_asked_much_the_last_calls_are_counted(
    asked: int, said: str, admin_client: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_history, "MOST", 3)
    for _ in range(asked):
        entry = ask()
    response = admin_client.get(address("entry_change", entry.pk))
    (bar,) = response.context["chart"].bars
    assert bar.title.endswith(f"hits {min(asked - 1, 3)}")
    assert ("calls only" in words(response.content.decode())) == bool(said)
    assert said in words(response.content.decode())


def test_calls_under_another_alias_are_another_entrys(admin_client: Client, ask: Ask) -> None:
    entry = ask()
    ask()
    Call.objects.filter(outcome="hit").update(alias="elsewhere")
    response = admin_client.get(address("entry_change", entry.pk))
    assert response.context["chart"].is_empty
    assert [outcome for _, outcome, *_rest in response.context["last_calls"]] == ["miss"]


@pytest.mark.parametrize("kept", ["none", "preview"])
def test_a_prompt_that_is_not_kept_names_the_setting_that_would(
    kept: str, read: Any, ask: Ask
) -> None:
    with override_settings(LLMCACHE_CONFIG={"STORE_PROMPTS": kept}):
        fake: Any = upstreams["default"]
        fake.responses = lambda request: "Rye."
        text = read(ask("Which bread is dark?"))
    assert f'STORE_PROMPTS = "{kept}"' in text
    assert ("Which bread is dark?" in text) == (kept == "preview")
    assert "<prompt: " in text  # what stands for it in the key's material


def test_without_the_right_to_read_the_page_says_so(person: Person, ask: Ask) -> None:
    entry = ask("a secret prompt")
    answer = maintenance.payload(entry).payload
    said = orjson.loads(answer)["choices"][0]["message"]["content"]
    page = person("view_entry").get(address("entry_change", entry.pk)).content.decode()
    assert "Can read stored answers and prompts" in page
    assert "secret" not in page and said not in words(page)
    assert "<form" not in page.partition("<h1>")[2]
    reader = person("view_entry", "view_payload").get(address("entry_change", entry.pk))
    assert "a secret prompt" in reader.content.decode() and said in words(reader.content.decode())


def test_an_entry_that_its_store_has_lost_says_so_and_can_be_evicted(
    admin_client: Client, read: Any, ask: Ask
) -> None:
    entry = ask()
    stores["default"].delete(entry.digest)
    text = read(entry)
    assert "not in this process's part of the store 'default' any more" in text
    assert "Evict it, to take it out of the index too." in text and "Download" not in text
    page = admin_client.post(address("entry_evict", entry.pk), follow=True)
    assert "1 entry was evicted" in words(page.content.decode())
    assert not Entry.objects.exists()


def test_evicting_leaves_the_same_answer_in_other_stores(admin_client: Client, ask: Ask) -> None:
    entry, other = ask(), ask(using="disk")
    assert entry.digest == other.digest
    admin_client.post(address("entry_evict", entry.pk))
    assert list(Entry.objects.all()) == [other]
    assert maintenance.payload(other)


def test_pinning_and_unpinning_with_a_ttl(admin_client: Client, ask: Ask) -> None:
    entry = ask()
    admin_client.post(address("entry_pin", entry.pk))
    entry.refresh_from_db()
    assert entry.pinned and entry.expires is None
    admin_client.post(address("entry_ttl", entry.pk), {"hours": "1,5"})
    entry.refresh_from_db()
    assert not entry.pinned and entry.expires is not None
    left = entry.expires - timezone.now()
    assert timedelta(minutes=85) < left <= timedelta(minutes=90)
    said = LogEntry.objects.values_list("change_message", flat=True)
    assert set(said) == {"Pinned.", "Ends in 90 min."}


@pytest.mark.parametrize("hours", ["", "0", "-1", "nan", "inf", "soon", "1e9"])
def test_a_ttl_that_is_none_is_refused_in_words(hours: str, admin_client: Client, ask: Ask) -> None:
    entry = ask()
    page = admin_client.post(address("entry_ttl", entry.pk), {"hours": hours}, follow=True)
    assert "Give a number of hours above 0" in words(page.content.decode())
    before = entry.expires
    entry.refresh_from_db()
    assert entry.expires == before and not LogEntry.objects.exists()


def test_the_answer_comes_down_whole_as_a_text_file(admin_client: Client, ask: Ask) -> None:
    long = "a\u202eb" * 20_000
    entry = ask(long)
    stored = orjson.loads(maintenance.payload(entry).payload)
    said = stored["choices"][0]["message"]["content"]
    response = admin_client.post(address("entry_answer", entry.pk))
    assert response.content.decode() == said
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Disposition"].startswith("attachment;")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_asking_again_shows_the_new_answer_beside_the_old(
    admin_client: Client, ask: Ask, upstream: FakeUpstream
) -> None:
    entry = ask("Say something")
    old = orjson.loads(maintenance.payload(entry).payload)["choices"][0]["message"]["content"]
    upstream.reset()
    upstream.responses = lambda request: "Something else altogether"
    response = admin_client.post(address("entry_again", entry.pk))
    text = words(response.content.decode())
    assert upstream.call_count == 1
    assert old in text and "Something else altogether" in text
    assert text.index("Until now") < text.index(old) < text.index("Something else")
    assert LogEntry.objects.get().change_message == "Asked again."


def test_what_cannot_be_asked_again_says_why(admin_client: Client, ask: Ask) -> None:
    with override_settings(LLMCACHE_CONFIG={"STORE_PROMPTS": "preview"}):
        entry = ask()
        page = admin_client.post(address("entry_again", entry.pk), follow=True)
    assert "STORE_PROMPTS" in words(page.content.decode())
    assert not LogEntry.objects.exists()


def test_an_entry_that_is_no_more_leads_back(admin_client: Client, ask: Ask) -> None:
    entry = ask()
    admin_client.post(address("entry_evict", entry.pk))
    assert admin_client.get(address("entry_change", entry.pk)).status_code == 302
    assert admin_client.post(address("entry_pin", entry.pk)).status_code == 404


def test_an_entry_whose_store_fails_stays_and_nothing_is_logged(
    admin_client: Client, ask: Ask, failing: Any
) -> None:
    entry = ask(using="disk")
    failing(stores["disk"], "delete_many", "read-only")
    page = admin_client.post(address("entry_evict", entry.pk), follow=True)
    assert page.redirect_chain[-1][0] == address("entry_change", entry.pk)
    text = words(page.content.decode())
    assert "stayed, as it failed" in text and "read-only" in text
    assert Entry.objects.get() == entry and not LogEntry.objects.exists()


def test_what_its_store_has_lost_can_be_asked_again_but_not_come_down(
    admin_client: Client, ask: Ask, upstream: FakeUpstream
) -> None:
    entry = ask("Say something")
    stores["default"].delete(entry.digest)
    page = admin_client.post(address("entry_answer", entry.pk), follow=True)
    assert "not in this process's part of the store" in words(page.content.decode())
    upstream.reset()
    text = words(admin_client.post(address("entry_again", entry.pk)).content.decode())
    assert upstream.call_count == 1 and "You said: Say something" in text


def test_who_may_not_read_answers_is_not_shown_the_new_one_either(
    person: Person, ask: Ask, upstream: FakeUpstream
) -> None:
    entry = ask("Say something")
    upstream.responses = lambda request: "a new secret"
    staff = person("view_entry", "change_entry")
    page = staff.post(address("entry_again", entry.pk), follow=True)
    assert "a new secret" not in page.content.decode()
    assert "The provider was asked again." in words(page.content.decode())
