"""Real questions and their vectors, made beforehand: searches are measured, not the model."""

from __future__ import annotations

from statistics import median
from time import perf_counter

from llmcache import backends, embedders
from llmcache.embedders.base import BaseEmbedder, Embedded
from llmcache.evaluation import rows

made: dict[str, Embedded] = {}


class Given(BaseEmbedder):
    """Gives the vectors that were made."""

    threshold = 0.7

    def embed(self, text: str) -> Embedded | None:
        return made[text]

    async def aembed(self, text: str) -> Embedded | None:
        return made[text]


def real_pairs(*, same: bool = False) -> list[tuple[str, str]]:
    """Pairs of questions, of the evaluation set that is shipped.

    Args:
        same: only those that ask for the same.
    """
    pairs = []
    for row in rows.sample():
        if same and not row.same:
            continue
        one, other = (asked["params"]["messages"][-1]["content"] for asked in row.materials())
        pairs.append((one, other))
    return pairs


def make(pairs: list[tuple[str, str]]) -> float:
    """Embed the questions by MiniLM; the median of one in seconds."""
    model = embedders.build("EMBEDDER", "minilm", backends.stores["default"])
    taken = []
    for text in dict.fromkeys(text for pair in pairs for text in pair):
        started = perf_counter()
        found = model.embed(text)
        taken.append(perf_counter() - started)
        assert found is not None
        made[text] = found
    return median(taken)
