"""What some pages take for granted: objects that a site has, and that the page does not show."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

from llmcache.evaluation import rows
from llmcache.models import MatchedPair, VirtualKey
from tests.docs.stage import Stage

Names = dict[str, Any]


def _checked_stores(stage: Stage) -> Names:
    stage.configure(LLMCACHE={"default": {}, "disk": _disk(stage)})
    return {}


def _disk(stage: Stage) -> dict[str, str]:
    location = str(stage.directory / "answers")
    return {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": location}


def _keys(stage: Stage) -> Names:
    stage.patch.setenv("LLMCACHE_KEYS", secrets.token_urlsafe(32))
    return {}


def _decided_pairs(stage: Stage) -> Names:
    """A semantic store, pairs that staff have decided on, and a sample that takes no time."""
    store = "llmcache.backends.semantic.local.LocalSemanticBackend"
    stage.configure(LLMCACHE={"default": {**_disk(stage), "BACKEND": store}})
    sample = list(rows.sample())[:30]
    stage.patch.setattr(rows, "sample", lambda: sample)
    for number, texts in enumerate((("red apples", "apples, red"), ("red apples", "green pears"))):
        MatchedPair.objects.create(
            alias="default",
            pair=str(number),
            asked=texts[0],
            stored=texts[1],
            whole=True,
            similarity=0.9,
            how="audit",
            same=number == 0,
        )
    return {}


def _key(stage: Stage) -> Names:
    """A site that is asked over HTTP, and a virtual key, whose token the page makes up."""
    stage.configure(ALLOWED_HOSTS=["*"])
    key = VirtualKey(name="the page's")
    stage.places[r"llmc-\.\.\."] = key.renew()
    key.save()
    return {}


def _langchain(stage: Stage) -> Names:
    from langchain_core.globals import get_llm_cache, set_llm_cache
    from langchain_core.language_models import GenericFakeChatModel

    stage.at_end(set_llm_cache, get_llm_cache())
    return {"model": GenericFakeChatModel(messages=iter(["one", "two", "three"]))}


def _opentelemetry(stage: Stage) -> Names:
    from llmcache.contrib.opentelemetry import LLMCacheInstrumentor

    stage.at_end(LLMCacheInstrumentor().uninstrument)
    return {}


def _llama_index(stage: Stage) -> Names:
    from llama_index.core import Document, MockEmbedding
    from llama_index.core.node_parser import SentenceSplitter

    return {
        "transformations": [SentenceSplitter()],
        "documents": [Document(text="hello")],
        "embed_model": MockEmbedding(embed_dim=3, model_name="mock"),
    }


SCENES: Final[dict[str, Callable[[Stage], Names]]] = {
    "contrib_health_check": _checked_stores,
    "contrib_langchain": _langchain,
    "contrib_llama_index": _llama_index,
    "contrib_opentelemetry": _opentelemetry,
    "encryption": _keys,
    "endpoint": _key,
    "evaluating": _decided_pairs,
    "from_langchain": _langchain,
}
"""By page: what sets the stage, and gives the names that its code finds."""
