"""Tokens, counted the same way for every provider format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

MOST: Final = 2**53
"""Of tokens: a greater number is none that anybody has counted, and may not fit into JSON."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call consumed.

    Attributes:
        input: tokens of the prompt, those included that the provider had in its own prompt cache.
        output: tokens of the answer.
        cached: the part of `input` that the provider billed as cached.
    """

    input: int = 0
    output: int = 0
    cached: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input, self.output + other.output, self.cached + other.cached
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.input - other.input, self.output - other.output, self.cached - other.cached
        )

    def as_dict(self) -> dict[str, Any]:
        """The counts by name, as an entry's header keeps them."""
        return {"input": self.input, "output": self.output, "cached": self.cached}


def reported(given: int, made: int, cached: int) -> Usage:
    """What an answer says that it took.

    Raises:
        ValueError: a number beyond MOST.
    """
    if not (-MOST <= given <= MOST and -MOST <= made <= MOST and -MOST <= cached <= MOST):
        raise ValueError("a number of tokens that nobody can have counted")
    return Usage(given, made, cached)
