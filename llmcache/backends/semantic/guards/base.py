"""What a guard is: a veto over one match, told from the two prompts alone."""

from __future__ import annotations

from typing import NamedTuple

from llmcache.backends.semantic.guards.reading import Reading


class Veto(NamedTuple):
    """Why a match must not be served: the guard's name, and what it saw."""

    guard: str
    reason: str


class Guard:
    """Looks at the prompt that is asked and at the one that is stored.

    A guard can only turn a hit into a miss. It is given its OPTIONS as keyword arguments, must not
    do I/O, and answers within microseconds.

    Attributes:
        name: how settings and figures call it.
    """

    name: str = ""

    def objection(self, asked: Reading, stored: Reading) -> str:
        """Why the stored answer does not serve the prompt that is asked; "" if nothing says so."""
        raise NotImplementedError
