"""Questions that come near each other, asked at a site that is searched by meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llmcache
from llmcache.matching import observing
from llmcache.models import MatchedPair
from llmcache.recorder import recorder
from tests.matching.conftest import WORDS

MODEL = "gpt-4o-mini"
STORED = "how do I return my order of shoes please"
SIMILAR = "hi how can I return my order of shoes please"
NUMBERS = ("return my order of 3 shoes please", "return my order of 7 shoes please")


def semantic(location: Path, **options: Any) -> dict[str, Any]:
    """A store that is searched by meaning, as LLMCACHE has it."""
    return {
        "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
        "LOCATION": str(location),
        "OPTIONS": {"embedder": WORDS, "guards": ["numbers", "negation"], **options},
    }


def ask(text: str, **arguments: Any) -> Any:
    """The answer to a question."""
    return llmcache.completion(MODEL, messages=[{"role": "user", "content": text}], **arguments)


def matched(**arguments: Any) -> MatchedPair:
    """A pair that has matched, and its entry."""
    ask(STORED, **arguments)
    assert ask(SIMILAR, **arguments).cache.hit
    recorder.flush()
    observing.flush()
    return MatchedPair.objects.get()


def decided(number: int, same: bool | None, how: str = "audit", **values: Any) -> MatchedPair:
    """A pair on which an audit, or somebody, has decided."""
    texts = {"asked": f"red apple pie {number}", "stored": f"red apple pie {number} recipe"}
    given = {"alias": "default", "digest": "ab", "similarity": 0.9, "whole": True, **texts}
    return MatchedPair.objects.create(
        pair=f"{how}{number}", same=same, how=how, **{**given, **values}
    )
