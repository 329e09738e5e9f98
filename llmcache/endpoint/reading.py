"""From a request to the endpoint to a call, made of nothing that its caller may not say."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.http.request import UnreadablePostError

from llmcache import conf, controls
from llmcache.calls import LOCAL, TRANSPORT, Call, from_body
from llmcache.controls import Controls
from llmcache.endpoint.errors import Refused
from llmcache.exceptions import InvalidRequest
from llmcache.http import cache_control, requests
from llmcache.request_headers import header
from llmcache.upstreams import upstreams
from llmcache.virtual_keys import Holder

_PASSED_ON: Final = ("anthropic-beta", "anthropic-version", "openai-beta")
"""Headers of a request that the provider gets too."""
_NOT_FOR_CALLERS: Final = (TRANSPORT | LOCAL | {"extra_body"}) - {"model", "stream", "cache"}
"""Fields that would say where a call goes, or with whose credentials. What is in an `extra_body`
is sent in place of the fields that were checked, the model among them."""


def body_of(request: HttpRequest) -> bytes:
    """The request's body.

    Raises:
        Refused: it is over ENDPOINT_MAX_BODY, or cannot be read.
    """
    most = conf.config().endpoint_max_body
    too_large = Refused(413, f"The request's body is over {most} bytes.", "request_too_large")
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > most:
            raise too_large
        body = _read(request, most + 1)
    except (ValueError, OSError, UnreadablePostError) as error:
        raise Refused(400, "The request's body cannot be read.") from error
    if len(body) > most:
        raise too_large
    return body


def _read(request: HttpRequest, most: int) -> bytes:
    """So many bytes of the body at the most.

    Django reads nothing of a body without a Content-Length under WSGI; where the server marks its
    end, as gunicorn does, it can be read all the same.
    """
    if isinstance(request, WSGIRequest) and not request.META.get("CONTENT_LENGTH"):
        if request.environ.get("wsgi.input_terminated"):
            body: bytes = request.environ["wsgi.input"].read(most)
            return body
        if header(request, "Transfer-Encoding"):
            raise Refused(411, "Send the body's length as Content-Length.", "length_required")
    return request.read(most)


def call_of(request: HttpRequest, kind: str, holder: Holder, *, is_async: bool) -> Call:
    """The call that a request makes.

    Raises:
        Refused: it is not understood, or its caller may not make it.
    """
    content_type = header(request, "Content-Type") or ""
    wanted = "multipart/form-data" if kind == "transcription" else "application/json"
    if not content_type.startswith(wanted):
        raise Refused(415, f"Send the request as {wanted}.", "unsupported_media_type")
    encoding = header(request, "Content-Encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise Refused(415, "Send the body as it is, uncompressed.", "unsupported_media_type")
    try:
        fields = requests.arguments_of(kind, body_of(request), content_type)
        asked = _asked(request, fields.pop("cache", None), holder)
        for name in fields:
            if name in _NOT_FOR_CALLERS:
                raise InvalidRequest(f"The field {name!r} cannot be set by callers: leave it out.")
        whose = (holder.scope, holder.caller, holder.namespace)
        read = _controls(*whose, asked) if asked else _usual_controls(*whose)
        if not isinstance(fields.get("stream_options") or {}, dict):
            raise InvalidRequest("The field 'stream_options' must be an object.")
        headers = {name: value for name in _PASSED_ON if (value := header(request, name))}
        transport = {"extra_headers": headers} if headers else {}
        call = from_body(kind, fields, is_async=is_async, transport=transport, controls=read)
    except InvalidRequest as error:
        raise Refused(400, str(error)) from error
    except RequestDataTooBig as error:
        raise Refused(413, "The form's fields are too large.", "request_too_large") from error
    except SuspiciousOperation as error:
        raise Refused(400, "The form has too many fields or files.") from error
    _check_model(call, holder)
    return call


def _controls(
    scope: str | None, caller: str, namespace: str | None, asked: Mapping[str, Any]
) -> Controls:
    own = {"scope": scope, "caller": caller, **({"namespace": namespace} if namespace else {})}
    return controls.parse({**asked, **own})


@lru_cache(maxsize=1000)
def _usual_controls(scope: str | None, caller: str, namespace: str | None) -> Controls:
    """Those of a holder's request that says nothing of caching, as nearly all do."""
    return _controls(scope, caller, namespace, {})


def _asked(request: HttpRequest, given: Any, holder: Holder) -> dict[str, Any]:
    """What the caller says of caching, in the body's `cache` or by `Cache-Control`."""
    if given is not None and not isinstance(given, dict):
        raise InvalidRequest("The field 'cache' must be an object, such as {\"ttl\": 60}.")
    for name in given or {}:
        if name in controls.NAMES and name not in holder.controls:
            raise Refused(403, f"This key may not use the cache control {name!r}.", "not_allowed")
    said = header(request, "Cache-Control")
    return {**cache_control.controls_of(said, holder.controls), **(given or {})}


def _check_model(call: Call, holder: Holder) -> None:
    if not holder.may_use(call.model):
        raise Refused(404, f"This key may not use the model {call.model!r}.", "model_not_found")
    upstream = upstreams.route(call.model).upstream
    if upstream.fields is None:
        return
    for name in call.params:
        if name not in upstream.fields:
            raise Refused(400, f"The field {name!r} is not known for this model: leave it out.")
