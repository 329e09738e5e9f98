"""A request to a provider as cassettes know it: plain JSON, without credentials."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from llmcache.keys import Uncacheable, canonical, file_digest
from llmcache.testing.problems import CassetteError
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        provider: its name in LLMCACHE_PROVIDERS.
        stream: whether the answer was wanted as a stream.
        params: as JSON; a file is there by its hash.
    """

    kind: str
    model: str
    provider: str
    stream: bool
    params: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """A copy as a cassette has it."""
        return {
            "kind": self.kind,
            "model": self.model,
            "provider": self.provider,
            "stream": self.stream,
            "params": orjson.loads(orjson.dumps(self.params)),
        }

    def __str__(self) -> str:
        streamed = ", stream" if self.stream else ""
        return f"{self.kind} {self.model!r} at {self.provider!r}{streamed}: {brief(self.params)}"


def asked_of(upstream: BaseUpstream, request: UpstreamRequest, *, stream: bool) -> Asked:
    """The request as plain JSON.

    Raises:
        CassetteError: it has no JSON form: a lone surrogate in a text, say, or a file that cannot
            be read twice.
    """
    params = dict(request.params)
    try:
        if request.kind == "transcription" and "file" in params:
            params["file"] = {"sha256": file_digest(params["file"])}
        plain = orjson.loads(canonical(params))
    except (Uncacheable, OSError) as error:
        raise CassetteError(
            f"A {request.kind} call of {request.model!r} fits into no cassette: {error}. "
            "Change the text, or answer the call with llmcache.testing.FakeAnswers."
        ) from error
    return Asked(request.kind, request.model, upstream.name, stream, plain)


def digest_of(params: dict[str, Any]) -> str:
    """sha256 of parameters, 64 hexadecimal characters."""
    return sha256(orjson.dumps(params, option=orjson.OPT_SORT_KEYS)).hexdigest()


def brief(params: dict[str, Any]) -> str:
    """The last words of a request in one line, of at most 80 characters."""
    for name in ("messages", "input", "prompt", "file"):
        if params.get(name):
            text = " ".join(_last_text(params[name]).split())
            return repr(text if len(text) <= 76 else text[:75] + "…")
    return repr(params)[:80]


def _last_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        return _last_text(value[-1])
    if isinstance(value, dict):
        return _last_text(value.get("content") or value.get("text") or value.get("sha256") or "")
    return str(value)
