"""What the semantic stores have in common: which vectors may meet, and whose OPTIONS are whose."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final

from llmcache.backends.semantic.base import MATCHING
from llmcache.conf import BackendSettings
from llmcache.options import Options

FLOAT: Final = 4
"""Bytes of one float32."""


def place(owner: str, partition: str, space: str, size: int) -> str:
    """The name of all vectors that may be compared: those of one place, and no others.

    Hexadecimal, so it needs no escaping wherever it is used, whatever the texts are.

    Args:
        owner: the prefix of the alias.
        size: of one vector, in bytes: vectors of different lengths never meet, even if an embedder
            gave its space the same name.
    """
    hashed = blake2b(digest_size=20)
    for part in (owner, partition, space, str(size)):
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(data))
        hashed.update(data)
    return hashed.hexdigest()


def split_options(
    settings: BackendSettings, own: dict[str, Any], entries: dict[str, Any]
) -> tuple[Options, BackendSettings]:
    """The semantic store's OPTIONS, and the settings of its exact store, without its own.

    Args:
        own, entries: the OPTIONS of the semantic and of its exact store, with their defaults.

    Raises:
        ImproperlyConfigured: a name that neither knows and that is none of `MATCHING`.
    """
    given = Options(settings, {**entries, **own, **dict.fromkeys(MATCHING)})
    rest = {key: value for key, value in settings.options.items() if key not in own}
    return given, replace(settings, options=rest)
