"""From an SDK's HTTP request to a call: which requests are cached, whose they are, what their
headers ask of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.utils.crypto import salted_hmac

from llmcache.calls import Call, from_body
from llmcache.controls import Controls, parse
from llmcache.exceptions import InvalidRequest
from llmcache.http import cache_control, requests
from llmcache.keys import asking_headers
from llmcache.upstreams import wire

FROM_CREDENTIALS: Final = "from credentials"
"""The account that is told by the credentials of each request."""
_OWN: Final = "x-llmcache-"
_CREDENTIALS: Final = (
    "authorization",
    "x-api-key",
    "api-key",
    "openai-organization",
    "openai-project",
)
_STATEFUL: Final = ("background", "conversation")
"""Fields of a Responses request that make it change something at the provider."""


class Reading(NamedTuple):
    """A request that is to be cached.

    Attributes:
        call: what it asks for.
        identity: who answers it, and for whom.
    """

    call: Call
    identity: str


def _texts(name: str, value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _seconds(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InvalidRequest(f"The header {name} must be a number, not {value!r}.") from None


def _whole(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise InvalidRequest(f"The header {name} must be an integer, not {value!r}.") from None


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InvalidRequest(f"The header {name} must be true or false, not {value!r}.")
    return value.lower() == "true"


def _text(name: str, value: str) -> str:
    return value


_HEADERS: Final = {
    "bucket": _whole,
    "caller": _text,
    "key": _text,
    "namespace": _text,
    "no-cache": _flag,
    "no-store": _flag,
    "only-if-cached": _flag,
    "refresh": _flag,
    "s-maxage": _seconds,
    "scope": _text,
    "semantic": _flag,
    "stale-if-error": _seconds,
    "stale-while-revalidate": _seconds,
    "tags": _texts,
    "ttl": _seconds,
    "use-cache": _flag,
}
"""The cache controls that a header `X-LLMCache-...` can say."""


def own_headers(headers: Any) -> dict[str, str]:
    """The headers that are for the cache alone, by what follows `X-LLMCache-`."""
    return {
        name.lower().removeprefix(_OWN): value
        for name, value in headers.items()
        if name.lower().startswith(_OWN)
    }


def controls_of(
    headers: Any, own: Mapping[str, str], usual: Mapping[str, Any], parsed: Controls
) -> Controls:
    """What a request asks of the cache: its headers, over the transport's own controls.

    Args:
        own: what `own_headers` found.
        usual, parsed: the transport's controls, as they were given and as they were read.

    Raises:
        InvalidRequest: a header that there is not, or a wrong value.
    """
    said = headers.get("cache-control")
    if said is None and not own:
        return parsed
    asked = cache_control.controls_of(said)
    for name, value in own.items():
        read = _HEADERS.get(name)
        if read is None:
            known = [f"X-LLMCache-{known}" for known in _HEADERS]
            raise InvalidRequest.unknown("header", f"X-LLMCache-{name}", known)
        asked[name] = read(f"X-LLMCache-{name}", value)
    return parse({**usual, **asked})


def read(
    request: Any,
    controls: Controls,
    *,
    kind: str,
    base: str,
    account: str | None,
    is_async: bool,
) -> Reading | None:
    """The call that a request makes; None for one that must reach the provider as it is.

    Args:
        request: of httpx or httpx2, its body read.
        kind: of the call.
        base: the path before the known end of it.
        account: whose entries they are: a name, FROM_CREDENTIALS, or None for everybody's.
    """
    headers = request.headers
    if headers.get("content-encoding"):
        return None
    try:
        body = requests.arguments_of(kind, request.content, headers.get("content-type", ""))
        if kind == "responses" and any(body.get(field) for field in _STATEFUL):
            return None
        call = from_body(kind, body, is_async=is_async, controls=controls)
    except InvalidRequest:
        return None  # the provider says better what is wrong with its own format
    asking = asking_headers(headers)
    for name in list(asking):
        if name == "cache-control" or name.startswith(_OWN):
            del asking[name]
    url = request.url
    port = f":{url.port}" if url.port is not None else ""
    base_url = wire.normalised_url(f"{url.scheme}://{url.host}{port}{base}")
    version = asking.pop("anthropic-version", None) if kind == "messages" else None
    if asking:
        call.transport["extra_headers"] = asking
    if url.query:
        call.transport["extra_query"] = {"query": url.query.decode("ascii", "replace")}
    return Reading(call, _identity(kind, base_url, headers, account, version))


def _identity(
    kind: str, base_url: str, headers: Any, account: str | None, version: str | None
) -> str:
    """As the upstreams of the settings say it, so that without an account entries are shared with
    them; with an account that follows, as a keyed hash: no credential can be told from it."""
    parts = ["anthropic" if kind == "messages" else "openai", base_url]
    organization = (headers.get("openai-organization"), headers.get("openai-project"))
    if any(organization):
        parts.extend(part or "" for part in organization)
    if version is not None:
        parts.append(wire.settings_mark({"version": version}))
    if account == FROM_CREDENTIALS:
        given = "\n".join(headers.get(name, "") for name in _CREDENTIALS)
        parts.append("account " + salted_hmac("llmcache.account", given).hexdigest()[:32])
    elif account is not None:
        parts.append(f"account named {account}")
    return "|".join(parts)
