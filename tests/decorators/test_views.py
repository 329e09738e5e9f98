"""Cached views: what is stored, and how it comes back."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import FileResponse, Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views import View

import llmcache
from llmcache import InvalidRequest, UpstreamError
from llmcache.decorators import cached_completion
from llmcache.exceptions import ServerFailed
from llmcache.models import Call, Entry
from llmcache.recorder import flush
from tests.decorators.doors import Door


class Counted:
    """A view that counts its calls and answers with their number, or as `answer` says."""

    def __init__(self, answer: Any = None) -> None:
        self.calls = 0
        self._answer = answer
        self._lock = threading.Lock()

    def __call__(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self.calls += 1
        if self._answer is None:
            return HttpResponse(f"answer {self.calls}")
        return self._answer(request)


def decorated(door: Door, counted: Any, **kwargs: Any) -> Any:
    def answer(request: Any, *args: Any, **more: Any) -> Any:
        return counted(request, *args, **more)

    return cached_completion(**kwargs)(door.view(answer))


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


CHUNKS = [b"data: one\n\n", b"", b"data: \\n \\\\ two\n\n", bytes(range(256)), b'{"choices":[]}']


def test_a_stream_is_replayed_chunk_by_chunk(site_door: Door) -> None:
    counted = Counted(
        lambda request: StreamingHttpResponse(
            site_door.chunks(part for part in CHUNKS), content_type="text/event-stream"
        )
    )
    site_door.serve(answer=decorated(site_door, counted))
    first, second = site_door.ask("answer"), site_door.ask("answer")
    assert counted.calls == 1
    assert first.said == second.said == b"".join(CHUNKS)
    assert second["Content-Type"] == "text/event-stream"
    assert (first["X-LLMCache-Outcome"], second["X-LLMCache-Outcome"]) == ("miss", "hit")
    assert second.streaming


def test_a_stream_that_breaks_reaches_its_caller_and_is_not_stored(site_door: Door) -> None:
    def parts() -> Any:
        yield b"one"
        raise RuntimeError("broken")

    counted = Counted(lambda request: StreamingHttpResponse(site_door.chunks(parts())))
    site_door.serve(answer=decorated(site_door, counted))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            site_door.ask("answer")
    assert counted.calls == 2


def test_a_visitor_who_goes_away_closes_the_views_stream_and_nothing_is_stored(
    site_door: Door,
) -> None:
    closed = []

    def parts() -> Any:
        try:
            for number in range(1000):
                yield b"%d" % number
        finally:
            closed.append(True)

    counted = Counted(lambda request: StreamingHttpResponse(site_door.chunks(parts())))
    site_door.serve(answer=decorated(site_door, counted))
    if site_door.is_async:

        async def leave() -> None:
            response = await site_door.client().get("/answer/")
            content = response._iterator
            assert await anext(content) == b"0"
            await content.aclose()
            del response, content
            while not closed:  # what nobody holds any more is closed by the loop
                await asyncio.sleep(0.01)

        site_door.run(leave())
    else:
        response = site_door.client().get("/answer/")
        assert next(iter(response.streaming_content)) == b"0"
        response.close()
    assert closed == [True]
    assert site_door.ask("answer")["X-LLMCache-Outcome"] == "miss"


def test_the_first_chunk_arrives_before_the_second_is_made(site_door: Door) -> None:
    made = []

    def parts() -> Any:
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    view = decorated(site_door, Counted(lambda r: StreamingHttpResponse(site_door.chunks(parts()))))
    site_door.serve(answer=view)
    if site_door.is_async:

        async def first() -> None:
            response = await site_door.client().get("/answer/")
            assert await anext(response._iterator) == b"0"

        site_door.run(first())
    else:
        assert next(iter(site_door.client().get("/answer/"))) == b"0"
    assert made == [0]


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


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ({"data": {"a": "1", "b": "2"}}, {"data": {"b": "2", "a": "1"}}, True),
        ({"data": {"a": ["1", "2"]}}, {"data": {"a": ["2", "1"]}}, False),
        ({"data": {"a": "1"}}, {"data": {"a": "2"}}, False),
        ({"headers": {"accept-language": "de"}}, {"headers": {"accept-language": "fr"}}, True),
    ],
)
def test_what_of_a_query_makes_another_key(
    site_door: Door, first: Any, second: Any, shared: bool
) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    same = site_door.ask("answer", **first).content == site_door.ask("answer", **second).content
    assert same is shared


def test_another_host_has_answers_of_its_own(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "example.org"]
    site, counted = Door(settings, is_async=False), Counted()
    site.serve(answer=decorated(site, counted))
    assert site.ask("answer").content != site.ask("answer", HTTP_HOST="example.org").content


JSON = "application/json"


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        (('{"a": 1, "b": 2}', JSON), ('{"b":2,"a":1}', JSON), True),
        (('{"a": 1}', JSON), ('{"a": "1"}', JSON), False),
        (('{"a": 1}', JSON), ('{"a": 1}', "text/plain"), False),
        ((f'{{"a": {2**70}}}', JSON), (f'{{"a": {2**70 + 1}}}', JSON), False),
        (("{broken", JSON), ("{broken ", JSON), False),
        (("words", "text/plain"), ("words", "text/plain"), True),
        (("q=1&csrfmiddlewaretoken=a", "application/x-www-form-urlencoded"),
         ("csrfmiddlewaretoken=b&q=1", "application/x-www-form-urlencoded"), True),
        (("q=1", "application/x-www-form-urlencoded"),
         ("q=2", "application/x-www-form-urlencoded"), False),
    ],
)  # fmt: skip
def test_what_of_a_body_makes_another_key(
    site_door: Door, first: Any, second: Any, shared: bool
) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    said = [
        site_door.ask("answer", method="post", data=data, content_type=kind).content
        for data, kind in (first, second)
    ]
    assert (said[0] == said[1]) is shared


def test_files_are_keyed_by_their_content_and_the_view_still_reads_them(site_door: Door) -> None:
    counted = Counted(lambda request: HttpResponse(request.FILES["file"].read()))
    site_door.serve(answer=decorated(site_door, counted))

    def send(content: bytes) -> Any:
        file = SimpleUploadedFile("name", content)
        return site_door.ask("answer", method="post", data={"file": file}).content

    assert [send(b"one"), send(b"two"), send(b"one")] == [b"one", b"two", b"one"]
    assert counted.calls == 2


def test_the_view_still_reads_the_body_of_a_form_with_files(site_door: Door) -> None:
    counted = Counted(lambda request: HttpResponse(request.body[-20:]))
    site_door.serve(answer=decorated(site_door, counted))
    said = site_door.ask("answer", method="post", data={"file": SimpleUploadedFile("n", b"x")})
    assert said.content.strip().endswith(b"--")


def test_the_view_still_reads_a_json_body(site_door: Door) -> None:
    site_door.serve(answer=decorated(site_door, Counted(lambda r: HttpResponse(r.read() or b"-"))))
    said = site_door.ask("answer", method="post", data="[1]", content_type=JSON)
    assert said.content == b"[1]"


def test_a_body_that_is_too_large_to_key_passes_by_the_cache(
    site_door: Door, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    for number in (1, 2):
        said = site_door.ask("answer", method="post", data="x" * 99, content_type="text/plain")
        assert said.content == f"answer {number}".encode()
        assert said["X-LLMCache-Outcome"] == "bypass"


def test_language_and_time_zone_are_part_of_the_key(site_door: Door, settings: Any) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    settings.LANGUAGE_CODE = "en"
    first = site_door.ask("answer").content
    settings.LANGUAGE_CODE = "de"
    second = site_door.ask("answer").content
    settings.TIME_ZONE = "Asia/Tokyo"
    third = site_door.ask("answer").content
    assert len({first, second, third}) == 3


def test_head_is_answered_from_what_get_has_left_and_leaves_nothing(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    assert site_door.ask("answer", method="head")["X-LLMCache-Outcome"] == "miss"
    assert site_door.ask("answer")["X-LLMCache-Outcome"] == "miss"
    head = site_door.ask("answer", method="head")
    assert (head["X-LLMCache-Outcome"], head.content) == ("hit", b"")
    assert head["Content-Length"] == str(len(b"answer 2"))
    assert counted.calls == 2


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options"])
def test_other_methods_pass(site_door: Door, method: str) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    for _ in range(2):
        assert "Cache-Status" not in site_door.ask("answer", method=method).headers
    assert counted.calls == 2


def test_only_the_methods_that_are_named_are_cached(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted, methods=["GET"]))
    for _ in range(2):
        site_door.ask("answer", method="post", data={"a": "b"})
    assert counted.calls == 2


def test_headers_of_vary_on_are_part_of_the_key_but_not_of_what_is_shown(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted, vary_on=["X-Tenant"]))
    said = {name: site_door.ask("answer", headers={"X-Tenant": name}) for name in ("secret a", "b")}
    assert said["secret a"].content != said["b"].content
    assert "X-Tenant" in said["b"]["Vary"]


def test_an_own_key_stands_for_path_query_and_body(site_door: Door) -> None:
    counted = Counted()
    view = decorated(site_door, counted, key=lambda request: request.GET.get("q", ""))
    site_door.serve(one=view, two=view)
    assert site_door.ask("/one/?q=a&x=1").content == site_door.ask("/two/?q=a&x=2").content
    assert site_door.ask("/one/?q=b").content == b"answer 2"


def test_two_views_with_one_own_key_share_nothing(site_door: Door) -> None:
    def one(request: Any) -> Any:
        return HttpResponse("one")

    def two(request: Any) -> Any:
        return HttpResponse("two")

    mark = cached_completion(key="same")
    site_door.serve(one=mark(site_door.view(one)), two=mark(site_door.view(two)))
    assert (site_door.ask("one").content, site_door.ask("two").content) == (b"one", b"two")


# --- classes ---


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
    assert entry.model.startswith("tests.decorators.test_views.") and entry.kind == "view"
    assert (entry.namespace, [tag.name for tag in entry.tags.all()]) == ("shop", ["books"])
    assert (entry.input_tokens, entry.output_tokens, entry.cost) == (3, 4, 11)
    assert "words" in entry.preview and '"words"' not in entry.material
    hit = Call.objects.get(outcome="hit")
    assert (hit.saved_cost, hit.kind) == (11, "view")


# --- controls ---


def test_visitors_may_use_only_the_directives_that_the_site_allows(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(
        closed=decorated(site_door, counted),
        opened=decorated(site_door, counted, client_controls=["no-cache"]),
    )
    fresh = {"headers": {"Cache-Control": "no-cache"}}
    assert [site_door.ask("closed", **fresh).content for _ in range(2)] == [b"answer 1"] * 2
    assert site_door.ask("opened").content == b"answer 2"
    assert site_door.ask("opened", **fresh).content == b"answer 3"
    assert site_door.ask("opened").content == b"answer 3"


def test_client_controls_of_the_configuration_hold_where_the_decorator_says_nothing(
    site_door: Door, settings: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"CLIENT_CONTROLS": ["no-store"]}
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    for _ in range(2):
        site_door.ask("answer", headers={"Cache-Control": "no-store"})
    assert counted.calls == 2


@pytest.mark.parametrize("expose", [True, False])
def test_only_if_cached_with_nothing_cached_is_504(site_door: Door, expose: bool) -> None:
    counted = Counted()
    view = decorated(site_door, counted, client_controls=["only-if-cached"], expose=expose)
    site_door.serve(answer=view)
    wanted = {"headers": {"Cache-Control": "only-if-cached"}}
    said = site_door.ask("answer", **wanted)
    assert said.status_code == 504 and said["Cache-Status"].startswith("llmcache; fwd=miss")
    assert ("X-LLMCache-Key" in said) is expose
    site_door.ask("answer")
    assert site_door.ask("answer", **wanted).content == b"answer 1"


def test_what_is_not_to_be_exposed_is_not(site_door: Door) -> None:
    site_door.serve(answer=decorated(site_door, Counted(), expose=False))
    first, second = site_door.ask("answer"), site_door.ask("answer")
    assert first["Cache-Status"] == "llmcache; fwd=miss; stored"
    assert second["Cache-Status"].startswith("llmcache; hit; ttl=") and second["Age"] == "0"
    assert not [name for name in second.headers if name.startswith("X-LLMCache")]


@pytest.mark.parametrize("failure", ["error", "status"])
def test_an_old_answer_serves_for_a_view_whose_provider_fails(
    site_door: Door, failure: str
) -> None:
    counted = Counted()

    def answer(request: Any) -> Any:
        if counted.calls == 1:
            return HttpResponse("old")
        if failure == "error":
            raise ServerFailed("the provider is down", status=503)
        return HttpResponse("down", status=502)

    counted._answer = answer
    rescued = {"ttl": 0.05, "cache": {"stale-if-error": 60}}
    site_door.serve(answer=decorated(site_door, counted, **rescued))
    assert site_door.ask("answer").content == b"old"
    threading.Event().wait(0.06)
    said = site_door.ask("answer")
    assert (said.content, said["X-LLMCache-Outcome"]) == (b"old", "stale")
    assert counted.calls == 2


def test_without_an_old_answer_the_views_failure_is_its_visitors(site_door: Door) -> None:
    def fail(request: Any) -> Any:
        raise ServerFailed("down", status=503)

    site_door.serve(answer=decorated(site_door, Counted(fail), cache={"stale-if-error": 60}))
    with pytest.raises(UpstreamError, match="down"):
        site_door.ask("answer")


def test_a_stale_answer_serves_while_the_view_makes_a_new_one(site_door: Door) -> None:
    renewed = threading.Event()
    counted = Counted()

    def answer(request: Any) -> Any:
        if counted.calls > 1:
            renewed.set()
        return HttpResponse(f"answer {counted.calls}")

    counted._answer = answer
    view = decorated(site_door, counted, ttl=0.05, scope=None, cache={"stale-while-revalidate": 60})
    site_door.serve(answer=view)
    assert site_door.ask("answer").content == b"answer 1"
    threading.Event().wait(0.06)
    if site_door.is_async:

        async def ask() -> Any:
            said = await site_door.client().get("/answer/")
            while not renewed.is_set():
                await asyncio.sleep(0.01)
            return said

        said = site_door.run(ask())
    else:
        said = site_door.ask("answer")
        assert renewed.wait(5)
    assert (said.content, said["X-LLMCache-Outcome"]) == (b"answer 1", "stale")


def test_the_cache_switched_off_leaves_the_view_alone(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    with llmcache.disable_cache():
        said = [site_door.ask("answer") for _ in range(2)]
    assert [each.content for each in said] == [b"answer 1", b"answer 2"]
    assert said[0]["Cache-Status"] == "llmcache; fwd=bypass"


def test_a_store_that_fails_does_not_break_the_view(site_door: Door, monkeypatch: Any) -> None:
    from llmcache import caching

    backend = caching.for_alias("default").backend  # type: ignore[union-attr]

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise OSError("away")

    for name in ("get", "aget", "set", "aset", "set_many", "aset_many"):
        monkeypatch.setattr(backend, name, broken, raising=False)
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    said = [site_door.ask("answer").content for _ in range(3)]
    assert said == [b"answer 1", b"answer 2", b"answer 3"]


def test_a_hit_asks_the_database_nothing(
    site_door: Door, db: Any, django_assert_num_queries: Any
) -> None:
    site_door.serve(answer=decorated(site_door, Counted()))
    site_door.ask("answer")
    with django_assert_num_queries(0):
        assert site_door.ask("answer")["X-LLMCache-Outcome"] == "hit"


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


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ttl": -1}, "ttl"),
        ({"ttl": 1, "cache": {"ttl": 2}}, "given twice"),
        ({"cache": {"tll": 1}}, "Did you mean 'ttl'"),
        ({"scope": "users"}, 'must be "user", "session"'),
        ({"methods": ["PUT"]}, "Known: GET, HEAD, POST"),
        ({"methods": "GET"}, "list of names"),
        ({"client_controls": ["no-chache"]}, "Did you mean 'no-cache'"),
        ({"vary_on": "Cookie"}, "list of names"),
        ({"key": 3}, "key must be"),
        ({"tags": "books"}, "list of strings"),
    ],
)
def test_wrong_arguments_are_errors_where_the_decorator_is_written(given: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        cached_completion(**given)


def test_a_class_is_refused_with_the_right_way() -> None:
    with pytest.raises(InvalidRequest, match="method_decorator"):
        cached_completion(View)
