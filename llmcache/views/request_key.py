"""What of a request is part of its answer's key."""

from __future__ import annotations

import re
from datetime import tzinfo
from hashlib import sha256
from typing import Any, Final

import orjson
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest

from llmcache.keys import file_digest
from llmcache.request_headers import header
from llmcache.views.scopes import hashed

_TOKEN: Final = "csrfmiddlewaretoken"  # noqa: S105
_FORM: Final = "application/x-www-form-urlencoded"
_FILES: Final = "multipart/form-data"
# Longer ones do not survive the parser: two of them may read as one float.
_LONG_NUMBER: Final = re.compile(rb"\d{17}")


def params_of(
    request: HttpRequest,
    vary_on: tuple[str, ...],
    key: str | None,
    language: str | None,
    time_zone: tzinfo,
) -> dict[str, Any]:
    """The call's parameters, by name. A HEAD request has those of the GET request it stands for.

    Args:
        vary_on: names of headers that are part of the key; their values show up hashed.
        key: the site's own key, in place of path, query and body.
        language, time_zone: those in force.

    Raises:
        RequestDataTooBig, RawPostDataException, SuspiciousOperation: the body cannot be read.
    """
    params: dict[str, Any] = {"method": "GET" if request.method == "HEAD" else request.method}
    if key is None:
        params["path"] = f"{request.scheme}://{request.get_host()}{request.path}"
        if _has_query(request) and request.GET:
            params["query"] = dict(request.GET.lists())
        params |= _body(request)
    else:
        params["key"] = key
    if settings.USE_I18N:
        params["language"] = getattr(request, "LANGUAGE_CODE", None) or language
    if settings.USE_TZ:
        params["time_zone"] = time_zone.tzname(None) or str(time_zone)
    if vary_on:
        params["headers"] = {
            name.lower(): hashed(value) if (value := header(request, name)) else None
            for name in vary_on
        }
    return params


def _has_query(request: HttpRequest) -> bool:
    """False only where `request.GET`, which parses, would be empty."""
    return bool(request.META.get("QUERY_STRING")) or "GET" in request.__dict__


def _has_no_body(request: HttpRequest) -> bool:
    """True only where nothing is to be read: WSGI knows no body without a length, and a test or a
    middleware may have put one there."""
    return (
        isinstance(request, WSGIRequest)
        and request.META.get("CONTENT_LENGTH") in (None, "", "0")
        and not hasattr(request, "_body")
    )


def _body(request: HttpRequest) -> dict[str, Any]:
    """The body as people can read it, beside the form that it had; {} where there is none."""
    kind = request.content_type or ""
    if request.method == "POST" and kind == _FILES:
        most: Any = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if most is None or int(request.META.get("CONTENT_LENGTH") or 0) <= most:
            _ = request.body  # read first, so that the view may still read it after the fields
        files = {
            name: [[file.name, file.content_type, file_digest(file)] for file in each]
            for name, each in request.FILES.lists()
        }
        return {"format": "form", "body": _fields(request), "files": files}
    if _has_no_body(request):
        return {}
    raw = request.body
    if not raw:
        return {}
    if request.method == "POST" and kind == _FORM:
        return {"format": "form", "body": _fields(request)}
    if (kind == "application/json" or kind.endswith("+json")) and not _LONG_NUMBER.search(raw):
        try:
            return {"format": "json", "body": orjson.loads(raw)}
        except ValueError:
            pass
    return {"format": request.META.get("CONTENT_TYPE", ""), "body": sha256(raw).hexdigest()}


def _fields(request: HttpRequest) -> dict[str, Any]:
    return {name: values for name, values in request.POST.lists() if name != _TOKEN}
