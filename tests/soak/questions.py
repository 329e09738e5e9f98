"""What is asked, and the one right answer to each question: clients and provider share this."""

from __future__ import annotations

import itertools
import random
import re
import uuid
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

TENANTS = ("red", "green", "blue")
STALE = {"ttl": 1.0, "stale-while-revalidate": 20.0}
MOODY = {"ttl": 1.0, "stale-if-error": 20.0}
LONGEST_LIFE = 21.0
"""Seconds since an answer of the models "stale" and "moody" was made, past which nobody may get
it."""
FAILING = {"refused": 400, "broken": 500, "cut": 200, "moody": 500}
"""Models that fail on purpose, the last one now and then, and the status that comes of it."""
_HOT = 60  # different prompts of each tenant that are asked again and again
_WEIGHTS = list(itertools.accumulate(1 / rank for rank in range(1, _HOT + 1)))


@dataclass(frozen=True, slots=True)
class Question:
    """One request that a client is to make.

    Attributes:
        door: "ask", "page", "endpoint" or "embed".
        model: what the provider does: see `tests.soak.provider`.
        texts: one prompt; of "embed" one or more.
        cache: the cache controls that it brings.
        asynchronous: whether the site's ASGI server is asked.
        leaves: whether the client goes away after the stream's first event.
        name: travels as metadata to the provider, which is no part of the key.
    """

    door: str
    model: str
    tenant: str
    texts: tuple[str, ...]
    cache: dict[str, Any] = field(default_factory=dict)
    stream: bool = False
    asynchronous: bool = False
    leaves: bool = False
    name: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True)
class Said:
    """An answer's parts.

    Attributes:
        right: what must be the same whenever the question is asked.
        edition: how many answers to it there were before this one.
        made: unix seconds at which the provider made it.
    """

    right: str
    edition: int
    made: float


def right_answer(tenant: str, model: str, text: str) -> str:
    """What nobody else's question is answered with."""
    return sha256(f"{tenant}\0{model}\0{text}".encode()).hexdigest()


def answer(tenant: str, model: str, text: str, edition: int, made: float) -> str:
    """What the provider answers."""
    return f"{right_answer(tenant, model, text)} edition {edition} of {made:.3f}"


def read_answer(text: str) -> Said | None:
    """An answer's parts; None if it has not got them."""
    found = re.fullmatch(r"([0-9a-f]{64}) edition (\d+) of ([\d.]+)", text)
    return Said(found[1], int(found[2]), float(found[3])) if found else None


def vector(tenant: str, text: str) -> list[float]:
    """A text's embedding; each number is exact in JSON."""
    return [byte / 256 for byte in sha256(f"{tenant}\0{text}".encode()).digest()[:8]]


def again(question: Question) -> Question:
    """The same question under another name."""
    return replace(question, name=uuid.uuid4().hex)


def any_question(chance: random.Random) -> Question:
    """One of the mixed load."""
    tenant, asynchronous = chance.choice(TENANTS), chance.random() < 0.4
    kind = chance.choices(list(_MIX), list(_MIX.values()))[0]
    hot = (_hot(chance),)
    common: dict[str, Any] = {"tenant": tenant, "asynchronous": asynchronous}
    match kind:
        case "stream":
            return Question("ask", "chat", texts=hot, stream=True, **common)
        case "left stream":
            once = (_unique(chance),) if chance.random() < 0.5 else hot
            return Question("ask", "chat", texts=once, stream=True, leaves=True, **common)
        case "embed":
            words = tuple(sorted({_hot(chance) for _ in range(chance.randint(1, 4))}))
            return Question("embed", "vectors", texts=words, **common)
        case "page":
            return Question("page", "chat", texts=hot, **{**common, "asynchronous": False})
        case "endpoint" | "endpoint stream":
            streamed = kind == "endpoint stream"
            return Question("endpoint", "chat", texts=hot, stream=streamed, **common)
        case "unique":
            return Question("ask", "chat", texts=(_unique(chance),), **common)
        case "controls":
            cache = chance.choice(
                ({"no-cache": True}, {"no-store": True}, {"no-cache": True, "no-store": True})
            )
            return Question("ask", "chat", texts=hot, cache=cache, **common)
        case "stale":
            return Question("ask", "stale", texts=(_news(chance),), cache=STALE, **common)
        case "moody":
            return Question("ask", "moody", texts=(_news(chance),), cache=MOODY, **common)
        case "failing":
            model = chance.choice(("refused", "broken", "cut"))
            door = chance.choice(("ask", "endpoint"))
            return Question(door, model, texts=hot, stream=model == "cut", **common)
        case "flaky":
            return Question("ask", "flaky", texts=(_unique(chance),), **common)
    return Question("ask", "chat", texts=hot, **common)


_MIX = {
    "hot": 30,
    "stream": 12,
    "left stream": 4,
    "embed": 10,
    "page": 10,
    "endpoint": 10,
    "endpoint stream": 5,
    "unique": 6,
    "controls": 6,
    "stale": 8,
    "moody": 4,
    "failing": 3,
    "flaky": 2,
}
"""How often what is asked."""


def _hot(chance: random.Random) -> str:
    return f"question {chance.choices(range(_HOT), cum_weights=_WEIGHTS)[0]}"


def _news(chance: random.Random) -> str:
    return f"news {chance.randrange(6)}"


def _unique(chance: random.Random) -> str:
    return f"once {chance.getrandbits(64):x}"
