"""A caller's words as one value: what to ask, what is part of the key, what only travels.

Every door turns its arguments into a `Call` here, so that all doors share keys and entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from types import MappingProxyType
from typing import Any, Final

from llmcache.controls import NO_CONTROLS, Controls, parse
from llmcache.exceptions import InvalidRequest
from llmcache.streams import OWN_KINDS
from llmcache.upstreams.base import KINDS as KINDS
from llmcache.upstreams.base import UpstreamRequest

ALL_KINDS: Final = (*KINDS, *OWN_KINDS)
CALL_TYPES: Final = (*ALL_KINDS, *(f"a{kind}" for kind in ALL_KINDS))

# Sent in the body, never keyed: they cannot change the answer.
UNKEYED: Final = frozenset({"metadata", "stream_options"})
# For the upstream's client, neither sent in the body nor keyed as they are: `base_url` is part of
# the provider's identity, headers and query are keyed by `keys.py`.
TRANSPORT: Final = frozenset(
    {
        "api_base",
        "api_key",
        "base_url",
        "extra_headers",
        "extra_query",
        "max_retries",
        "num_retries",
        "request_timeout",
        "timeout",
    }
)
LOCAL: Final = frozenset({"cache", "caching", "model", "stream", "using"})
_NOT_PARAMS: Final = UNKEYED | TRANSPORT | LOCAL
# An integer here means the same to every provider as the float that equals it.
_FLOATS: Final = frozenset({"frequency_penalty", "presence_penalty", "temperature", "top_p"})
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Call:
    """One call as the caller made it.

    Attributes:
        kind: the family of call: one of ALL_KINDS.
        is_async: which twin was called; `call_type` names it as the page does.
        model: the model's name, provider prefix included.
        params: body parameters that are part of the key; None values dropped.
        unkeyed: body parameters that are not.
        transport: what configures the client (`api_key`, `base_url`, `timeout`, ...).
        caching: the `caching` argument: False bypasses the cache, None says nothing.
    """

    def __init__(
        self,
        kind: str,
        is_async: bool,
        model: str,
        params: dict[str, Any],
        *,
        unkeyed: Mapping[str, Any] = _NOTHING,
        transport: Mapping[str, Any] = _NOTHING,
        stream: bool = False,
        controls: Controls = NO_CONTROLS,
        caching: bool | None = None,
    ) -> None:
        self.kind = kind
        self.is_async = is_async
        self.model = model
        self.params = params
        self.unkeyed = unkeyed
        self.transport = transport
        self.stream = stream
        self.controls = controls
        self.caching = caching

    def __repr__(self) -> str:
        return f"<Call of {self.call_type} to {self.model!r}>"

    def with_params(self, params: dict[str, Any]) -> Call:
        """This call with other parameters."""
        other = copy(self)
        other.params = params
        return other

    @property
    def call_type(self) -> str:
        """The name of the function that was called, as `supported_call_types` lists it."""
        return f"a{self.kind}" if self.is_async else self.kind

    @property
    def base_url(self) -> str | None:
        """The base_url given for this call alone, under either of its names."""
        return self.transport.get("base_url") or self.transport.get("api_base")

    @property
    def wants_usage_chunk(self) -> bool:
        """Whether the caller asked for a last chunk with the stream's usage."""
        if self.kind in OWN_KINDS:  # whatever their events hold, it is no such chunk
            return True
        options = self.unkeyed.get("stream_options")
        return bool(isinstance(options, Mapping) and options.get("include_usage"))

    def request(self, model: str, params: Mapping[str, Any] | None = None) -> UpstreamRequest:
        """What to send upstream.

        Args:
            model: the model's name at the provider.
            params: replaces the call's own (an embedding call that asks only for some items).
        """
        transport = self.transport
        return UpstreamRequest(
            kind=self.kind,
            model=model,
            params=self.params if params is None else params,
            unkeyed=self.unkeyed,
            api_key=transport.get("api_key"),
            base_url=self.base_url,
            timeout=transport.get("timeout", transport.get("request_timeout")),
            max_retries=transport.get("max_retries", transport.get("num_retries")),
            extra_headers=transport.get("extra_headers") or {},
            extra_query=transport.get("extra_query") or {},
        )


def build(
    kind: str, model: object, arguments: Mapping[str, Any], *, is_async: bool = False
) -> Call:
    """Sort a function's arguments into a Call.

    Raises:
        InvalidRequest: no model, no input, or a wrong control or flag.
    """
    if not isinstance(model, str) or not model:
        raise InvalidRequest(f"model must be the model's name, not {model!r}.")
    params = {name: value for name, value in arguments.items() if value is not None}
    if _NOT_PARAMS.isdisjoint(params):
        call = Call(kind, is_async, model, params)
    else:
        call = _sorted(kind, model, params, is_async)
    _as_floats(params)
    required = _REQUIRED.get(kind)
    if required is not None and required not in params:
        raise InvalidRequest(f"{call.call_type}() needs the argument {required!r}.")
    if call.stream and kind in ("embedding", "transcription"):
        raise InvalidRequest(f"{call.call_type}() cannot stream; leave out stream=True.")
    response_format = params.get("response_format")
    if isinstance(response_format, type):
        params["response_format"] = _schema_format(response_format)
    return call


def _sorted(kind: str, model: str, params: dict[str, Any], is_async: bool) -> Call:
    """A Call that takes out of some arguments what is not for the body's keyed part."""
    unkeyed: dict[str, Any] = {}
    transport: dict[str, Any] = {}
    call = Call(kind, is_async, model, params, unkeyed=unkeyed, transport=transport)
    for name in _NOT_PARAMS.intersection(params):
        value = params.pop(name)
        if name in UNKEYED:
            unkeyed[name] = value
        elif name in TRANSPORT:
            transport[name] = value
        elif name == "cache":
            call.controls = parse(value)
        elif name == "stream":
            call.stream = _flag(name, value)
        elif name == "caching":
            call.caching = _flag(name, value)
    return call


def from_body(
    kind: str,
    body: Mapping[str, Any],
    *,
    is_async: bool,
    transport: Mapping[str, Any] | None = None,
    controls: Controls = NO_CONTROLS,
) -> Call:
    """A Call of what an HTTP request's body asks for. Every name in it is the provider's: none
    configures the cache or the client.

    Args:
        transport: headers and query that go along, as TRANSPORT names them.

    Raises:
        InvalidRequest: no model, no input, or a `stream` that is neither true nor false.
    """
    model = body.get("model")
    params: dict[str, Any] = {}
    if not isinstance(model, str) or not model:
        raise InvalidRequest(f"The field 'model' must be the model's name, not {model!r}.")
    unkeyed: dict[str, Any] = {}
    call = Call(
        kind,
        is_async,
        model,
        params,
        unkeyed=unkeyed,
        transport=dict(transport or {}),
        controls=controls,
    )
    for name, value in body.items():
        if name in UNKEYED:
            unkeyed[name] = value
        elif name not in ("model", "stream"):
            params[name] = value
    _as_floats(params)
    if params.get(_REQUIRED[kind]) is None:
        raise InvalidRequest(f"The field {_REQUIRED[kind]!r} is missing.")
    call.stream = _flag("The field 'stream'", body.get("stream") or False)
    if call.stream and kind in ("embedding", "transcription"):
        raise InvalidRequest(f"A call of the kind {kind!r} cannot stream.")
    return call


_REQUIRED: Final = {
    "completion": "messages",
    "text_completion": "prompt",
    "responses": "input",
    "messages": "messages",
    "embedding": "input",
    "transcription": "file",
}


def _as_floats(params: dict[str, Any]) -> None:
    for name in _FLOATS.intersection(params):
        if type(params[name]) is int:
            params[name] = float(params[name])


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be True or False, not {value!r}.")
    return value


def _schema_format(model_class: type) -> dict[str, Any]:
    """The `response_format` that asks for a pydantic class, as the provider's API spells it."""
    make_schema = getattr(model_class, "model_json_schema", None)
    if make_schema is None:
        raise InvalidRequest(
            "response_format must be a dict or a pydantic class, "
            f"not the class {model_class.__name__}."
        )
    return {
        "type": "json_schema",
        "json_schema": {"name": model_class.__name__, "schema": make_schema(), "strict": True},
    }
