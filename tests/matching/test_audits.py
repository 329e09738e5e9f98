"""Whether the stored answer and the new one say the same, of each kind of call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest

from llmcache.matching import observing
from llmcache.matching.answers import text_of
from llmcache.models import MatchedPair
from llmcache.upstreams.fake import FakeUpstream
from tests.matching.conftest import Site
from tests.matching.test_serving import SIMILAR, STORED, messages, provider
from tests.matching.words import WordEmbedder

pytestmark = pytest.mark.django_db(transaction=True)
ASKING = {
    "completion": lambda text: {"messages": messages(text)},
    "text_completion": lambda text: {"prompt": text},
    "messages": lambda text: {"messages": messages(text), "max_tokens": 9},
    "responses": lambda text: {"input": text},
}


def ask_both(door: Any, kind: str, **kwargs: Any) -> MatchedPair:
    """What an audit finds of two similar questions' answers."""
    for text in (STORED, SIMILAR):
        getattr(door, kind)(model="m", temperature=0, **ASKING[kind](text), **kwargs)
    observing.flush()
    return MatchedPair.objects.get()


@pytest.mark.parametrize("kind", ASKING)
def test_the_same_words_are_the_same_answer(door: Any, site: Site, kind: str) -> None:
    site(mode="shadow")
    provider().responses = lambda request: "Send them back within a month."
    assert ask_both(door, kind).same is True


@pytest.mark.parametrize("kind", ASKING)
def test_other_numbers_are_another_answer(door: Any, site: Site, kind: str) -> None:
    site(mode="shadow")
    replies = {STORED: "Send them back within 30 days.", SIMILAR: "Send them back within 14 days."}
    provider().responses = replies
    assert ask_both(door, kind).same is False


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


@pytest.mark.parametrize(
    "more", [{"tools": TOOLS, "tool_choice": "required"}, {}], ids=["a call of a tool", "too long"]
)
def test_what_no_machine_can_compare_is_left_to_staff(
    door: Any, site: Site, more: dict[str, Any]
) -> None:
    site(mode="shadow")
    long = " ".join(map(str, range(101)))  # words, which is more than the embedder reads
    provider().responses = {STORED: long, SIMILAR: f"{long} more"}
    row = ask_both(door, "completion", **more)
    assert (row.same, row.decided_by) == (None, "")


def test_an_embedder_that_fails_leaves_it_to_staff(
    door: Any, site: Site, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(mode="shadow")
    for text in (STORED, SIMILAR):
        door.completion(model="m", temperature=0, messages=messages(text))

    def fail(self: Any, text: str) -> None:
        raise ConnectionError("the embedder is down")

    monkeypatch.setattr(WordEmbedder, "embed", fail)
    observing.flush()
    assert MatchedPair.objects.get().same is None
    assert counted("audit_error") == 1


TEXT = {"type": "message", "content": [{"type": "output_text", "text": "I look."}]}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("completion", {"choices": [{"message": {"content": "I look.", "tool_calls": [{}]}}]}),
        ("completion", {"choices": [{"message": {"content": "I look.", "function_call": {}}}]}),
        ("messages", {"content": [{"type": "text", "text": "I look."}, {"type": "tool_use"}]}),
        ("responses", {"output": [TEXT, {"type": "function_call", "arguments": "{}"}]}),
        ("responses", {"output": [TEXT, {"type": "computer_call"}]}),
        ("completion", {"choices": []}),
        ("completion", []),
    ],
)
def test_an_answer_that_does_something_too_is_no_text(kind: str, answer: Any) -> None:
    assert text_of(kind, orjson.dumps(answer)) is None


def test_what_a_model_thinks_or_looks_up_is_no_part_of_what_it_says() -> None:
    output = [{"type": "reasoning", "summary": []}, {"type": "web_search_call"}, TEXT]
    assert text_of("responses", orjson.dumps({"output": output})) == "I look."


def test_a_stream_in_an_odd_format_is_read_to_its_end_and_not_compared(
    door: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(mode="shadow")
    door.completion(model="m", temperature=0, messages=messages(STORED))
    upstream: FakeUpstream = provider()

    def stream(request: Any) -> Iterator[bytes]:
        yield b"5"

    async def astream(request: Any) -> AsyncIterator[bytes]:
        yield b"5"

    monkeypatch.setattr(upstream, "stream", stream)
    monkeypatch.setattr(upstream, "astream", astream)
    read = door.completion(model="m", temperature=0, messages=messages(SIMILAR), stream=True)
    assert [chunk.raw for chunk in door.chunks(read)] == [b"5"]
    observing.flush()
    assert not MatchedPair.objects.exists()
