"""What of a request makes the key of its answer."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from llmcache.keys import file_digest

_TOKEN = "csrfmiddlewaretoken"  # noqa: S105 - the name of a field, which differs with each page


def params_of(request: HttpRequest, vary_on: Iterable[str]) -> dict[str, Any]:
    """All that an answer to this request may depend on, by name.

    Args:
        vary_on: the names of further headers that it depends on.

    Raises:
        RawPostDataException: something has read the body before, and not through Django.
    """
    params: dict[str, Any] = {
        "method": "GET" if request.method == "HEAD" else request.method,
        "site": f"{request.scheme}://{request.get_host()}",
        "path": request.path,
    }
    if request.GET:
        params["query"] = _fields(request.GET)
    if request.method not in ("GET", "HEAD"):
        params["body"] = _body(request)
    if settings.USE_I18N:
        params["language"] = get_language()
    if settings.USE_TZ:
        params["time_zone"] = get_current_timezone_name()
    headers = {name.lower(): request.headers.get(name) for name in vary_on}
    if headers:
        params["headers"] = headers
    return params


def _fields(fields: QueryDict) -> dict[str, list[Any]]:
    return {name: values for name, values in fields.lists() if name != _TOKEN}


def _body(request: HttpRequest) -> Any:
    kind = request.content_type or ""
    if kind == "application/x-www-form-urlencoded":
        return {"fields": _fields(request.POST)}
    if kind == "multipart/form-data":
        most: Any = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if most is None or int(request.META.get("CONTENT_LENGTH") or 0) <= most:
            _ = request.body  # read first, so that the view may still read it after the fields
        files = {
            name: [[file.content_type, file_digest(file)] for file in files]
            for name, files in request.FILES.lists()
        }
        return {"fields": _fields(request.POST), "files": files}
    body = request.body
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return {"json": orjson.loads(body)}
        except ValueError:
            pass
    return {"type": kind, "sha256": sha256(body).hexdigest()}
