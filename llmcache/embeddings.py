"""Embedding calls, item by item: which are stored, which to ask for, and one answer out of both.

Steps without I/O, as in `engine`. An item's entry holds its object of the provider's `data` list
but for `index`, so an item asked for alone and the same item within a list share one entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import orjson

from llmcache import answers, engine, keys
from llmcache.backends.base import Item
from llmcache.envelope import Envelope
from llmcache.exceptions import InvalidRequest, ServerFailed
from llmcache.outcome import HIT, MISS, STALE, CacheInfo
from llmcache.plans import Plan
from llmcache.usage import MOST, Usage


def split_input(value: Any) -> list[Any]:
    """The items of an embedding call's `input`: texts, or lists of token ids.

    Raises:
        InvalidRequest: the input is empty or neither of these.
    """
    if isinstance(value, str) and value:
        return [value]
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value):
        if isinstance(value[0], int):
            return [list(value)]
        return list(value)
    raise InvalidRequest(
        "input must be a text, a list of texts, or a list of (lists of) token ids, and not empty; "
        f"got {value!r:.80}."
    )


class Batch:
    """One embedding call under way.

    Attributes:
        items, digests: the input's items and their entries' digests, in order.
        found: entries that answer, by digest.
        missing: digests still to be asked for, each once, in order of first appearance.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.items = split_input(plan.call.params["input"])
        self.digests: list[str] = keys.item_digests(plan.material or {}, self.items)
        self.found: dict[str, Envelope] = {}
        self._stale: dict[str, Envelope] = {}
        self._from_store: set[str] = set()
        self._outcome = HIT
        self._outdated: set[str] = set()
        self._seconds = 0.0

    @property
    def missing(self) -> list[str]:
        return [digest for digest in dict.fromkeys(self.digests) if digest not in self.found]

    def judge(self, stored: Mapping[str, bytes], now: float) -> None:
        """Take what the store had for the missing digests, as far as it answers the call."""
        plan = self.plan
        for digest, data in stored.items():
            envelope = engine.unwrap(plan, digest, data)
            if envelope is None:
                continue
            plan.fallback = None
            outcome = engine.judge(plan, envelope, now)
            if outcome:
                self.found[digest] = envelope
                self._from_store.add(digest)
                if outcome == STALE:
                    self._outcome = STALE
                    self._outdated.add(digest)
            elif plan.fallback is not None:
                self._stale[digest] = envelope
        plan.fallback = None

    def params(self) -> dict[str, Any]:
        """The parameters of the one upstream call for all that is missing."""
        params = self.plan.call.params
        missing = self.missing
        if len(missing) == len(self.digests):
            return params
        items = self._items()
        return {**params, "input": [items[digest] for digest in missing]}

    def _items(self) -> dict[str, Any]:
        return dict(zip(self.digests, self.items, strict=True))

    def accept(self, body: bytes, now: float, seconds: float) -> list[Item]:
        """Take upstream's answer for the missing items.

        Returns:
            The entries to write.

        Raises:
            ServerFailed: the answer has not exactly one embedding for each item asked for.
        """
        plan, missing = self.plan, self.missing
        self._seconds = seconds
        try:
            parsed = orjson.loads(body)
            data = _in_order(parsed, len(missing))
        except ValueError as error:
            raise ServerFailed(str(error), provider=plan.route.upstream.name) from error
        items = self._items()
        tokens = apportion(_tokens(parsed), [len(items[digest]) for digest in missing])
        entries = []
        for digest, part, share in zip(missing, data, tokens, strict=True):
            part.pop("index", None)
            payload = orjson.dumps(part)
            header = {
                "kind": "embedding",
                "model": plan.call.model,
                "seconds": round(seconds, 6),
                "usage": Usage(input=share).as_dict(),
                "answered_by": parsed.get("model") or plan.route.model,
            }
            envelope = answers.unstored(payload, now)
            envelope.note(header)
            self.found[digest] = envelope
            if plan.write and _is_whole(part["embedding"]):
                material = keys.item_material(plan.material or {}, items[digest])
                item = answers.entry(plan, digest, payload, header, now, material=material)
                if item is not None:
                    entries.append(item)
        return entries

    def rescue(self) -> bool:
        """Answer what is missing from entries past their ttl; False if that isn't possible."""
        if not all(digest in self._stale for digest in self.missing):
            return False
        for digest in self.missing:
            self.found[digest] = self._stale[digest]
            self._from_store.add(digest)
        self._outcome = STALE
        return True

    def from_store(self) -> dict[str, Envelope]:
        """The stored entries that have served, by digest."""
        return {digest: self.found[digest] for digest in self._from_store}

    def stale_part(self) -> Batch | None:
        """The items that serve while they are renewed, as a call of their own for that; None if
        there are none, or nothing may be stored."""
        plan = self.plan
        if not self._outdated or not plan.write:
            return None
        items = self._items()
        stale = [
            items[digest] for digest in dict.fromkeys(self.digests) if digest in self._outdated
        ]
        renewal = copy(plan)
        renewal.call = plan.call.with_params({**plan.call.params, "input": stale})
        renewal.outcome, renewal.reason = MISS, ""
        renewal.stored, renewal.records = False, ()
        return Batch(renewal)

    def merge(self, outcome: str, now: float) -> tuple[bytes, CacheInfo]:
        """The answer to the whole call, and where it came from.

        Args:
            outcome: how the upstream part ended, if there was one.
        """
        found = [self.found[digest] for digest in self.digests]
        parts = [
            b'{"index":%d,%s' % (index, envelope.payload[1:])
            for index, envelope in enumerate(found)
        ]
        usage = sum((Usage(**envelope.header["usage"]) for envelope in found), Usage())
        rest = {
            "model": found[0].header.get("answered_by", self.plan.route.model),
            "usage": {"prompt_tokens": usage.input, "total_tokens": usage.input},
        }
        body = b'{"object":"list","data":[%s],%s' % (b",".join(parts), orjson.dumps(rest)[1:])
        stored = [
            envelope
            for digest, envelope in zip(self.digests, found, strict=True)
            if digest in self._from_store
        ]
        if len(stored) == len(found):
            outcome = self._outcome
        reason = self.plan.reason
        if stored and len(stored) < len(found):
            reason = f"{len(stored)} of {len(found)} items were cached"
        saved = sum((Usage(**envelope.header["usage"]) for envelope in stored), Usage())
        noted = answers.unstored(b"", now)
        noted.note(
            {
                "usage": usage.as_dict(),
                "saved": saved.as_dict(),
                "seconds": self._seconds
                or max(envelope.header.get("seconds", 0.0) for envelope in found),
            }
        )
        info = self.plan.info(outcome, reason, noted)
        info.items = (len(stored), len(found))
        info.key = self.digests[0] if len(self.digests) == 1 else None
        if stored:
            info.layer = self.plan.layer or info.alias
            info.age = max(0.0, now - min(envelope.created for envelope in stored))
            info.similarity = 1.0
        return body, info


def _in_order(parsed: Any, number: int) -> list[dict[str, Any]]:
    """The parts of a provider's answer, in the order of the items that were asked for.

    Raises:
        ValueError: they are not one embedding for each item, so none can be told to be an item's.
    """
    data = parsed.get("data") if isinstance(parsed, dict) else None
    if not isinstance(data, list) or len(data) != number:
        found = len(data) if isinstance(data, list) else 0
        raise ValueError(f"asked for {number} embeddings and got {found}")
    if not all(isinstance(part, dict) and "embedding" in part for part in data):
        raise ValueError("the answer has parts that are not embeddings")
    if not any("index" in part for part in data):
        return data
    by_index = {part["index"]: part for part in data if type(part.get("index")) is int}
    if by_index.keys() != set(range(number)):
        raise ValueError("the answer does not say which embedding belongs to which item")
    return [by_index[index] for index in range(number)]


def _tokens(parsed: Mapping[str, Any]) -> int:
    """The tokens that an answer reports; 0 where it reports no number."""
    usage = parsed.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and 0 < tokens <= MOST else 0


def _is_whole(embedding: Any) -> bool:
    """Whether a vector may be kept: numbers, or their base64."""
    if isinstance(embedding, list):
        return bool(embedding) and set(map(type, embedding)) <= {int, float}
    return isinstance(embedding, str) and bool(embedding)


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Share out a number in proportion to the weights, in whole parts that add up to it exactly."""
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    shares = []
    passed = given = 0
    for weight in weights:
        passed += weight
        share = total * passed // whole - given
        given += share
        shares.append(share)
    return shares
