"""Whose entries a request may be served from: its provider and its account, as text for the key.

No credential is ever part of that text: what is made of them is a hash keyed with SECRET_KEY.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import EllipsisType
from typing import Any, Final

import orjson
from django.utils.crypto import salted_hmac

from llmcache.exceptions import InvalidRequest
from llmcache.upstreams import wire

CREDENTIALS: Final = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "ocp-apim-subscription-key",
        "openai-organization",
        "openai-project",
        "proxy-authorization",
        "x-api-key",
        "x-goog-api-key",
    }
)
"""Headers that say who asks."""
QUERY_CREDENTIALS: Final = frozenset(
    {"access_token", "api-key", "api_key", "apikey", "key", "subscription-key"}
)
_NAMES: Final = frozenset({"openai-organization", "openai-project"})
_TELLING: Final = CREDENTIALS - {"cookie"}
_SHORTEST_SECRET: Final = 6
_SALT: Final = "llmcache.transports.account"
# Set by load balancers and guards in front of the providers; another with almost every answer.
_PASSING_COOKIES: Final = ("__cf", "_cfuvid", "ARRAffinity", "AWSALB")

Account = str | EllipsisType | None
"""A name, `...` for what the credentials of the request say, or None for no account at all."""


def checked(account: object) -> Account:
    """The argument, if it is an account.

    Raises:
        InvalidRequest: it is not.
    """
    if account is None or account is ... or (isinstance(account, str) and account):
        return account
    raise InvalidRequest(f"account must be a name, None, or left out, not {account!r}.")


def identity(
    kind: str, base_url: str, headers: Mapping[str, str], query: Mapping[str, Any], account: Account
) -> str:
    """Text that two requests share exactly when the same provider answers them for the same
    account. With the account None it is what the other doors have for that address.

    Args:
        base_url: what comes before the path's known end.
        headers: by their names in lower case.
    """
    if kind == "messages":
        parts = ["anthropic", base_url]
        mark = wire.settings_mark({"version": headers.get("anthropic-version")})
    else:
        parts, mark = ["openai", base_url], ""
    if account is None:
        payer = [headers.get(name, "") for name in sorted(_NAMES)]
        parts.extend(payer if any(payer) else ())
    if mark:
        parts.append(mark)
    if isinstance(account, str):
        parts.append(f"account={account}")
    elif account is not None:
        parts.append(f"credentials={_mark(headers, query)}")
    return "|".join(parts)


def secrets(headers: Mapping[str, str]) -> list[bytes]:
    """The credentials in a request's headers, which no error may show."""
    found = []
    for name in (CREDENTIALS - _NAMES) & headers.keys():
        value = headers[name].strip()
        found += [value, value.rpartition(" ")[2]]
    long = {value for value in found if len(value) >= _SHORTEST_SECRET}
    return [value.encode() for value in sorted(long, key=len, reverse=True)]


def _mark(headers: Mapping[str, str], query: Mapping[str, Any]) -> str:
    said = {name: headers[name] for name in _TELLING if name in headers}
    cookies = _lasting(headers.get("cookie", ""))
    if cookies:
        said["cookie"] = cookies
    asked = {name: query[name] for name in QUERY_CREDENTIALS if name in query}
    value = orjson.dumps([said, asked], option=orjson.OPT_SORT_KEYS)
    return salted_hmac(_SALT, value, algorithm="sha256").hexdigest()[:32]


def _lasting(cookie: str) -> str:
    parts = re.split(r";\s*", cookie)
    return "; ".join(sorted(part for part in parts if not part.startswith(_PASSING_COOKIES)))
