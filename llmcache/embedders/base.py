"""What an embedder must offer: a text to a vector, sync and async."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.checks import CheckMessage

from llmcache.backends.base import BaseBackend, run_in_thread


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text's place in the space of meanings.

    Attributes:
        data: float32 in the machine's byte order, of length 1 in the Euclidean norm.
        space: which model made the vector, and its dimension; vectors of different spaces are never
            compared.
        cost: what it cost, in the price table's currency; 0.0 where it came from a cache or costs
            nothing, and where its price is not known.
    """

    data: bytes
    space: str
    cost: float = 0.0


class BaseEmbedder:
    """Turns texts into vectors. It may raise anything: a lookup that cannot embed is a miss, which
    is counted and logged. One instance serves all threads.

    Attributes:
        options: the embedder's own OPTIONS; a subclass names those it knows and refuses others.
        store: the semantic store that it embeds for; vectors may be kept among its entries.
        threshold: from which similarity on two texts of this model are likely to ask the same;
            what `similarity_threshold` is unless the settings say so.
    """

    threshold: float = 0.9

    def __init__(self, setting: str, options: Mapping[str, Any], store: BaseBackend) -> None:
        """
        Args:
            setting: where the options stand in the settings, for errors.

        Raises:
            ImproperlyConfigured: a package is missing, or an option is wrong.
        """
        self.setting = setting
        self.options = options
        self.store = store

    def embed(self, text: str) -> Embedded | None:
        """The vector of a text.

        Returns:
            None when the model cannot read all of the text: what it would leave out might be what
            matters, so such a text matches nothing.
        """
        raise NotImplementedError

    async def aembed(self, text: str) -> Embedded | None:
        """As `embed`."""
        return await run_in_thread(self.embed, text)

    def check(self) -> list[CheckMessage]:
        """System check messages; must not touch the network nor load a model."""
        return []

    def close(self) -> None:
        """Give back connections and memory; the embedder may be used again afterwards."""
