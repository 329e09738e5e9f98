"""What a store must offer to be searched by meaning: vectors beside its entries.

The entries themselves are an exact store's, under their digests as everywhere. Beside each the
store keeps one vector, within a partition: two prompts can only match inside one partition. The
store knows nothing of models, prompts' meaning or thresholds: it gives the nearest, with their
similarity, and `llmcache.matching` decides.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Final

from llmcache.backends.base import BaseBackend, run_in_thread
from llmcache.conf import BackendSettings

MATCHING: Final[Mapping[str, Any]] = {
    "audit": 0.0,
    "embedder": "minilm",
    "guards": None,
    "history": "equal",
    "judge": None,
    "judge_band": None,
    "mode": "serve",
    "neighbours": 5,
    "similarity_threshold": None,
}
"""The OPTIONS that say what counts as a match; `llmcache.matching` reads them, the store does
not.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One prompt's place in the space of meanings.

    Attributes:
        digest: of the entry that answers the prompt.
        partition: a digest of all that must be equal for two prompts to share an answer.
        space: which embedder made the vector, its dimension included; vectors of different spaces
            are never compared.
        prompt: the text that was embedded; encrypted where the settings have a key for that.
        data: float32 in the machine's byte order, of length 1 in the Euclidean norm.
        expires: unix seconds; None for no end.
    """

    digest: str
    partition: str
    space: str
    prompt: str
    data: bytes
    expires: float | None

    def as_json(self) -> dict[str, Any]:
        """The vector as a task takes it."""
        return {**asdict(self), "data": b64encode(self.data).decode()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Vector:
        """What `as_json` gave."""
        return cls(**{**values, "data": b64decode(values["data"])})


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored prompt near the one that was asked: the closer, the nearer `similarity` is to 1."""

    digest: str
    prompt: str
    similarity: float


class SemanticBackend(BaseBackend):
    """An exact store that keeps vectors too. Whatever removes an entry removes its vector.

    A subclass names this class before its exact store: `class Mine(SemanticBackend, DiskBackend)`.

    OPTIONS:
        embedder (str or dict): what makes the vectors: "minilm", "fastembed", a dotted path, or
            {"BACKEND": any of these or "provider", "OPTIONS": {...}}.
        similarity_threshold (float): the least similarity, 0 to 1, from which on an answer may
            serve; the embedder's own if not given.
        guards (list or dict): which guards may veto, or their options by name; all but `entities`
            if not given.
        judge (str or dict): who decides where similarity is not sure, as `embedder` is given.
        judge_band (list): the two similarities between which the judge decides; from 0.05 below
            the threshold to 0.1 above it if not given. Its yes serves below the threshold too.
        mode (str): "serve", or "shadow" to note matches and call the model all the same.
        audit (float): share of matches, 0 to 1, for which the model is called all the same, to
            compare.
        history (str): "equal" if earlier turns must be equal, "similar" if they are compared.
        neighbours (int): how many of the nearest prompts are looked at, 1 to 100.

    Attributes:
        matching: those of its OPTIONS that say what counts as a match.
    """

    defaults: ClassVar[Mapping[str, Any]] = MATCHING

    def __init__(self, settings: BackendSettings) -> None:
        options = settings.options
        self.matching: dict[str, Any] = {
            name: value for name, value in options.items() if name in MATCHING
        }
        rest = {name: value for name, value in options.items() if name not in MATCHING}
        super().__init__(replace(settings, options=rest))

    def add(self, vectors: Iterable[Vector]) -> None:
        """Store vectors, replacing those of the same digests. Their entries are set already."""
        raise NotImplementedError

    def nearest(
        self, partition: str, space: str, data: bytes, limit: int = 5
    ) -> Sequence[Neighbour]:
        """The nearest live vectors of a partition and space, the nearest first.

        Args:
            data: as `Vector.data`.

        Returns:
            At most `limit`, with cosine similarities from 0 (none or less) to 1. An entry that is
            past its ttl or was removed is not among them, in any process, from the moment that it
            is so.
        """
        raise NotImplementedError

    def vector_count(self) -> int:
        """How many live vectors the store has, of all partitions and spaces."""
        raise NotImplementedError

    async def aadd(self, vectors: Iterable[Vector]) -> None:
        """As `add`."""
        await run_in_thread(self.add, list(vectors))

    async def anearest(
        self, partition: str, space: str, data: bytes, limit: int = 5
    ) -> Sequence[Neighbour]:
        """As `nearest`."""
        return await run_in_thread(self.nearest, partition, space, data, limit)
