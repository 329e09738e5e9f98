"""Finds a stored answer to a question that means the same, and gives new answers their vectors.

A match passes a threshold, every guard, the blocked pairs and, where there is one, the judge.
Whatever fails on the way makes a miss. The sync and the async methods stand side by side, step by
step; what decides is in the steps that they share.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from time import time
from typing import Any, Final

from llmcache import encryption, events
from llmcache.backends.base import Item
from llmcache.backends.semantic import guards
from llmcache.backends.semantic.base import Neighbour, SemanticBackend, Vector
from llmcache.backends.semantic.guards import Guard, Veto
from llmcache.embedders.base import BaseEmbedder, Embedded
from llmcache.envelope import Envelope
from llmcache.judges.base import BaseJudge
from llmcache.matching import history, pairs, rules
from llmcache.matching.question import Question, read, transcript, turns_of
from llmcache.matching.search import MARK, Match, Search

Open = Callable[[str, bytes], Envelope | None]
"""Opens a stored answer, if it may be served to this call."""


class Matcher:
    """What matches in one semantic store.

    Args:
        signed: whether the store's entries are signed.

    Raises:
        ImproperlyConfigured: the store's OPTIONS cannot be used.
    """

    def __init__(self, backend: SemanticBackend, *, signed: bool) -> None:
        self.backend = backend
        self.signed = signed
        self.rules = rules.read(backend)

    @property
    def embedder(self) -> BaseEmbedder:
        return self.rules.embedder

    @property
    def threshold(self) -> float:
        return self.rules.threshold

    @property
    def guards(self) -> tuple[Guard, ...]:
        return self.rules.guards

    @property
    def judge(self) -> BaseJudge | None:
        return self.rules.judge

    @property
    def judge_band(self) -> tuple[float, float] | None:
        return self.rules.judge_band

    def question(self, material: Mapping[str, Any]) -> Question | None:
        """What a call asks, as this store compares it.

        Args:
            material: what the call's key is made of.
        """
        return read(material, with_turns=self.rules.compares_histories)

    # --- looking up ---

    def find(self, search: Search, opened: Open) -> Match | None:
        """The best match for a question, if one may be served.

        Raises:
            Exception: whatever the store raises; embedder and judge cost only a count.
        """
        embedded = self.embed(search)
        if embedded is None:
            return None
        question, backend = search.question, self.backend
        near = backend.nearest(
            question.partition, embedded.space, embedded.data, self.rules.neighbours
        )
        for pair, neighbour in self._candidates(search, near):
            stored = backend.get_many([neighbour.digest, pair])
            match = self._present(search, pair, neighbour, stored, opened)
            if match is not None and (
                not self.rules.asks_judge(match.similarity) or self._judged(search, match)
            ):
                return self._decided(search, match)
        return None

    async def afind(self, search: Search, opened: Open) -> Match | None:
        """As `find`."""
        embedded = await self.aembed(search)
        if embedded is None:
            return None
        question, backend = search.question, self.backend
        near = await backend.anearest(
            question.partition, embedded.space, embedded.data, self.rules.neighbours
        )
        for pair, neighbour in self._candidates(search, near):
            stored = await backend.aget_many([neighbour.digest, pair])
            match = self._present(search, pair, neighbour, stored, opened)
            if match is not None and (
                not self.rules.asks_judge(match.similarity) or await self._ajudged(search, match)
            ):
                return self._decided(search, match)
        return None

    def readable(self, partition: str, near: Iterable[Neighbour]) -> Iterator[Neighbour]:
        """Neighbours with their prompts as people wrote them, without those that no key opens."""
        for neighbour in near:
            try:
                prompt = encryption.unveil(_name(partition, neighbour.digest), neighbour.prompt)
            except encryption.NotDecrypted as error:
                events.warn_once("unreadable", "A stored prompt cannot be used: %s", error)
            else:
                yield replace(neighbour, prompt=prompt)

    def _candidates(
        self, search: Search, near: Iterable[Neighbour]
    ) -> Iterator[tuple[str, Neighbour]]:
        """Those neighbours that are near enough and that no guard refuses, with their pairs. The
        nearest is all that is looked at, if it serves.
        """
        question = search.question
        search.reason = "nothing similar is stored"
        for neighbour in self.readable(question.partition, near):
            if neighbour.similarity < self.rules.least:
                if search.reason == "nothing similar is stored":
                    search.reason = f"the nearest is similar by {neighbour.similarity:.3f} only"
                return
            refused = self.refused(question, neighbour.prompt)
            if refused is None:
                yield self.pair_of(question, neighbour.prompt), neighbour
            else:
                events.count("guard_veto")
                search.reason = f"guard {refused.guard}: {refused.reason}"

    def pair_of(self, question: Question, stored: str) -> str:
        """What stands for a question and a stored prompt."""
        return pairs.pair_of(question.partition, question.prompt, stored)

    def refused(self, question: Question, stored: str) -> Veto | None:
        """Why a stored prompt's answer must not serve a question; a guard that fails vetoes too.

        Args:
            stored: the prompt as the store keeps it (`Question.prompt`).
        """
        try:
            last, objection = self._compared(question, stored)
            if objection:
                return Veto(_HISTORY, objection)
            return guards.veto(self.rules.guards, question.text, last)
        except Exception as error:
            events.warn_once("guard_error", "A guard failed, which counts as a veto: %r", error)
            return Veto("error", f"{type(error).__name__}: {error}")

    def verdicts(self, question: Question, stored: str) -> list[tuple[str, str]]:
        """As `refused`, but what every guard says, "" for no objection, by its name."""
        try:
            last, objection = self._compared(question, stored)
        except Exception as error:
            return [(_HISTORY, f"{type(error).__name__}: {error}")]
        said = guards.verdicts(self.rules.guards, question.text, last)
        return [(_HISTORY, objection), *said] if self.rules.compares_histories else said

    def _compared(self, question: Question, stored: str) -> tuple[str, str]:
        """The last message of a stored prompt, and what its history has against it."""
        if not self.rules.compares_histories:
            return stored, ""
        turns = turns_of(stored)
        if turns is None:
            return "", "what is stored is no conversation"
        return turns[-1][1], history.objection(question.turns, turns)

    def shown(self, prompt: str) -> str:
        """A kept prompt as people, and judges, read it."""
        return transcript(prompt, with_turns=self.rules.compares_histories)

    def _present(
        self,
        search: Search,
        pair: str,
        neighbour: Neighbour,
        stored: Mapping[str, bytes],
        opened: Open,
    ) -> Match | None:
        """The match, if its answer is there, may be served, and nobody has rejected the pair."""
        blocked = stored.get(pair)
        if blocked is not None and pairs.is_block(pair, blocked, signed=self.signed):
            search.reason = "the pair was rejected"
            return None
        data = stored.get(neighbour.digest)
        envelope = None if data is None else opened(neighbour.digest, data)
        if envelope is None:
            search.reason = "the similar entry is gone or may not serve"
            return None
        if envelope.header.get(MARK) != pairs.mark_of(search.question.partition, neighbour.prompt):
            events.warn_once("foreign_vector", "A vector leads to another question's answer")
            search.reason = "the vector leads to another question's answer"
            return None
        return Match(
            digest=neighbour.digest,
            asked=self.shown(search.question.prompt),
            stored=self.shown(neighbour.prompt),
            pair=pair,
            similarity=neighbour.similarity,
            alone=not any(
                len(turns_of(prompt) or ()) > 1
                for prompt in (search.question.prompt, neighbour.prompt)
                if self.rules.compares_histories
            ),
            envelope=envelope,
            matcher=self,
        )

    def _decided(self, search: Search, match: Match) -> Match | None:
        rules = self.rules
        if rules.shadow or (rules.audit and random.random() < rules.audit):  # noqa: S311
            search.unserved = match
            search.reason = f"a match of {match.similarity:.3f}, not served: " + (
                "shadow mode" if rules.shadow else "audit"
            )
            return None
        return match

    def _judged(self, search: Search, match: Match) -> bool:
        assert self.judge is not None
        try:
            agreed = self.judge.same(match.asked, match.stored)
        except Exception as error:
            return _judge_failed(search, error)
        return _verdict(search, agreed)

    async def _ajudged(self, search: Search, match: Match) -> bool:
        assert self.judge is not None
        try:
            agreed = await self.judge.asame(match.asked, match.stored)
        except Exception as error:
            return _judge_failed(search, error)
        return _verdict(search, agreed)

    # --- vectors ---

    def embed(self, search: Search) -> Embedded | None:
        """The question's vector, made at most once for a search; None if it has none."""
        if search.tried:
            return search.embedded
        search.tried = True
        try:
            return _embedded(search, self.embedder.embed(search.question.subject))
        except Exception as error:
            _embedding_failed(search, error)
            return None

    async def aembed(self, search: Search) -> Embedded | None:
        """As `embed`."""
        if search.tried:
            return search.embedded
        search.tried = True
        try:
            return _embedded(search, await self.embedder.aembed(search.question.subject))
        except Exception as error:
            _embedding_failed(search, error)
            return None

    def vectors(self, search: Search, items: Sequence[Item]) -> list[Vector]:
        """The vectors that go with new entries."""
        return _vectors(search, items, self.embed(search))

    async def avectors(self, search: Search, items: Sequence[Item]) -> list[Vector]:
        """As `vectors`."""
        return _vectors(search, items, await self.aembed(search))


_HISTORY: Final = "history"
_LONGEST: Final = 100_000  # characters of a prompt that are kept beside its vector
_NO_VECTOR: Final = "the question could not be embedded"


def _embedded(search: Search, embedded: Embedded | None) -> Embedded | None:
    if embedded is None:
        search.reason = "the question is too long to embed"
        return None
    search.embedded = embedded
    search.cost = embedded.cost
    return embedded


def _embedding_failed(search: Search, error: Exception) -> None:
    events.count("embedding_error")
    events.logger.warning("%s: %s: %s", _NO_VECTOR, type(error).__name__, error)
    search.reason = _NO_VECTOR


def _judge_failed(search: Search, error: Exception) -> bool:
    events.count("judge_error")
    events.logger.warning("The judge failed: %s: %s", type(error).__name__, error)
    search.reason = "the judge failed"
    return False


def _verdict(search: Search, agreed: bool) -> bool:
    if not agreed:
        events.count("judge_veto")
        search.reason = "the judge did not agree"
    return agreed


def _name(partition: str, digest: str) -> str:
    return f"{partition} {digest}"


def _vectors(search: Search, items: Sequence[Item], embedded: Embedded | None) -> list[Vector]:
    prompt = search.question.prompt
    if embedded is None or len(prompt) > _LONGEST:
        return []
    now = time()
    return [
        Vector(
            digest=item.digest,
            partition=search.question.partition,
            space=embedded.space,
            prompt=encryption.veil(_name(search.question.partition, item.digest), prompt),
            data=embedded.data,
            expires=None if item.ttl is None else now + item.ttl,
        )
        for item in items
    ]
