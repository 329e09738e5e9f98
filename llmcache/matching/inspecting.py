"""What comes near a question and what is said against it, for people to look at.

Nothing is served, noted or sent to a judge.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmcache.backends.semantic.base import Neighbour
from llmcache.exceptions import LLMCacheError
from llmcache.matching import pairs
from llmcache.matching.matcher import Matcher
from llmcache.matching.question import Question
from llmcache.matching.search import Search


class NotInspectable(LLMCacheError):
    """The question could not be embedded or searched for; the text says why."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A stored prompt near the question.

    Attributes:
        objections: every guard's name with what it says against the match, "" for nothing.
        rejected: whether somebody has said that the two are not the same.
        near_enough: whether the similarity reaches the threshold, or the judge's band.
        to_judge: whether the judge would be asked.
    """

    digest: str
    prompt: str
    similarity: float
    objections: tuple[tuple[str, str], ...]
    rejected: bool
    near_enough: bool
    to_judge: bool


def neighbours(
    matcher: Matcher, question: Question, *, limit: int = 10, threshold: float | None = None
) -> list[Inspected]:
    """The stored prompts nearest to a question, the nearest first.

    Args:
        threshold: to be tried in place of the configured one.

    Raises:
        NotInspectable: the embedder or the store failed, or the text is too long.
    """
    search = Search(question, matcher)
    embedded = matcher.embed(search)
    if embedded is None:
        raise NotInspectable(search.reason)
    try:
        found = matcher.backend.nearest(question.partition, embedded.space, embedded.data, limit)
        near = list(matcher.readable(question.partition, found))
        by_pair = {matcher.pair_of(question, one.prompt): one for one in near}
        stored = matcher.backend.get_many(list(by_pair))
    except Exception as error:
        raise NotInspectable(f"The store failed: {type(error).__name__}: {error}") from error
    blocked = {p for p, data in stored.items() if pairs.is_block(p, data, signed=matcher.signed)}
    return [
        _inspected(matcher, question, one, pair in blocked, threshold)
        for pair, one in by_pair.items()
    ]


def _inspected(
    matcher: Matcher, question: Question, one: Neighbour, rejected: bool, threshold: float | None
) -> Inspected:
    rules = matcher.rules
    to_judge = threshold is None and rules.asks_judge(one.similarity)
    least = rules.least if threshold is None else threshold
    return Inspected(
        digest=one.digest,
        prompt=matcher.shown(one.prompt),
        similarity=one.similarity,
        objections=tuple(matcher.verdicts(question, one.prompt)),
        rejected=rejected,
        near_enough=one.similarity >= least,
        to_judge=to_judge,
    )
