"""Cached views: what is stored, and how it comes back. Streams have a room of their own."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views import View

import llmcache
from llmcache.decorators import cached_completion
from llmcache.models import Call, Entry
from llmcache.recorder import flush
from tests.decorators.doors import Counted, Door, decorated


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: HttpResponse("grüße\n\n", content_type="text/plain; charset=utf-8"),
        lambda request: HttpResponse(bytes(range(256)), content_type="image/png"),
        lambda request: JsonResponse({"a": [1, None, "ü"]}, headers={"X-Own": "1"}),
        lambda request: HttpResponse(""),
        lambda request: TemplateResponse(request, engines["django"].from_string("{{ 1|add:1 }}")),
    ],
)
def test_a_second_request_gets_the_same_answer_without_the_view(
    site_door: Door, answer: Any
) -> None:
    counted = Counted(answer)
    site_door.serve(answer=decorated(site_door, counted))
    first, second = site_door.ask("answer"), site_door.ask("answer")
    assert counted.calls == 1
    assert first.content == second.content
    assert first["Content-Type"] == second["Content-Type"]
    assert first.get("X-Own") == second.get("X-Own")
    assert (first["X-LLMCache-Outcome"], second["X-LLMCache-Outcome"]) == ("miss", "hit")
    assert second["Age"] == "0" and "Age" not in first
    assert second["Cache-Status"].startswith("llmcache; hit; ttl=")


def test_the_decorator_works_without_parentheses_and_from_the_package(site_door: Door) -> None:
    counted = Counted()

    def answer(request: Any) -> Any:
        return counted(request)

    site_door.serve(answer=llmcache.cached_completion(site_door.view(answer)))
    assert [site_door.ask("answer").content for _ in range(2)] == [b"answer 1"] * 2


def test_files_are_passed_on_and_never_stored(site_door: Door, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"content")
    counted = Counted(lambda request: FileResponse((tmp_path / "file").open("rb")))
    site_door.serve(answer=decorated(site_door, counted))
    with pytest.warns(Warning) if site_door.is_async else pytest.MonkeyPatch.context():
        assert [site_door.ask("answer").said for _ in range(2)] == [b"content"] * 2
    assert counted.calls == 2


@pytest.mark.parametrize("error", [Http404, PermissionDenied])
def test_errors_of_the_view_are_its_own_and_are_not_stored(site_door: Door, error: Any) -> None:
    def fail(request: Any) -> Any:
        raise error("no")

    counted = Counted(fail)
    site_door.serve(answer=decorated(site_door, counted))
    statuses = [site_door.ask("answer").status_code for _ in range(2)]
    assert statuses == [404 if error is Http404 else 403] * 2
    assert counted.calls == 2


def test_an_error_keeps_its_cause(site_door: Door) -> None:
    def fail(request: Any) -> Any:
        try:
            raise KeyError("why")
        except KeyError as cause:
            raise ZeroDivisionError("what") from cause

    site_door.serve(answer=decorated(site_door, Counted(fail)))
    with pytest.raises(ZeroDivisionError, match="what") as raised:
        site_door.ask("answer")
    assert isinstance(raised.value.__cause__, KeyError)


def test_identical_requests_at_once_run_the_view_once(site_door: Door) -> None:
    go = threading.Event()
    threading.Timer(0.5, go.set).start()

    def slow(request: Any) -> Any:
        go.wait(5)
        return HttpResponse("answer")

    counted = Counted(slow)
    site_door.serve(answer=decorated(site_door, counted, scope=None))
    answers = site_door.together(100, "answer")
    assert {response.content for response in answers} == {b"answer"}
    assert counted.calls == 1


def test_an_error_reaches_only_the_request_it_belongs_to(site_door: Door) -> None:
    counted = Counted()

    def fail_once(request: Any) -> Any:
        if counted.calls == 1:
            raise Http404("mine alone")
        return HttpResponse("answer")

    counted._answer = fail_once
    site_door.serve(answer=decorated(site_door, counted, scope=None))
    statuses = [response.status_code for response in site_door.together(8, "answer")]
    assert sorted(statuses) == [200] * 7 + [404]


@pytest.mark.parametrize("status", [201, 204, 301, 400, 404, 500])
def test_only_status_200_is_stored(site_door: Door, status: int) -> None:
    counted = Counted(lambda request: HttpResponse("x", status=status))
    site_door.serve(answer=decorated(site_door, counted))
    assert [site_door.ask("answer").status_code for _ in range(2)] == [status] * 2
    assert counted.calls == 2


def test_a_class_of_views_is_cached_by_its_own_name(site_door: Door) -> None:
    class Answer(View):
        calls = 0

        if site_door.is_async:

            async def get(self, request: Any, word: str = "") -> Any:
                Answer.calls += 1
                return HttpResponse("class")

        else:

            def get(self, request: Any, word: str = "") -> Any:
                Answer.calls += 1
                return HttpResponse("class")

    mark = method_decorator(cached_completion(ttl=60), name="dispatch")
    site_door.serve(answer=mark(Answer).as_view())
    first, second = site_door.ask("answer"), site_door.ask("answer")
    assert first.content == second.content == b"class"
    assert second["X-LLMCache-Outcome"] == "hit"
    assert Answer.calls == 1
    assert site_door.ask("answer", method="put").status_code == 405


@pytest.mark.django_db
def test_the_ledger_names_the_view_and_counts_the_tokens_its_answer_tells_of(
    site_door: Door, settings: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"PRICING": {"priced": {"input": 1_000_000, "output": 2_000_000}}}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    counted = Counted(lambda request: JsonResponse({"model": "priced", "usage": usage}))
    site_door.serve(answer=decorated(site_door, counted, tags=["books"], namespace="shop"))
    for _ in range(2):
        said = site_door.ask("/answer/?q=words")
    assert said["X-LLMCache-Saved-Tokens"] == "7"
    assert float(said["X-LLMCache-Saved-Cost"]) == 11
    flush()
    entry = Entry.objects.get()
    assert entry.model.startswith("tests.decorators.doors.") and entry.kind == "view"
    assert (entry.namespace, [tag.name for tag in entry.tags.all()]) == ("shop", ["books"])
    assert (entry.input_tokens, entry.output_tokens, entry.cost) == (3, 4, 11)
    assert "words" in entry.preview and '"words"' not in entry.material
    hit = Call.objects.get(outcome="hit")
    assert (hit.saved_cost, hit.kind) == (11, "view")


@pytest.mark.parametrize("usage", [{"prompt_tokens": 1e300}, {"prompt_tokens": "many"}, [1]])
def test_figures_that_are_none_are_no_reason_not_to_serve(site_door: Door, usage: Any) -> None:
    counted = Counted(lambda request: JsonResponse({"usage": usage}))
    site_door.serve(answer=decorated(site_door, counted))
    first, second = site_door.ask("answer"), site_door.ask("answer")
    assert first.said == second.said and counted.calls == 1


def test_decorating_twice_does_not_wait_for_itself(site_door: Door) -> None:
    counted = Counted()
    inner = decorated(site_door, counted, scope=None)
    site_door.serve(answer=cached_completion(scope=None)(inner))
    assert site_door.ask("answer").content == site_door.ask("answer").content == b"answer 1"


def test_a_damaged_entry_is_no_answer(site_door: Door, monkeypatch: Any) -> None:
    from llmcache.views import answers

    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    site_door.ask("answer")
    monkeypatch.setattr(answers, "VERSION", 99)
    assert site_door.ask("answer").content == b"answer 2"


@pytest.mark.django_db(transaction=True)
def test_user_in_view_is_a_real_user(site_door: Door) -> None:
    User.objects.create_user("ann")
    counted = Counted(lambda request: HttpResponse(request.path))
    site_door.serve(answer=decorated(site_door, counted))
    client = site_door.client()
    client.force_login(User.objects.get())
    said = [site_door.ask("answer", client) for _ in range(2)]
    assert said[1]["X-LLMCache-Outcome"] == "hit"
    assert said[1]["Cache-Control"] == "private" and "Cookie" in said[1]["Vary"]


class Listener(llmcache.CustomLogger):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.heard.append((response_obj["status"], response_obj.usage, kwargs["cache_hit"]))

    async def async_log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)


@pytest.mark.parametrize("streams", [False, True])
def test_callbacks_hear_of_views_and_get_the_head_of_the_answer(
    site_door: Door, streams: bool
) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    listener = Listener()
    llmcache.callbacks = [listener]

    def answer(request: Any) -> Any:
        if streams:
            return StreamingHttpResponse(site_door.chunks(part for part in (b"one", b"two")))
        return JsonResponse({"usage": usage})

    site_door.serve(answer=decorated(site_door, Counted(answer)))
    for _ in range(2):
        site_door.ask("answer")
    said = None if streams else usage
    assert listener.heard == [(200, said, False), (200, said, True)]
