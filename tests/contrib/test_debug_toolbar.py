"""The panel of django-debug-toolbar, over real requests to views that call a model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import AsyncClient, Client, override_settings

import llmcache
from llmcache import events, signals
from llmcache.recorder import flush
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream
from tests.contrib.views import question
from tests.settings import INSTALLED_APPS, MIDDLEWARE

pytestmark = pytest.mark.django_db

PANEL = "llmcache.contrib.debug_toolbar.LLMCachePanel"


def shows(request: Any) -> bool:
    return "off" not in request.GET


@pytest.fixture(autouse=True)
def toolbar() -> Iterator[Any]:
    """A site with the toolbar; what the panels of the last requests have recorded."""
    settings = {
        "INSTALLED_APPS": [*INSTALLED_APPS, "debug_toolbar"],
        "MIDDLEWARE": ["debug_toolbar.middleware.DebugToolbarMiddleware", *MIDDLEWARE],
        "ROOT_URLCONF": "tests.contrib.urls",
        "DEBUG_TOOLBAR_PANELS": ["debug_toolbar.panels.history.HistoryPanel", PANEL],
        "DEBUG_TOOLBAR_CONFIG": {
            "SHOW_TOOLBAR_CALLBACK": f"{__name__}.shows",
            "RENDER_PANELS": False,  # keep them for the history, and show them from there
        },
    }
    with override_settings(**settings):
        from debug_toolbar.toolbar import DebugToolbar  # its models need the app

        DebugToolbar._panel_classes = DebugToolbar._urlpatterns = None
        seen: list[Any] = []

        def keep(toolbar: Any, **kwargs: Any) -> None:
            seen.append(toolbar)

        DebugToolbar._created.connect(keep)
        yield seen
        DebugToolbar._created.disconnect(keep)
        DebugToolbar._panel_classes = DebugToolbar._urlpatterns = None


def rows(toolbar: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = toolbar.stats["LLMCachePanel"]["calls"]
    return found


def panel(toolbar: Any) -> Any:
    return toolbar.get_panel_by_id("LLMCachePanel")


def nobody_listens() -> bool:
    return not signals.call_finished.receivers and not signals.call_failed.receivers


def test_each_call_of_a_view_has_a_row(client: Client, toolbar: list[Any]) -> None:
    body = client.get("/ask/why?times=3").content.decode()
    miss, hit, again = rows(toolbar[0])
    assert [row["outcome"] for row in (miss, hit, again)] == ["miss", "hit", "hit"]
    assert (hit["call_type"], hit["model"]) == ("completion", "gpt-4o-mini")
    assert hit["layer"] == hit["alias"] == "default"
    assert hit["saved_tokens"] > 0 and hit["saved_cost"] > 0
    assert miss["saved_tokens"] == 0 and miss["saved_cost"] is None and miss["age"] is None
    assert 0 < hit["age"] < 60 and 0 < hit["ms"] < 60_000
    assert len(hit["key"]) == 64 and hit["key"] == miss["key"]
    assert panel(toolbar[0]).nav_subtitle == "3 calls, 2 hits"
    assert panel(toolbar[0]).title == "LLM calls: 3 calls, 2 hits"
    assert "3 calls, 2 hits" in body


async def test_calls_of_an_async_view_have_rows(
    async_client: AsyncClient, toolbar: list[Any]
) -> None:
    await async_client.get("/aask/why?times=2")
    found = [(row["call_type"], row["outcome"]) for row in rows(toolbar[0])]
    assert found == [("acompletion", "miss"), ("acompletion", "hit")]


async def test_calls_of_a_sync_view_under_asgi_have_rows(
    async_client: AsyncClient, toolbar: list[Any]
) -> None:
    await async_client.get("/ask/why?times=2")
    assert [row["outcome"] for row in rows(toolbar[0])] == ["miss", "hit"]


def test_calls_of_an_async_view_under_wsgi_have_rows(client: Client, toolbar: list[Any]) -> None:
    client.get("/aask/why?times=2")
    assert [row["outcome"] for row in rows(toolbar[0])] == ["miss", "hit"]


async def test_calls_in_tasks_and_threads_of_a_request_have_rows(
    async_client: AsyncClient, toolbar: list[Any]
) -> None:
    await async_client.get("/tasks/why")
    kinds = sorted(row["call_type"] for row in rows(toolbar[0]))
    assert kinds == ["acompletion", "acompletion", "acompletion", "completion"]


def test_calls_in_threads_that_have_the_context_have_rows(
    client: Client, toolbar: list[Any]
) -> None:
    client.get("/threads/why")
    assert len(rows(toolbar[0])) == 3


async def test_requests_at_once_do_not_mix(
    async_client: AsyncClient, toolbar: list[Any], upstream: FakeUpstream
) -> None:
    upstream.latency = 0.05
    await asyncio.gather(*(async_client.get(f"/aask/text{n}?times={n}") for n in (1, 2, 3)))
    assert sorted(len(rows(one)) for one in toolbar) == [1, 2, 3]
    assert all(len({row["key"] for row in rows(one)}) == 1 for one in toolbar)
    assert nobody_listens()


def test_threads_that_serve_requests_at_once_do_not_mix(
    toolbar: list[Any], upstream: FakeUpstream
) -> None:
    upstream.latency = 0.05
    servers = [
        threading.Thread(target=Client().get, args=[f"/fail/text{n}?number={n}"]) for n in range(4)
    ]
    for server in servers:
        server.start()
    for server in servers:
        server.join()
    assert [len(rows(one)) for one in toolbar] == [1, 1, 1, 1]
    assert nobody_listens()


def test_a_request_within_a_request_has_its_own_rows(client: Client, toolbar: list[Any]) -> None:
    client.get("/nested/why?times=1")
    outer, inner = map(rows, toolbar)
    assert [row["outcome"] for row in outer] == ["hit"]
    assert [row["outcome"] for row in inner] == ["miss", "hit"]
    assert nobody_listens()


def test_it_listens_only_while_a_request_is_under_way(client: Client) -> None:
    heard: list[bool] = []

    class Listener(events.CustomLogger):
        def log_success_event(self, *args: Any) -> None:
            heard.append(not nobody_listens())

    events.callbacks.append(Listener())
    client.get("/ask/why")
    client.get("/ask/why?off")
    assert heard == [True, False]
    assert nobody_listens()


def test_a_view_that_raises_leaves_nobody_listening(client: Client, upstream: FakeUpstream) -> None:
    upstream.fail = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        client.get("/ask/why")
    assert nobody_listens()


def test_calls_outside_of_requests_are_not_shown(client: Client, toolbar: list[Any]) -> None:
    client.get("/ask/why")
    llmcache.completion(**question("outside"))
    client.get("/ask/why")
    assert [len(rows(one)) for one in toolbar] == [1, 1]


def test_a_call_that_fails_has_a_row_without_the_text_of_the_error(
    client: Client, toolbar: list[Any], upstream: FakeUpstream
) -> None:
    upstream.fail = 503
    client.get("/fail/why")
    (row,) = rows(toolbar[0])
    assert (row["outcome"], row["reason"]) == ("failed", "ServerFailed (503)")
    assert row["ms"] > 0 and row["alias"] == "default"
    assert panel(toolbar[0]).nav_subtitle == "1 call, 0 hits"


def test_nothing_of_a_prompt_an_answer_or_an_error_is_recorded(
    client: Client, toolbar: list[Any], upstream: FakeUpstream
) -> None:
    cache = {"ttl": 0.001, "stale-if-error": 3600}
    llmcache.completion(**question("swordfish"), cache=cache)
    client.get("/ask/swordfish")
    client.get("/embed/swordfish-tunafish")
    upstream.fail = 400
    client.get("/fail/swordfish-fails")
    kept = json.dumps([one.stats["LLMCachePanel"] for one in toolbar])
    shown = "".join(panel(one).content for one in toolbar)
    assert "swordfish" not in kept + shown
    assert "asked to fail" not in kept + shown


def test_the_reason_of_a_stale_answer_does_not_quote_the_error(
    client: Client, toolbar: list[Any]
) -> None:
    with override_settings(LLMCACHE_CONFIG={"DEFAULT_STALE_IF_ERROR": 3600}):
        llmcache.completion(**question("why"), cache={"ttl": 0.001})
        time.sleep(0.01)
        provider = upstreams["default"]
        assert isinstance(provider, FakeUpstream)
        provider.fail = 503
        client.get("/ask/why")
    (row,) = rows(toolbar[0])
    assert (row["outcome"], row["reason"]) == ("stale", "upstream failed")


def test_a_stream_has_a_row_once_it_has_been_read(client: Client, toolbar: list[Any]) -> None:
    client.get("/read/why")
    (row,) = rows(toolbar[0])
    assert (row["outcome"], row["streamed"]) == ("miss", True)


def test_a_stream_read_after_the_view_is_not_shown(client: Client, toolbar: list[Any]) -> None:
    assert b"".join(client.get("/pass/why").streaming_content)
    assert rows(toolbar[0]) == []
    assert panel(toolbar[0]).nav_subtitle == "0 calls, 0 hits"


def test_the_key_leads_to_the_entry_in_the_admin(admin_client: Client, toolbar: list[Any]) -> None:
    admin_client.get("/ask/why")
    flush()
    (row,) = rows(toolbar[0])
    found = admin_client.get(row["url"] + "&off=1", follow=True).content.decode()
    assert f'href="{row["url"]}"' in panel(toolbar[0]).content
    assert row["key"][:12] in found


def test_without_the_admin_the_key_is_no_link(client: Client, toolbar: list[Any]) -> None:
    with override_settings(ROOT_URLCONF="tests.contrib.urls_without_admin"):
        client.get("/ask/why")
        content = panel(toolbar[0]).content
    assert rows(toolbar[0])[0]["url"] == "" and "href" not in content
    assert rows(toolbar[0])[0]["key"][:12] in content


def test_names_that_callers_give_are_escaped(client: Client, toolbar: list[Any]) -> None:
    client.get("/ask/why", {"model": "<script>alert(1)</script>"})
    content = panel(toolbar[0]).content
    assert "&lt;script&gt;" in content and "<script>alert" not in content


def test_a_name_that_has_no_encoding_does_not_break_the_page(
    client: Client, toolbar: list[Any]
) -> None:
    assert client.get("/odd/why").status_code == 200
    assert "\N{REPLACEMENT CHARACTER}" in panel(toolbar[0]).content


def test_the_panel_of_an_earlier_request_can_be_shown_from_the_history(
    client: Client, toolbar: list[Any]
) -> None:
    client.get("/ask/why?times=2")
    request_id = getattr(toolbar[0], "request_id", None) or toolbar[0].store_id
    parameters = {"request_id": request_id, "store_id": request_id, "panel_id": "LLMCachePanel"}
    answer = client.get("/__debug__/render_panel/", parameters).json()
    assert "gpt-4o-mini" in answer["content"] and ">hit<" in answer["content"]


def test_a_request_without_calls_says_so(client: Client, toolbar: list[Any]) -> None:
    client.get("/ask/why?times=0")
    assert "no calls" in panel(toolbar[0]).content


def test_the_time_of_the_calls_is_a_server_timing(client: Client) -> None:
    response = client.get("/ask/why?times=2")
    assert "LLMCachePanel_calls;dur=" in response["Server-Timing"]


def test_calls_of_threads_that_no_request_knows_of_are_not_shown(
    client: Client, toolbar: list[Any], upstream: FakeUpstream
) -> None:
    def elsewhere() -> None:
        llmcache.completion(**question("elsewhere"))
        upstream.fail = 503
        with contextlib.suppress(llmcache.UpstreamError):
            llmcache.completion(**question("fails elsewhere"))
        upstream.fail = None

    class Listener(events.CustomLogger):
        def log_success_event(self, *args: Any) -> None:
            events.callbacks.clear()
            thread = threading.Thread(target=elsewhere)  # begins in an empty context
            thread.start()
            thread.join()

    events.callbacks.append(Listener())
    client.get("/ask/why")
    assert upstream.call_count == 3
    (row,) = rows(toolbar[0])
    assert (row["outcome"], row["reason"]) == ("miss", "")


def test_a_panel_that_is_put_on_or_off_twice_takes_no_rows_from_another(
    client: Client, toolbar: list[Any]
) -> None:
    for _ in range(2):
        client.get("/ask/why?times=0")
    one, other = map(panel, toolbar)
    for step in (
        *(other.enable_instrumentation, other.disable_instrumentation),
        *(one.enable_instrumentation, other.disable_instrumentation),
    ):
        step()
    llmcache.completion(**question("first"))
    for step in (other.enable_instrumentation, other.enable_instrumentation):
        step()
    other.disable_instrumentation()
    llmcache.completion(**question("second"))
    one.disable_instrumentation()
    assert nobody_listens()
    for shown in (one, other):
        shown.generate_stats(None, None)
    assert [len(rows(each)) for each in toolbar] == [2, 0]
