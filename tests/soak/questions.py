"""What is asked, and the one right answer to each question: clients and provider share this."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

TENANTS = ("red", "green", "blue")
HOT = 200
"""Different prompts of each tenant that are asked again and again."""
_WEIGHTS = list(itertools.accumulate(1 / rank for rank in range(1, HOT + 1)))


@dataclass(frozen=True, slots=True)
class Question:
    """One request that a client is to make.

    Attributes:
        door: "ask", "page", "endpoint" or "embed".
        model: what the provider does: "chat" and "steady" answer, "flaky" answers at the second
            try, "refused" and "broken" never do.
        texts: one prompt; of "embed" one or more.
        cache: the cache controls that it brings.
        on_a_loop: whether the site's ASGI server is asked.
    """

    door: str
    model: str
    tenant: str
    texts: tuple[str, ...]
    cache: dict[str, Any] = field(default_factory=dict)
    stream: bool = False
    on_a_loop: bool = False


def answer_to(tenant: str, model: str, text: str) -> str:
    """The answer, which nobody else's question has."""
    return sha256("\0".join((tenant, model, text)).encode()).hexdigest()


def vector_of(tenant: str, text: str) -> list[float]:
    """A text's embedding; each number is exact in JSON."""
    return [byte / 256 for byte in sha256(f"{tenant}\0{text}".encode()).digest()[:8]]


def _hot(chance: random.Random) -> str:
    rank = chance.choices(range(HOT), cum_weights=_WEIGHTS)[0]
    return f"question {rank}"


def _unique(chance: random.Random, word: str) -> str:
    return f"{word} {chance.getrandbits(64):x}"


def any_question(chance: random.Random) -> Question:
    """One of the mixed load."""
    tenant = chance.choice(TENANTS)
    hot = (_hot(chance),)
    on_a_loop = chance.random() < 0.4
    kind = chance.choices(
        ("hot", "stream", "embed", "page", "endpoint", "endpoint stream", "unique", "controls")
        + ("stale", "failing", "flaky"),
        (30, 12, 10, 10, 8, 4, 7, 6, 8, 3, 2),
    )[0]
    match kind:
        case "stream":
            return Question("ask", "chat", tenant, hot, stream=True, on_a_loop=on_a_loop)
        case "embed":
            words = tuple({_hot(chance) for _ in range(chance.randint(1, 4))})
            return Question("embed", "vectors", tenant, words, on_a_loop=on_a_loop)
        case "page":
            return Question("page", "steady", tenant, hot)
        case "endpoint" | "endpoint stream":
            streamed = kind == "endpoint stream"
            return Question("endpoint", "chat", tenant, hot, stream=streamed, on_a_loop=on_a_loop)
        case "unique":
            return Question("ask", "chat", tenant, (_unique(chance, "once"),), on_a_loop=on_a_loop)
        case "controls":
            chosen = chance.choice(
                ({"no-cache": True}, {"no-store": True}, {"no-cache": True, "no-store": True})
            )
            return Question("ask", "chat", tenant, hot, chosen, on_a_loop=on_a_loop)
        case "stale":
            old = (f"news {chance.randrange(12)}",)
            short = {"ttl": 1.0, "stale-while-revalidate": 20.0}
            return Question("ask", "stale", tenant, old, short, on_a_loop=on_a_loop)
        case "failing":
            model = chance.choice(("refused", "broken"))
            return Question("ask", model, tenant, hot, on_a_loop=on_a_loop)
        case "flaky":
            once = (_unique(chance, "twice"),)
            return Question("ask", "flaky", tenant, once, on_a_loop=on_a_loop)
    return Question("ask", "chat", tenant, hot, on_a_loop=on_a_loop)
