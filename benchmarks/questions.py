"""What is asked, and the floor: the least that any cache of such answers must do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import orjson

from llmcache.upstreams.base import UpstreamRequest

SENTENCE = "The quick brown fox jumps over the lazy dog and runs into the forest. "
ANSWER = SENTENCE * 14
STREAMED = (SENTENCE * 30)[:2048]
PIECE = 40  # characters of a chunk


def question(size: int, name: str = "") -> dict[str, Any]:
    """A chat completion's arguments with a prompt of so many bytes.

    Args:
        name: sets questions of one size apart.
    """
    prompt = (name + SENTENCE * (size // len(SENTENCE) + 1))[:size]
    return {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": prompt},
        ],
        "temperature": 0.2,
        "max_tokens": 500,
    }


def answer(request: UpstreamRequest) -> str:
    """What the fake provider says: about 1 KB."""
    return ANSWER


def _as_dicts(data: bytes) -> str:
    text: str = orjson.loads(data)["choices"][0]["message"]["content"]
    return text


def as_the_sdk(data: bytes) -> str:
    """The text of an answer that is read into the objects of OpenAI's SDK, attributes and all."""
    from openai.types.chat import ChatCompletion

    return ChatCompletion.model_validate_json(data).choices[0].message.content or ""


def floor(
    asked: dict[str, Any],
    get: Callable[[str], bytes | None],
    decode: Callable[[bytes], str] = _as_dicts,
) -> Callable[[], str]:
    """Key by orjson and sha256, the store's raw get, one decode."""

    def hit() -> str:
        material = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
        data = get(sha256(material).hexdigest())
        assert data is not None
        return decode(data)

    return hit


def afloor(
    asked: dict[str, Any], aget: Callable[[str], Awaitable[bytes | None]]
) -> Callable[[], Awaitable[str]]:
    """As `floor`, over a store's async get."""

    async def hit() -> str:
        material = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
        data = await aget(sha256(material).hexdigest())
        assert data is not None
        return _as_dicts(data)

    return hit


def digest(asked: dict[str, Any]) -> str:
    """The floor's key."""
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
