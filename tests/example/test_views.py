"""The example's sync, async and streaming views, asked over HTTP with a real model behind them."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.servers.site import ROOT


@pytest.mark.parametrize("path", ["/ask/sync/", "/ask/async/"])
def test_a_view_misses_and_then_hits(site: str, path: str) -> None:
    question = {"q": f"Say yes to {path}"}
    first, second = (
        httpx.get(f"{site}{path}", params=question, timeout=60).json() for _ in range(2)
    )
    assert first["cache"]["outcome"] == "miss"
    assert second["cache"]["outcome"] == "hit"
    assert second["answer"] == first["answer"] != ""
    assert second["cache"]["saved_tokens"] > 0


def test_the_streaming_view_shares_its_entries_with_the_sync_one(site: str) -> None:
    question = "Say yes to a stream"
    with httpx.Client(base_url=site, timeout=60) as client:
        client.get("/")
        lines = client.post(
            "/ask/streaming/",
            data={"question": question},
            headers={"X-CSRFToken": client.cookies["csrftoken"]},
        ).text.splitlines()
        plain = client.get("/ask/sync/", params={"q": question}).json()
    *pieces, last = map(json.loads, lines)
    assert last["cache"]["outcome"] == "miss"
    assert plain["cache"]["outcome"] == "hit"
    assert plain["answer"] == "".join(piece["text"] for piece in pieces)


def test_a_stream_from_another_site_is_refused(site: str) -> None:
    response = httpx.post(f"{site}/ask/streaming/", data={"question": "hello"})
    assert response.status_code == 403


@pytest.mark.parametrize("path", ["/ask/sync/", "/ask/async/"])
def test_an_empty_question_is_a_clear_error(site: str, path: str) -> None:
    response = httpx.get(f"{site}{path}", params={"q": " "})
    assert response.status_code == 400
    assert "empty" in response.json()["error"]


def test_every_page_has_a_policy_that_forbids_inline_script(site: str) -> None:
    for path in ("/", "/admin/login/", "/ask/sync/"):
        policy = httpx.get(f"{site}{path}").headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy


def test_the_icon_that_browsers_ask_for_is_there(site: str) -> None:
    answer = httpx.get(f"{site}/favicon.ico", timeout=60)
    assert answer.status_code == 302
    path = answer.headers["Location"].removeprefix("/static/")
    assert (ROOT / "example_project/static" / path).is_file()
