"""The one boundary where callers' text is made fit for a database column."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")

NAME_LENGTH: Final = 200
"""Characters of a tag, a namespace, a scope or a model's name that the database keeps."""
ALIAS_LENGTH: Final = 64
LABEL_LENGTH: Final = 100
REASON_LENGTH: Final = 255
PREVIEW_LENGTH: Final = 200
_HEX: Final = 32


def clean(value: str | None, longest: int | None = None) -> str:
    """Text that every database takes: NUL and lone surrogates replaced by U+FFFD, None by "".

    Args:
        longest: in characters; what is longer is cut and ends in "…".
    """
    if not value:
        return ""
    if longest is not None and len(value) > longest:
        value = value[: longest - 1] + "…"
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def name_of(value: str | None) -> str:
    """A name as the database has it: `clean`, and where that has changed it ending in a hash, so
    that no two names become one. What is given in that form already stays as it is.
    """
    name = clean(value, NAME_LENGTH)
    if not value or name == value:
        return name
    digest = sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_HEX]
    return f"{name[: NAME_LENGTH - _HEX - 1].rstrip('…')}…{digest}"
