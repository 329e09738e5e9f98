"""What of a request makes another key."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse

from llmcache.decorators import cached_completion
from tests.decorators.doors import Counted, Door, decorated


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
