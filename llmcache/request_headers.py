"""One header of a request to this site. `request.headers` is made of all of them first, which takes
as long as a good part of a hit; here nothing but the one is looked at."""

from __future__ import annotations

from functools import lru_cache

from django.http import HttpRequest
from django.http.request import HttpHeaders

_key = lru_cache(maxsize=256)(HttpHeaders.to_wsgi_name)


def header(request: HttpRequest, name: str) -> str | None:
    """A header's value; None where the request has no such header.

    Args:
        name: in any case, such as "Cache-Control".
    """
    value: str | None = request.META.get(_key(name))
    return value
