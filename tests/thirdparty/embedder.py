"""Vectors without a model: pairs of letters, counted."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from zlib import crc32

from llmcache.backends.base import BaseBackend
from llmcache.embedders.base import BaseEmbedder, Embedded
from llmcache.options import Options

DEFAULTS: Mapping[str, Any] = {"dimensions": 256}


class LetterEmbedder(BaseEmbedder):
    """OPTIONS:
    dimensions (int): numbers of a vector.
    """

    threshold = 0.8

    def __init__(self, setting: str, options: Mapping[str, Any], store: BaseBackend) -> None:
        super().__init__(setting, options, store)
        self._size = Options(self, DEFAULTS).whole("dimensions")

    def embed(self, text: str) -> Embedded | None:
        counts = Counter(one + other for one, other in pairwise(text.casefold()))
        if not counts:
            return None
        vector = [0.0] * self._size
        for pair, number in counts.items():
            vector[crc32(pair.encode()) % self._size] += number
        length = math.hypot(*vector)
        data = array("f", (value / length for value in vector)).tobytes()
        return Embedded(data, f"letters:{self._size}")
