"""Vectors as bytes: how an embedding that a provider sent becomes one that stores can compare."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from base64 import b64decode
from operator import mul
from typing import Any


def unit(embedding: Any) -> bytes:
    """An embedding as float32 in the machine's byte order, at length 1.

    Args:
        embedding: numbers, or little-endian float32 in base64, as OpenAI's API has both.

    Raises:
        ValueError: it is no vector: empty, all zero, or with NaN or an infinity in it.
    """
    values = embedding
    if isinstance(embedding, str):
        decoded = array("f", b64decode(embedding, validate=True))
        if sys.byteorder == "big":
            decoded.byteswap()
        values = decoded.tolist()
    try:
        length = math.hypot(*values)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"an embedding is no list of numbers: {error}") from error
    if not 0 < length < math.inf:  # NaN is neither
        raise ValueError("an embedding is empty, zero or not finite")
    return struct.pack(f"{len(values)}f", *[value / length for value in values])


def similarity(one: bytes, other: bytes) -> float:
    """Cosine of two vectors of length 1, with 0.0 for all that point away from each other.

    Args:
        one, other: float32, as `Embedded.data`.
    """
    product: float = sum(map(mul, array("f", one), array("f", other)))
    return min(1.0, max(0.0, product))
