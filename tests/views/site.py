"""The views that the tests visit, each sync and async: `/sync/...` and `/async/...`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

import llmcache
from llmcache import cached_completion

visits: list[str] = []
"""What ran, in order; the tests empty it."""
closed: list[str] = []
behaviour: dict[str, Any] = {}
"""What a test wants the view `any` to do."""


def tenant(request: HttpRequest) -> str | None:
    return request.headers.get("X-Tenant")


def whole(request: HttpRequest, **_: Any) -> HttpResponse:
    visits.append("whole")
    return JsonResponse({"visit": len(visits), "body": request.body.decode("utf-8", "replace")})


def form(request: HttpRequest) -> HttpResponse:
    visits.append("form")
    names = [file.read().decode() for file in request.FILES.values()]
    return JsonResponse({"visit": len(visits), "post": request.POST.dict(), "files": names})


def anything(request: HttpRequest) -> HttpResponse:
    visits.append("anything")
    made: HttpResponse = behaviour["do"](request)
    return made


def model(request: HttpRequest) -> HttpResponse:
    visits.append("model")
    question = request.GET["q"]
    answer = llmcache.completion("m", messages=[{"role": "user", "content": question}])
    return HttpResponse(answer.raw, content_type="application/json")


def streaming(request: HttpRequest) -> StreamingHttpResponse:
    visits.append("streaming")

    def pieces() -> Iterator[bytes]:
        try:
            yield b"data: one\n\n"
            yield "data: \N{SNOWMAN}\n\n".encode()
            yield b"\xff\x00"
            if "break" in request.GET:
                raise ConnectionError("broken off")
        finally:
            closed.append("sync")

    return StreamingHttpResponse(pieces(), content_type="text/event-stream")


async def astreaming(request: HttpRequest) -> StreamingHttpResponse:
    visits.append("streaming")

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"data: one\n\n"
            await asyncio.sleep(0)
            yield "data: \N{SNOWMAN}\n\n".encode()
            yield b"\xff\x00"
            if "break" in request.GET:
                raise ConnectionError("broken off")
        finally:
            closed.append("async")

    return StreamingHttpResponse(pieces(), content_type="text/event-stream")


def awaited(view: Callable[..., Any]) -> Callable[..., Any]:
    """The same view as a coroutine function."""

    async def aview(request: HttpRequest, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        if view is model:
            visits.append("model")
            asked = [{"role": "user", "content": request.GET["q"]}]
            answer = await llmcache.acompletion("m", messages=asked)
            return HttpResponse(answer.raw, content_type="application/json")
        return view(request, **kwargs)

    aview.__qualname__ = f"a{view.__name__}"
    return aview


@method_decorator(cached_completion(ttl=60), name="dispatch")
class Page(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        visits.append("class")
        return HttpResponse("page")


@method_decorator(cached_completion(ttl=60), name="dispatch")
class AsyncPage(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        visits.append("class")
        return HttpResponse("page")


DECORATED: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "whole": (whole, {}),
    "whole/<int:number>": (whole, {}),
    "form": (form, {}),
    "shared": (anything, {"scope": None}),
    "any": (anything, {}),
    "tenant": (anything, {"scope": tenant, "vary_on": ["X-Tenant"]}),
    "language": (whole, {"vary_on": ["X-Style"]}),
    "obedient": (whole, {"client_controls": ["no-cache", "no-store", "max-age", "only-if-cached"]}),
    "short": (anything, {"ttl": 0.05, "cache": {"stale-if-error": 60}, "scope": None}),
    "quiet": (whole, {"expose": False}),
    "tagged": (whole, {"tags": lambda request: [f"page-{request.GET['page']}"]}),
    "keyed": (whole, {"key": lambda request: request.GET["page"]}),
    "model": (model, {}),
}
urlpatterns = [
    *(
        path(f"{twin}/{route}/", cached_completion(**options)(wrap(view)))
        for route, (view, options) in DECORATED.items()
        for twin, wrap in (("sync", lambda view: view), ("async", awaited))
    ),
    path("sync/streaming/", cached_completion(streaming)),
    path("async/streaming/", cached_completion(astreaming)),
    path("sync/class/", Page.as_view()),
    path("async/class/", AsyncPage.as_view()),
]


# --- what `any` can be told to do ---


def cookie(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("x")
    response.set_cookie("a", "b")
    return response


def session(request: HttpRequest) -> HttpResponse:
    request.session["seen"] = True
    return HttpResponse("x")


def token(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


def message(request: HttpRequest) -> HttpResponse:
    messages.info(request, "hello")
    return HttpResponse("x")


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(iter([b"x"]))


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def header(name: str, value: str) -> Callable[[HttpRequest], HttpResponse]:
    return lambda request: HttpResponse("x", headers={name: value})


def template(request: HttpRequest) -> TemplateResponse:
    made: Any = engines["django"].from_string("<b>{{ word }}</b>")
    return TemplateResponse(request, made, {"word": "x"})
