"""What the index keeps of prompts: nothing, a preview or all, and never what REDACT takes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache.exceptions import InvalidRequest
from llmcache.models import Entry
from llmcache.recorder import recorder
from tests.doors import AsyncDoor, SyncDoor

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "My number is 555-0199"
MESSAGES = [
    {"role": "system", "content": "You sell bread."},
    {"role": "user", "content": f"{SECRET}.\n\n   What   does it cost?"},
]


def without_numbers(text: str) -> str:
    """A redaction as a site would write one."""
    return text.replace("555-0199", "[number]")


def failing(text: str) -> str:
    raise ValueError("cannot redact")


def kept(config: dict[str, Any], door: SyncDoor | AsyncDoor | None = None, **call: Any) -> Entry:
    """The index's row of a completion asked under this configuration."""
    with override_settings(LLMCACHE_CONFIG=config):
        (door or SyncDoor()).completion("m", **{"messages": MESSAGES, "temperature": 0.5, **call})
        recorder.flush()
    return Entry.objects.get()


def everything(entry: Entry) -> str:
    """All text of a row."""
    return " ".join(str(value) for value in vars(entry).values())


def test_a_preview_is_the_last_thing_the_user_said_in_one_line(
    door: SyncDoor | AsyncDoor,
) -> None:
    entry = kept({}, door)
    assert entry.preview == f"{SECRET}. What does it cost?"
    assert SECRET not in entry.material


def test_a_preview_is_cut_at_200_characters() -> None:
    entry = kept({}, messages=[{"role": "user", "content": "x" * 300}])
    assert entry.preview == "x" * 199 + "…"


def test_none_keeps_no_word_of_the_prompt_but_every_other_parameter() -> None:
    entry = kept({"STORE_PROMPTS": "none"})
    assert entry.preview == ""
    for words in (SECRET, "bread", "cost"):
        assert words not in everything(entry)
    assert json.loads(entry.material)["params"]["temperature"] == 0.5


def test_full_keeps_the_conversation() -> None:
    entry = kept({"STORE_PROMPTS": "full"})
    assert json.loads(entry.material)["params"]["messages"] == MESSAGES


def test_a_hidden_prompt_still_shows_whether_two_prompts_differ() -> None:
    first = kept({})
    Entry.objects.all().delete()
    second = kept({}, messages=[{"role": "user", "content": "another"}])
    parts = [json.loads(entry.material)["params"]["messages"] for entry in (first, second)]
    assert parts[0] != parts[1] and all(part.startswith("<prompt: ") for part in parts)


@pytest.mark.parametrize("mode", ["preview", "full"])
@pytest.mark.parametrize("redact", [without_numbers, "tests.test_prompts.without_numbers"])
def test_redaction_reaches_everything_that_is_kept(
    mode: str, redact: str | Callable[[str], str]
) -> None:
    entry = kept({"STORE_PROMPTS": mode, "REDACT": redact})
    assert "[number]" in entry.preview
    assert "555-0199" not in everything(entry)


def test_a_redaction_that_fails_keeps_nothing_and_the_call_goes_on(
    counted: Callable[[str], int],
) -> None:
    entry = kept({"STORE_PROMPTS": "full", "REDACT": failing})
    assert entry.preview == "" and SECRET not in everything(entry)
    assert counted("redact_error") == 1


def test_redaction_does_not_touch_the_key_or_the_request(upstream: Any) -> None:
    kept({"REDACT": without_numbers})
    assert llmcache.completion("m", messages=MESSAGES, temperature=0.5).cache.outcome == "hit"


def test_images_are_kept_as_their_size_and_hash() -> None:
    picture = "data:image/png;base64," + "A" * 5000
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": picture}},
    ]
    entry = kept({"STORE_PROMPTS": "full"}, messages=[{"role": "user", "content": content}])
    assert entry.preview == "What is this?"
    assert "AAAA" not in entry.material and "<data: 5022 bytes" in entry.material


def test_a_conversation_changed_after_the_call_is_kept_as_it_was_asked() -> None:
    messages = [{"role": "user", "content": "first"}]
    llmcache.completion("m", messages=messages)
    messages[0]["content"] = "second"
    recorder.flush()
    assert Entry.objects.get().preview == "first"


def test_each_item_of_an_embedding_call_has_its_own_preview() -> None:
    llmcache.embedding("e", input=["bread", "butter"])
    recorder.flush()
    assert set(Entry.objects.values_list("preview", flat=True)) == {"bread", "butter"}


def test_a_key_of_the_callers_own_is_shown_as_the_preview() -> None:
    entry = kept({}, cache={"key": "bread-of-the-day"})
    assert entry.preview == "bread-of-the-day"


def test_a_text_that_no_database_takes_is_made_fit() -> None:
    entry = kept({}, messages=[{"role": "user", "content": "a\x00b"}])
    assert entry.preview == "a\ufffdb"


@pytest.mark.parametrize("control", ["namespace", "scope", "key", "caller", "tags"])
def test_a_label_that_cannot_be_written_is_refused_at_the_call(control: str) -> None:
    value = ["a\ud800b"] if control == "tags" else "a\ud800b"
    with pytest.raises(InvalidRequest, match="lone surrogates"):
        llmcache.completion("m", messages=MESSAGES, cache={control: value})
