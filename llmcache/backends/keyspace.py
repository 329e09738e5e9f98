"""Which keys of a shared store are an alias's own, where the store can list its keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

_DIGEST: Final = re.compile(r"[0-9a-f]+")
_PROBES: Final = ("0" * 64, "f1" * 32)


class Keyspace(NamedTuple):
    """All keys of an alias are a digest between `head` and `tail`."""

    head: str
    tail: str = ""

    def digest(self, key: str) -> str | None:
        """The digest in a key, or None if the key is another alias's or program's.

        A prefix may begin with another alias's prefix; what follows is then no digest.
        """
        if not (key.startswith(self.head) and key.endswith(self.tail)):
            return None
        digest = key[len(self.head) : len(key) - len(self.tail)]
        return digest if _DIGEST.fullmatch(digest) else None


def around(make_key: Callable[[str], str]) -> Keyspace | None:
    """What a function that turns digests into keys puts around them; None if it hides the
    digest.
    """
    spaces = set()
    for probe in _PROBES:
        head, found, tail = make_key(probe).partition(probe)
        if not found:
            return None
        spaces.add(Keyspace(head, tail))
    return spaces.pop() if len(spaces) == 1 else None
