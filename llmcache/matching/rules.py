"""The OPTIONS of a semantic store that say what counts as a match.

"OPTIONS": {
    "embedder": "minilm",              # or {"BACKEND": "provider", "OPTIONS": {"model": "..."}}
    "similarity_threshold": 0.8,
    "guards": {"entities": {}},
    "judge": {"BACKEND": "provider", "OPTIONS": {"model": "..."}},
    "judge_band": [0.7, 0.85],
    "mode": "serve",                   # or "shadow"
    "audit": 0.01,
    "history": "equal",  # or "similar"
    "neighbours": 5,
}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmcache import embedders, judges
from llmcache.backends.semantic import guards
from llmcache.backends.semantic.base import MATCHING, SemanticBackend
from llmcache.backends.semantic.guards import Guard
from llmcache.configuration import is_number, require
from llmcache.embedders.base import BaseEmbedder
from llmcache.judges.base import BaseJudge

MODES: Final = ("serve", "shadow")
HISTORIES: Final = ("equal", "similar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What counts as a match.

    Attributes:
        threshold: the least cosine similarity, 0 to 1, that may serve; the embedder's own unless
            `similarity_threshold` is given.
        guards: may veto what is similar enough.
        judge, judge_band: asked about similarities from the band's lower end up to below its upper
            end; a match in the band serves only if the judge agrees, even below the threshold.
        shadow: True when matches are only noted: the model is called all the same.
        audit: share of matches, 0 to 1, for which the model is called all the same, to compare.
        compares_histories: True when earlier turns are compared rather than equal.
        neighbours: how many of the nearest prompts are looked at.
    """

    embedder: BaseEmbedder
    threshold: float
    guards: tuple[Guard, ...]
    judge: BaseJudge | None
    judge_band: tuple[float, float] | None
    shadow: bool
    audit: float
    compares_histories: bool
    neighbours: int

    @property
    def least(self) -> float:
        """The least similarity that may serve, be it with the judge's consent."""
        return min(self.threshold, self.judge_band[0]) if self.judge_band else self.threshold

    def asks_judge(self, similarity: float) -> bool:
        """Whether a match of this similarity is the judge's to decide."""
        band = self.judge_band
        return band is not None and band[0] <= similarity < band[1]


def read(backend: SemanticBackend) -> Rules:
    """The rules that a semantic store's OPTIONS describe.

    Raises:
        ImproperlyConfigured: a value that cannot be used, or a package that is missing.
    """
    given: Mapping[str, Any] = {**MATCHING, **backend.matching}
    name = f"LLMCACHE[{backend.alias!r}]['OPTIONS']"
    embedder = embedders.build(f"{name}['embedder']", given["embedder"], backend)
    threshold = given["similarity_threshold"]
    if threshold is None:
        threshold = embedder.threshold
    require(
        is_number(threshold) and 0 <= threshold <= 1,
        f"{name}['similarity_threshold']",
        threshold,
        "a similarity from 0 (none) to 1 (the same)",
    )
    mode = given["mode"]
    require(mode in MODES, f"{name}['mode']", mode, f"one of {', '.join(MODES)}")
    audit = given["audit"]
    require(is_number(audit) and 0 <= audit <= 1, f"{name}['audit']", audit, "a share from 0 to 1")
    turns = given["history"]
    require(turns in HISTORIES, f"{name}['history']", turns, f"one of {', '.join(HISTORIES)}")
    neighbours = given["neighbours"]
    require(
        type(neighbours) is int and 1 <= neighbours <= 100,
        f"{name}['neighbours']",
        neighbours,
        "an integer from 1 to 100",
    )
    judge = given["judge"]
    return Rules(
        embedder=embedder,
        threshold=float(threshold),
        guards=guards.build(f"{name}['guards']", given["guards"]),
        judge=None if judge is None else judges.build(f"{name}['judge']", judge),
        judge_band=_band(name, given, float(threshold)),
        shadow=mode == "shadow",
        audit=float(audit),
        compares_histories=turns == "similar",
        neighbours=neighbours,
    )


def _band(name: str, given: Mapping[str, Any], threshold: float) -> tuple[float, float] | None:
    band = given["judge_band"]
    if given["judge"] is None:
        without = "left out where there is no 'judge'"
        require(band is None, f"{name}['judge_band']", band, without)
        return None
    if band is None:
        band = (max(0.0, threshold - 0.05), min(1.0, threshold + 0.1))
    require(
        isinstance(band, (list, tuple))
        and len(band) == 2
        and all(is_number(end) for end in band)
        and 0 <= band[0] < band[1] <= 1,
        f"{name}['judge_band']",
        band,
        "two similarities, the lower one first",
    )
    return float(band[0]), float(band[1])
