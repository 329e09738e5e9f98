"""What a line of an export may hold: every kind of entry, and nothing that no site writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory, override_settings

import llmcache
from llmcache import backends
from llmcache.decorators import cached, cached_completion
from llmcache.models import Entry
from llmcache.recorder import recorder
from tests.commands.conftest import forget

pytestmark = pytest.mark.django_db


def change(file: str, **values: Any) -> None:
    """Change some values of a file's one entry."""
    head, line = Path(file).read_text().splitlines()
    made = {**json.loads(line), **values}
    Path(file).write_text("\n".join([head, json.dumps(made)]))


# --- kinds of entries ---


def test_entries_of_functions_generators_and_views_come_back(run: Any, file: str) -> None:
    made: list[str] = []

    @cached()
    def figures() -> dict[str, int]:
        made.append("figures")
        return {"a": 1}

    @cached()
    def picture() -> bytes:
        made.append("picture")
        return b"\x89\xff\n{}"

    @cached()
    def parts() -> Iterator[Any]:
        made.append("parts")
        yield from ("a\nb", b"\xff")

    @cached_completion(scope=None)
    def image(request: Any) -> HttpResponse:
        made.append("image")
        return HttpResponse(b"\x89\xff\n{}", content_type="image/png")

    @cached_completion(scope=None)
    def events(request: Any) -> StreamingHttpResponse:
        made.append("events")
        return StreamingHttpResponse([b'data: {"choices":[],"usage":{"a":1}}\n\n', b"\xff"])

    def asked() -> list[Any]:
        responses = [image(RequestFactory().get("/i")), events(RequestFactory().get("/e"))]
        bodies = [b"".join(response) for response in responses]
        return [figures(), picture(), list(parts()), *bodies]

    first = asked()
    recorder.flush()
    assert run("export", file).out == "Exported 5 entries.\n"
    forget()
    assert run("import", file).out == "Stored 5 entries.\n"
    assert asked() == first and len(made) == 5


def test_a_stream_whose_chunks_with_usage_are_told_wrongly_is_replayed_right(
    run: Any, ask: Any, file: str
) -> None:
    ask("one", stream=True)
    run("export", file)
    forget()
    header = json.loads(Path(file).read_text().splitlines()[1])["header"]
    assert header["usage_chunks"]
    change(file, header={**header, "usage_chunks": [99, "x"]})
    run("import", file)
    question = [{"role": "user", "content": "one"}]
    stream = llmcache.completion("m", messages=question, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert stream.cache.hit


# --- damaged lines ---

HEADER = {"kind": "completion", "model": "m", "usage": {}}


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ({"created": "nan"}, "ValueError: "),
        ({"created": "inf"}, "OverflowError: "),
        ({"created": -1e300}, "OverflowError: "),
        ({"expires": 1e13, "stale_until": 1e13}, "ValueError: year"),
        ({"stale_until": "nan"}, "ValueError: "),
        ({"header": {**HEADER, "seconds": "5"}}, "its seconds is no number"),
        ({"header": {**HEADER, "seconds": 1e300}}, "OverflowError: "),
        ({"header": {**HEADER, "usage": {"input": "7"}}}, "its input is no number"),
        ({"header": {**HEADER, "usage": {"money": 7}}}, "TypeError: "),
        ({"header": {"kind": "completion", "model": "m"}}, "KeyError: 'usage'"),
        ({"header": {**HEADER, "priced_as": 5}}, "its priced_as is no text"),
        ({"header": {**HEADER, "scope": 5}}, "its scope is no text"),
        ({"header": {**HEADER, "tags": "daily"}}, "its tags are no list of texts"),
        ({"header": {**HEADER, "tags": [5]}}, "its tags are no list of texts"),
        ({"header": {**HEADER, "kind": ["completion"]}}, "its call type is"),
        ({"payload": "[]"}, "its answer is no JSON object"),
        ({"stream": True, "payload": ""}, "JSONDecodeError: "),
    ],
)
def test_a_value_that_no_site_writes_damages_its_line_alone(
    run: Any, ask: Any, file: str, damage: dict[str, Any], why: str
) -> None:
    ask("one")
    run("export", file)
    ask("two")
    whole = str(Path(file).with_name("whole.jsonl"))
    run("export", whole)
    forget()
    change(file, **damage)
    with Path(file).open("a") as opened:
        opened.write("\n" + Path(whole).read_text().splitlines()[2])
    done = run("import", file)
    assert (done.code, done.out) == (1, "Stored 1 entry.\n")
    assert done.err.startswith(f"line 2: damaged: {why}")
    assert Entry.objects.get().preview == "two"
    assert [ask(text).cache.outcome for text in ("one", "two")] == ["miss", "hit"]


# --- stores ---


def test_a_store_that_fails_fails_its_lines_and_no_others(
    run: Any, ask: Any, file: str, failing: Any, tmp_path: Path
) -> None:
    far = {**settings.LLMCACHE["default"], "LOCATION": str(tmp_path / "far")}
    with override_settings(LLMCACHE={**settings.LLMCACHE, "far": far}):
        ask("one")
        run("export", file)
        head, line = Path(file).read_text().splitlines()
        other = line.replace('"alias":"default"', '"alias":"far"')
        Path(file).write_text(f"{head}\n{other}\n\n{line}")
        forget()
        failing(backends.stores["far"], "set_many", "unplugged")
        done = run("import", file)
        assert (done.code, done.out) == (1, "Stored 1 entry.\n")
        assert "line 2: failed: far: OSError: unplugged\n1 line could not be imported" in done.err
        assert Entry.objects.get().alias == "default"


def test_what_does_not_open_in_the_store_is_replaced(run: Any, ask: Any, file: str) -> None:
    digest = ask("one").cache.key
    run("export", file)
    backends.stores["default"].set(digest, b"damaged", 60)
    assert run("import", file).out == "Stored 1 entry.\n"
    assert ask("one").cache.outcome == "hit"


def test_more_entries_than_are_stored_at_a_time_all_arrive(run: Any, ask: Any, file: str) -> None:
    for number in range(5):
        ask(str(number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmcache.transfer._AT_A_TIME", 2)
        run("export", file)
        forget()
        assert run("import", file).out == "Stored 5 entries.\n"
    assert {ask(str(number)).cache.outcome for number in range(5)} == {"hit"}


def test_entries_of_a_store_that_the_settings_have_lost_are_told(
    run: Any, ask: Any, file: str
) -> None:
    ask("one")
    ask("two")
    Entry.objects.filter(preview="two").update(alias="gone")
    done = run("export", file)
    assert (done.code, done.out) == (1, "Exported 1 entry.\n")
    assert "gone: the settings have no store of this alias" in done.err


def test_of_a_prompt_that_was_not_kept_whole_the_preview_comes_if_it_may(
    run: Any, ask: Any, file: str
) -> None:
    config = {"LLMCACHE_CONFIG": {"STORE_PROMPTS": "preview"}}
    with override_settings(**config):
        ask("one")
        run("export", file)
    found = []
    for mode in ("preview", "none"):
        forget()
        with override_settings(LLMCACHE_CONFIG={"STORE_PROMPTS": mode}):
            run("import", file)
        found.append(Entry.objects.get().preview)
        assert "<prompt: " in Entry.objects.get().material
    assert found == ["one", ""]
