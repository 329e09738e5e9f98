"""From an HTTP request to a Call, or to None where the request is not for the cache. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

from llmcache import calls
from llmcache.calls import Call
from llmcache.effects import has_effects
from llmcache.exceptions import InvalidRequest
from llmcache.http import requests
from llmcache.keys import asking_headers
from llmcache.transports import accounts, instructions
from llmcache.transports.accounts import Account

_CARRYING: Final = frozenset(
    {
        "accept",
        "anthropic-version",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "te",
        "transfer-encoding",
    }
)
"""Headers that say how the request travels, which follows from what is asked; `anthropic-version`
is part of the provider's identity."""
# Names that our own functions take for themselves; in a body they are the provider's.
_OURS: Final = (calls.TRANSPORT | calls.LOCAL | {"extra_body"}) - {"model", "stream"}
_DEPLOYMENT: Final = re.compile(r"/deployments/([^/]+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request goes that may be answered from the cache.

    Attributes:
        base_url: what comes before the path's known end, without credentials or query.
        headers: by their names in lower case.
    """

    kind: str
    base_url: str
    query: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as the engine takes it.

    Attributes:
        fields: the body's fields as they were sent; {} of a form.
        text_type: the content type of a transcript that was asked for as plain text.
        headers: by their names in lower case.
    """

    call: Call
    identity: str
    fields: Mapping[str, Any]
    text_type: str | None
    headers: Mapping[str, str] = field(repr=False)

    @property
    def secrets(self) -> list[bytes]:
        """What no error may show."""
        return accounts.secrets(self.headers)


def place_of(request: Any, paths: Mapping[str, str] | None) -> Place | None:
    """Where a request goes; None when it is not known to be safe to cache.

    Args:
        request: the library's, its body not yet read.
        paths: further ends of paths, and their kinds.
    """
    if request.method != "POST":
        return None
    url = request.url
    path, _, query = url.raw_path.decode("ascii", "replace").partition("?")
    found = requests.kind_of(path, paths)
    if found is None:
        return None
    kind, base = found
    headers = _headers(request.headers)
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = "multipart/form-data" if kind == "transcription" else "application/json"
    if content_type != wanted or headers.get("content-encoding", "identity") != "identity":
        return None
    return Place(
        kind=kind,
        base_url=f"{url.scheme}://{url.netloc.decode('ascii').lower()}{base}",
        query=_query(query),
        headers=headers,
    )


def _headers(given: Any) -> dict[str, str]:
    """The headers by their names in lower case; values of one name are joined."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in given.raw:
        if not (raw_name.isascii() and raw_value.isascii()):
            return dict(given.items())  # the library finds out in which encoding they are
        name, value = raw_name.decode().lower(), raw_value.decode()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _query(text: str) -> dict[str, Any]:
    """A query's values by name; a list where a name comes several times."""
    if not text:
        return {}
    values: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    return {name: given[0] if len(given) == 1 else given for name, given in values.items()}


def asked_of(
    place: Place,
    body: bytes,
    *,
    account: Account,
    defaults: Mapping[str, Any],
    is_async: bool,
) -> Asked | None:
    """What a request asks; None when that cannot be read, or must not be answered from the cache.

    Args:
        defaults: cache controls for requests that say nothing else.

    Raises:
        InvalidRequest: the request's instructions to the cache are wrong.
    """
    kind, headers = place.kind, place.headers
    controls = {**defaults, **instructions.controls_of(headers)}
    identity = accounts.identity(kind, place.base_url, headers, place.query, account)
    if account is not None and controls.get("key"):
        # A key of one's own stands for the whole request, and the account must stay apart.
        controls["key"] = f"{identity}|{controls['key']}"
    try:
        fields = requests.arguments_of(kind, body, headers.get("content-type", ""))
        if has_effects(fields):
            return None
        arguments: dict[str, Any] = {
            name: value for name, value in fields.items() if name not in _OURS
        }
        odd = {name: value for name, value in fields.items() if name in _OURS}
        if odd:
            arguments["extra_body"] = odd
        arguments["cache"] = controls
        arguments["extra_headers"] = _asking(headers)
        arguments["extra_query"] = {
            name: value
            for name, value in place.query.items()
            if name not in accounts.QUERY_CREDENTIALS
        }
        model = arguments.pop("model", None) or _deployment(place.base_url)
        call = calls.build(kind, model, arguments, is_async=is_async)
    except (InvalidRequest, RecursionError):
        return None  # the provider has words of its own for that
    return Asked(
        call=call,
        identity=identity,
        fields={} if kind == "transcription" else fields,
        text_type=requests.text_format(fields) if kind == "transcription" else None,
        headers=headers,
    )


def _asking(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if _asks(name)}


@lru_cache(maxsize=1024)
def _asks(name: str) -> bool:
    """Whether a header can change the answer. SDKs send the same dozen with each request."""
    return (
        name in asking_headers({name: ""})
        and name not in _CARRYING
        and name not in accounts.CREDENTIALS
        and not instructions.are_for_us(name)
    )


def _deployment(base_url: str) -> str | None:
    """The model that an Azure address names, which its body need not repeat."""
    match = _DEPLOYMENT.search(base_url)
    return match[1] if match else None
