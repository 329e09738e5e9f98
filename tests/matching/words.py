"""An embedder for tests: texts of the same words are near, whatever their order, and calls are
counted. Its similarities can be told by hand: the share of words that two texts have in common.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from llmcache.backends.base import BaseBackend
from llmcache.embedders.base import BaseEmbedder, Embedded

DIMENSION = 512


class WordEmbedder(BaseEmbedder):
    """OPTIONS: `cost` of a call; `fail`: True to fail; `most`: words that it reads."""

    threshold = 0.7
    texts: list[str] = []
    """All that was embedded, by all instances, since a test emptied it."""

    def __init__(self, setting: str, options: Mapping[str, Any], store: BaseBackend) -> None:
        super().__init__(setting, options, store)
        self.cost = options.get("cost", 0.0)

    def embed(self, text: str) -> Embedded | None:
        self.texts.append(text)
        if self.options.get("fail"):
            raise ConnectionError("the embedder is down")
        words = Counter(text.lower().split())
        if len(words) > self.options.get("most", 100):
            return None
        vector = [0.0] * DIMENSION
        for word, number in words.items():
            vector[int(sha256(word.encode()).hexdigest(), 16) % DIMENSION] += number
        length = math.sqrt(sum(value * value for value in vector))
        data = array("f", [value / length for value in vector]).tobytes()
        return Embedded(data, f"words:{DIMENSION}", self.cost)
