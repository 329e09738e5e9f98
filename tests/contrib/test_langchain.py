"""LangChain's own models over our cache for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import BaseModel

from llmcache.contrib.langchain import DjangoLLMCache, model_of
from llmcache.exceptions import InvalidRequest
from llmcache.models import Call, Entry
from tests.contrib.langchain_models import Model, Run, outcomes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_global_cache() -> Iterator[None]:
    before = get_llm_cache()
    yield
    set_llm_cache(before)


def test_a_model_is_asked_once(run: Run, cache: DjangoLLMCache) -> None:
    set_llm_cache(cache)
    model = Model()
    first, again = run(model, "invoke", "hello"), run(model, "invoke", "hello")
    assert first.content == again.content == "answer 1 to hello"
    assert model.asked == 1
    assert again.usage_metadata["input_tokens"] == 100
    assert run(model, "invoke", "goodbye").content == "answer 2 to goodbye"


def test_a_model_s_own_cache_needs_no_global_one(run: Run, cache: DjangoLLMCache) -> None:
    model = GenericFakeChatModel(messages=iter(["one", "two"]), cache=cache)
    assert [run(model, "invoke", "hello").content for _ in range(2)] == ["one", "one"]


def test_sync_and_async_share_entries(cache: DjangoLLMCache) -> None:
    model = Model(cache=cache)
    first = model.invoke("hello")
    assert asyncio.run(model.ainvoke("hello")).content == first.content
    assert model.asked == 1


def test_a_model_of_plain_texts_is_asked_once(run: Run, cache: DjangoLLMCache) -> None:
    set_llm_cache(cache)
    model = FakeListLLM(responses=["one", "two"])
    assert [run(model, "invoke", "hello") for _ in range(2)] == ["one", "one"]


def test_a_batch_asks_only_what_is_not_stored(run: Run, cache: DjangoLLMCache) -> None:
    model = Model(cache=cache)
    run(model, "invoke", "a")
    answers = run(model, "batch", ["a", "b", "c"], config={"max_concurrency": 1})
    assert model.asked == 3
    assert answers[0].content == "answer 1 to a"
    assert run(model, "batch", ["c", "a", "b"])[1].content == "answer 1 to a"
    assert model.asked == 3


def test_streams_neither_read_nor_fill_the_cache_as_langchain_has_it(
    cache: DjangoLLMCache,
) -> None:
    model = GenericFakeChatModel(messages=iter(["one", "two", "three"]), cache=cache)
    assert "".join(str(chunk.content) for chunk in model.stream("hello")) == "one"
    assert model.invoke("hello").content == "two"
    assert "".join(str(chunk.content) for chunk in model.stream("hello")) == "three"
    assert model.invoke("hello").content == "two"


def test_other_settings_of_the_model_and_other_histories_are_other_answers(
    run: Run, cache: DjangoLLMCache
) -> None:
    run(Model(cache=cache), "invoke", "hello")
    warm = Model(cache=cache, temperature=1.0)
    run(warm, "invoke", "hello")
    talked = Model(cache=cache)
    run(talked, "invoke", [AIMessage("hi"), HumanMessage("hello")])
    bound = Model(cache=cache)
    run(bound, "invoke", "hello", stop=["x"])
    assert (warm.asked, talked.asked, bound.asked) == (1, 1, 1)


def test_tool_calls_come_back_as_they_were(run: Run, cache: DjangoLLMCache) -> None:
    call = {"name": "search", "args": {"lc": 1, "q": "x"}, "id": "call_1", "type": "tool_call"}
    message = AIMessage(content=[{"type": "text", "text": "hm"}], tool_calls=[call])
    given = [ChatGeneration(message=message, generation_info={"finish_reason": "tool_calls"})]
    run(cache, "update", "prompt", "llm", given)
    found = run(cache, "lookup", "prompt", "llm")
    assert found == given
    assert isinstance(found, list) and type(found[0]) is ChatGeneration


def test_a_parsed_answer_is_stored_as_langchain_does_it(run: Run, cache: DjangoLLMCache) -> None:
    class Person(BaseModel):
        name: str

    model = Model(cache=cache, extra={"parsed": Person(name="Ada")})
    run(model, "invoke", "hello")
    assert run(model, "invoke", "hello").additional_kwargs == {"parsed": {"name": "Ada"}}
    assert model.asked == 1


def test_what_cannot_be_read_back_is_not_stored(run: Run, cache: DjangoLLMCache) -> None:
    class Person(BaseModel):
        name: str

    model = Model(cache=cache, extra={"who": Person(name="Ada")})
    for _ in range(2):
        run(model, "invoke", "hello")
    assert model.asked == 2
    assert outcomes() == ["miss", "miss"]
    assert "cannot be read back" in Call.objects.last().reason  # type: ignore[union-attr]
    assert not Entry.objects.exists()


def test_a_number_that_json_lacks_is_not_stored(run: Run, cache: DjangoLLMCache) -> None:
    model = Model(cache=cache, extra={"score": float("nan")})
    for _ in range(2):
        run(model, "invoke", "hello")
    assert model.asked == 2


def test_an_alias_that_does_not_exist_is_an_error_at_once() -> None:
    with pytest.raises(InvalidRequest, match="default"):
        DjangoLLMCache("nowhere")


def test_a_value_that_is_no_list_of_generations_does_not_break_the_model(
    run: Run, cache: DjangoLLMCache
) -> None:
    odd = AIMessage("x")
    odd.usage_metadata = "many"  # type: ignore[assignment]
    for given in ([object()], [], [ChatGeneration(message=odd)]):
        run(cache, "update", "prompt", "llm", given)
        assert run(cache, "lookup", "prompt", "llm") is None
    run(cache, "update", "prompt \ud800", "llm", [Generation(text="x")])
    assert run(cache, "lookup", "prompt \ud800", "llm") is None


@pytest.mark.parametrize(
    ("llm_string", "model"),
    [
        ('{"id": ["x", "ChatOpenAI"], "kwargs": {"model_name": "gpt-4o"}}---[]', "gpt-4o"),
        ('{"id": ["x", "ChatAnthropic"], "kwargs": {"model": "claude"}}---[]', "claude"),
        ('{"id": ["x", "Odd"], "kwargs": {}}---[]', "Odd"),
        ("[('_type', 'openai'), ('model_name', 'gpt-4o'), ('stop', None)]", "gpt-4o"),
        ("[('_type', 'fake-list'), ('stop', None)]", "fake-list"),
        ("{nonsense", "langchain"),
        ("[]", "langchain"),
    ],
)
def test_the_model_is_read_from_its_description(llm_string: str, model: str) -> None:
    assert model_of(llm_string) == model


@pytest.mark.parametrize("prompt", ['[{"lc": broken', '[{"lc": 1}]', '[{"lc": 1, "kwargs": 5}]'])
def test_a_text_that_begins_as_messages_do_is_a_text(
    run: Run, cache: DjangoLLMCache, prompt: str
) -> None:
    run(cache, "update", prompt, "m", [Generation(text="answer")])
    assert run(cache, "lookup", prompt, "m") == [Generation(text="answer")]
    assert run(cache, "lookup", f"{prompt} ", "m") is None
