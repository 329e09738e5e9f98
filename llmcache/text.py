"""The one boundary where callers' text is made fit for a database column."""

from __future__ import annotations

import re
from typing import Final

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")

NAME_LENGTH: Final = 200
"""Characters of a tag, a namespace, a scope or a model's name that the database keeps."""


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
