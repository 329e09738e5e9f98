"""The pages about the bridges: their code runs, and does what the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_core.language_models import GenericFakeChatModel
from llama_index.core import Document, MockEmbedding
from llama_index.core.node_parser import SentenceSplitter

from llmcache import events
from llmcache.contrib.opentelemetry import LLMCacheInstrumentor
from llmcache.models import Call
from llmcache.recorder import flush

pytestmark = pytest.mark.django_db(transaction=True)


def played(name: str, **names: Any) -> dict[str, Any]:
    """What the names of a page's code stand for, once it has run."""
    page = (Path(__file__).parents[2] / "docs" / f"contrib_{name}.md").read_text()
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, f"contrib_{name}.md", "exec"), names)
    return names


def outcomes() -> list[str]:
    flush()
    return list(Call.objects.order_by("pk").values_list("outcome", flat=True))


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = get_llm_cache()
    yield
    set_llm_cache(before)
    LLMCacheInstrumentor().uninstrument()


def test_the_page_about_langchain() -> None:
    model = GenericFakeChatModel(messages=iter(["one", "two"]))
    played("langchain", model=model)
    assert outcomes() == ["miss", "hit"]
    assert model.invoke("hello").content == "two"


def test_the_page_about_llama_index() -> None:
    model = MockEmbedding(embed_dim=3, model_name="mock")
    played(
        "llama_index",
        transformations=[SentenceSplitter()],
        documents=[Document(text="hello")],
        embed_model=model,
    )
    assert outcomes() == ["miss", "hit"]
    for _ in range(2):
        model.get_text_embedding("hello")
    assert outcomes() == ["miss", "hit", "miss", "hit"]


def test_the_page_about_opentelemetry() -> None:
    played("opentelemetry")
    assert LLMCacheInstrumentor().is_instrumented
    assert events.listening()
    page = (Path(__file__).parents[2] / "docs" / "contrib_opentelemetry.md").read_text()
    source = (Path(__file__).parents[2] / "llmcache/contrib/opentelemetry.py").read_text()
    told = set(re.findall(r'"(llmcache\.(?!contrib)[a-z_.]+)"', source))
    assert {name for name in told if f"`{name}`" not in page} == set()
