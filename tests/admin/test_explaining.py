"""Explaining a call: what would become of it, and why it is no hit."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
import pytest
from django.test import Client, override_settings
from django.utils import timezone

import llmcache
from llmcache import explaining
from llmcache.backends import stores
from llmcache.exceptions import InvalidRequest
from llmcache.models import Call, Entry
from llmcache.recorder import recorder
from llmcache.upstreams.fake import FakeUpstream
from tests.admin.conftest import MODEL, Ask, Person, address, words

pytestmark = pytest.mark.django_db


def hello(text: str = "hello", **more: Any) -> dict[str, Any]:
    """The arguments of a call."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def explained(client: Client, request: object, kind: str = "completion", alias: str = "default"):
    """The page's response."""
    text = request if isinstance(request, str) else orjson.dumps(request).decode()
    data = {"kind": kind, "alias": alias, "request": text}
    return client.post(address("explain"), data)


def test_a_hit_shows_its_answer_age_and_what_is_left(admin_client: Client, ask: Ask) -> None:
    entry = ask("hello")
    response = explained(admin_client, hello())
    text = words(response.content.decode())
    (one,) = response.context["found"]
    assert one["outcome"] == "hit" and one["digest"] == entry.digest and one["entry"] == entry
    assert one["left"] in ("60 min", "59 min") and "You said: hello" in one["answer"]
    assert f"Digest {entry.digest}" in text and '"provider": "fake|default"' in text


def test_a_miss_shows_how_it_differs_from_the_nearest_entries(
    admin_client: Client, ask: Ask
) -> None:
    near = ask("hello", temperature=0.2)
    ask("something else", temperature=0.9, top_p=0.5)
    response = explained(admin_client, hello(temperature=0.7))
    (one,) = response.context["found"]
    assert (one["outcome"], one["reason"]) == ("miss", "no entry")
    first = one["neighbours"][0]
    assert first["entry"] == near
    assert first["differences"] == [("params.temperature", "0.7", "0.2")]
    assert "params.temperature" in response.content.decode()


def test_nothing_is_asked_written_or_recorded(ask: Ask, upstream: FakeUpstream) -> None:
    entry = ask("hello", using="tiered")
    stores["memory"].clear()
    upstream.reset()
    (found,) = explaining.explain("completion", hello(), "tiered")
    explaining.explain("completion", hello("unknown"), "tiered")
    assert (found.outcome, found.layer, found.entry) == ("hit", "disk", entry)
    assert stores["memory"].get(entry.digest) is None  # no copy was left in the upper layer
    recorder.flush()
    assert upstream.call_count == 0 and Call.objects.count() == 1


def test_what_a_page_says_is_what_a_call_does(ask: Ask) -> None:
    ask("hello", cache={"ttl": 0.001, "stale-while-revalidate": 1000})
    for cache in ({}, {"s-maxage": 0}, {"no-cache": True}, {"stale-while-revalidate": 500}):
        arguments = hello(cache=cache)
        (found,) = explaining.explain("completion", arguments, "default")
        assert found.outcome == ("stale" if "stale-while-revalidate" in cache else "miss")
        assert found.reason or found.outcome == "stale"


def test_a_call_that_bypasses_the_cache_says_why(admin_client: Client) -> None:
    response = explained(admin_client, hello(caching=False))
    assert response.context["found"][0]["outcome"] == "bypass"
    assert "caching=False" in words(response.content.decode())


def test_the_items_of_an_embedding_are_explained_one_by_one_in_few_queries(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    llmcache.embedding(MODEL, input=["bread 1", "bread 2"])
    recorder.flush()
    items = [f"bread {number}" for number in range(1, 25)]
    with django_assert_max_num_queries(9):
        response = explained(admin_client, {"model": MODEL, "input": items}, "embedding")
    outcomes = [one["outcome"] for one in response.context["found"]]
    assert outcomes == ["hit"] * 2 + ["miss"] * 18


def test_a_transcription_is_explained_by_its_files_hash_and_opens_no_file(
    admin_client: Client,
) -> None:
    llmcache.transcription("whisper-1", file=b"sound")
    digest = sha256(b"sound").hexdigest()
    response = explained(admin_client, {"model": "whisper-1", "file": digest}, "transcription")
    assert response.context["found"][0]["outcome"] == "hit"
    refused = explained(admin_client, {"model": "w", "file": "/etc/passwd"}, "transcription")
    assert "Give the sha256 of the file" in words(refused.content.decode())
    assert refused.context["found"] == []


@pytest.mark.parametrize(
    ("request_text", "said"),
    [
        ("{", "This is not JSON"),
        ("[1]", "Write an object"),
        ("{}", "model must be the model's name"),
        ('{"model": "m"}', "needs the argument 'messages'"),
        ('{"model": "m", "messages": [], "cache": {"tll": 1}}', "tll"),
        ('{"model": "m", "messages": [], "cache": 3}', "cache"),
        ('{"model": "m", "messages": "\\ud800"}', ""),
        ("", "This field is required"),
    ],
)
def test_what_is_no_call_is_refused_in_words(
    request_text: str, said: str, admin_client: Client
) -> None:
    response = explained(admin_client, request_text)
    assert response.status_code == 200
    assert said in words(response.content.decode())


def test_a_store_that_fails_is_named(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    ask("hello", using="tiered")

    def broken(digest: str) -> bytes:
        raise OSError("input/output error")

    monkeypatch.setattr(stores["disk"], "get", broken)
    (found,) = explaining.explain("completion", hello("another"), "tiered")
    assert (found.outcome, found.reason) == ("error", "disk failed: OSError: input/output error")
    (found,) = explaining.explain("completion", hello(), "tiered")
    assert (found.outcome, found.layer) == ("hit", "memory")


def test_a_forged_entry_is_no_hit(ask: Ask) -> None:
    entry = ask("hello", using="disk")
    stores["disk"].set(entry.digest, stores["disk"].get(entry.digest)[:-1] + b"x", 60)
    (found,) = explaining.explain("completion", hello(), "disk")
    assert (found.outcome, found.reason) == ("miss", "the stored entry cannot be opened")


def test_prompts_of_other_entries_and_answers_need_the_right_to_read(
    person: Person, ask: Ask
) -> None:
    ask("a secret prompt", temperature=0.2)
    client = person("view_entry")
    text = words(explained(client, hello("what?", temperature=0.7)).content.decode())
    assert "secret" not in text
    assert "params.messages[0].content hidden: you may not read prompts" in text
    assert "params.temperature 0.7 0.2" in text
    hit = explained(client, hello("a secret prompt", temperature=0.2))
    assert hit.context["found"][0]["outcome"] == "hit"
    assert "You said" not in words(hit.content.decode())
    assert "permission" in words(hit.content.decode())


def test_long_prompts_are_shown_around_the_place_where_they_part(
    admin_client: Client, ask: Ask
) -> None:
    ask("word " * 1000 + "red")
    response = explained(admin_client, hello("word " * 1000 + "blue"))
    ((_path, mine, theirs),) = response.context["found"][0]["neighbours"][0]["differences"]
    assert mine.endswith('word blue"') and theirs.endswith('word red"') and len(mine) < 400


def test_entries_whose_prompts_are_not_kept_are_compared_by_their_hashes(ask: Ask) -> None:
    with override_settings(LLMCACHE_CONFIG={"STORE_PROMPTS": "none"}):
        ask("hello", temperature=0.2)
        (found,) = explaining.explain("completion", hello(temperature=0.7), "default")
        assert list(found.neighbours[0].differences) == ["params.temperature"]


def test_an_alias_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="alias of LLMCACHE"):
        explaining.explain("completion", hello(), "nowhere")
    with pytest.raises(InvalidRequest, match="call type"):
        explaining.explain("painting", hello(), "default")


def test_an_entry_that_the_store_has_lost_is_still_named(ask: Ask) -> None:
    entry = ask("hello")
    stores["default"].delete(entry.digest)
    (found,) = explaining.explain("completion", hello(), "default")
    assert (found.outcome, found.entry) == ("miss", entry)
    assert Entry.objects.get().created <= timezone.now()


def test_a_model_whose_name_no_database_takes_has_neighbours_too() -> None:
    odd = {**hello(), "model": "m\0" + "x" * 300}
    llmcache.completion(**odd, temperature=0.5)
    recorder.flush()
    (found,) = explaining.explain("completion", odd, "default")
    assert [list(near.differences) for near in found.neighbours] == [["params.temperature"]]


def test_texts_to_embed_and_keys_of_the_callers_own_need_the_right_to_read_too(
    person: Person, ask: Ask
) -> None:
    ask(cache={"key": "a secret name"})
    llmcache.embedding(MODEL, input=["a secret text"])
    recorder.flush()
    client = person("view_entry")
    for kind, request, path in (
        ("completion", {**hello(), "cache": {"key": "mine"}}, "key"),
        ("embedding", {"model": MODEL, "input": ["mine"]}, "params.input"),
    ):
        text = words(explained(client, request, kind).content.decode())
        assert f"{path} hidden: you may not read prompts" in text
        assert "secret" not in text
