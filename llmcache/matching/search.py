"""One call's search by meaning, and the match that it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from llmcache.embedders.base import Embedded
from llmcache.envelope import Envelope
from llmcache.matching import pairs
from llmcache.matching.question import Question

if TYPE_CHECKING:
    from llmcache.matching.matcher import Matcher

MARK: Final = "asked"
"""The header of an entry that says which question it answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A stored answer to another question that means the same.

    Attributes:
        digest: of the entry.
        asked, stored: the two questions.
        pair: stands for the two; see `llmcache.matching.pairs`.
        similarity: cosine, 0 to 1.
        alone: whether both are single messages, and no conversations.
    """

    digest: str
    asked: str
    stored: str
    pair: str
    similarity: float
    alone: bool = True
    envelope: Envelope = field(repr=False)
    matcher: Matcher = field(repr=False)


@dataclass(slots=True)
class Search:
    """One call's search by meaning; what it has found out stays here for the store.

    Attributes:
        embedded: the question's vector, once it has one; `tried` tells that there was an attempt,
            so that nothing is embedded twice.
        cost: what embedding cost.
        reason: why nothing matched.
        unserved: a match that is only noted, as the settings have it.
    """

    question: Question
    matcher: Matcher
    embedded: Embedded | None = None
    tried: bool = False
    cost: float = 0.0
    reason: str = ""
    unserved: Match | None = None

    def note(self, header: dict[str, Any]) -> None:
        """Note in the header of a new answer which question it answers."""
        header[MARK] = pairs.mark_of(self.question.partition, self.question.prompt)
