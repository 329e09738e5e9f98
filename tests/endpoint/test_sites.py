"""The endpoint on sites that are set up otherwise, and requests that must be refused in words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from django.db import DatabaseError, connections
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from llmcache.endpoint import limits
from llmcache.models import HourlyStat, VirtualKey
from llmcache.upstreams.fake import FakeUpstream
from tests.endpoint.conftest import CHAT, Caller
from tests.servers.ports import free_port, wait_for
from tests.servers.provider import Provider

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def wire(settings: Any, provider: Provider) -> Provider:
    """A provider over HTTP, so that what is sent is what is seen."""
    options = {"base_url": provider.base_url, "api_key": "sk-of-the-site", "max_retries": 0}
    settings.LLMCACHE_PROVIDERS = {"default": {"OPTIONS": options}}
    return provider


def test_a_key_cannot_reach_another_model_by_an_extra_body(
    caller: Caller, key: Callable[..., str], wire: Provider
) -> None:
    body = {**CHAT, "model": "cheap", "extra_body": {"model": "expensive"}}
    found = caller.post("v1/chat/completions", body, key(allowed_models=["cheap"]))
    assert found.status_code == 400 and b"extra_body" in found.content
    assert wire.requests == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", b'{"model":"m","messages":[],"stream":true,"stream_options":5}'),
        ("chat/completions", b'{"model":"m","messages":' + b"[" * 300 + b"]" * 300 + b"}"),
        ("embeddings", b'{"model":"m","input":[' + b"[" * 300 + b"]" * 300 + b"]}"),
    ],
)
def test_what_cannot_be_sent_is_the_callers_error(
    caller: Caller, key: Callable[..., str], wire: Provider, path: str, body: bytes
) -> None:
    assert caller.post(f"v1/{path}", body, key()).status_code == 400
    assert wire.requests == []


def test_a_header_that_cannot_be_sent_is_the_callers_error(
    caller: Caller, key: Callable[..., str], wire: Provider
) -> None:
    found = caller.post("v1/chat/completions", CHAT, key(), headers={"OpenAI-Beta": "a\x01"})
    assert found.status_code == 400


def test_forms_over_djangos_limits_are_refused_in_words(
    caller: Caller, key: Callable[..., str]
) -> None:
    token, part = key(), b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    kind = "multipart/form-data; boundary=x"
    for body, status in (
        (part % (b"prompt", b"a" * 3_000_000), 413),
        (b"".join(part % (b"f%d" % number, b"1") for number in range(1500)), 400),
    ):
        found = caller.send(
            "POST", "v1/audio/transcriptions", body + b"--x--\r\n", token, content_type=kind
        )
        assert found.status_code == status, found.content


def test_a_compressed_body_is_refused(caller: Caller, key: Callable[..., str]) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert caller.post("v1/chat/completions", b"\x1f", key(), headers=headers).status_code == 415


def test_every_unknown_path_is_an_error_that_an_sdk_can_read(
    caller: Caller, key: Callable[..., str]
) -> None:
    for path in ("foo", "v1/foo", "chat/completions", ""):
        found = caller.get(path, key(f"key {path}"))
        assert found.status_code == 404 and found.json()["error"]["code"] == "unknown_url"


@pytest.mark.urls("tests.endpoint.urls")
def test_a_site_with_the_endpoint_still_finds_its_own_pages() -> None:
    assert reverse("admin:llmcache_entry_changelist") == "/admin/llmcache/entry/"
    assert reverse("llmcache:chat-completions") == "/llm/v1/chat/completions"
    assert reverse("llmcache:model", args=["org/model"]) == "/llm/v1/models/org/model"


def test_a_site_with_a_transaction_for_each_request(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream, monkeypatch: Any
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    assert caller.post("v1/chat/completions", CHAT, key()).status_code == 200


def test_a_site_where_every_view_wants_a_user(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream, settings: Any
) -> None:
    login = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, login]
    assert caller.post("v1/chat/completions", CHAT, key()).status_code == 200


def test_a_request_stays_in_its_thread_or_on_its_loop(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream, monkeypatch: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(type(upstream), "call", _noting(asked, "call", type(upstream).call))
    monkeypatch.setattr(type(upstream), "acall", _noting(asked, "acall", type(upstream).acall))
    monkeypatch.setattr("llmcache.endpoint.serving.sync_to_async", None)
    assert caller.post("v1/chat/completions", CHAT, key()).status_code == 200
    assert asked == ["acall" if caller.is_async else "call"]


def _noting(asked: list[str], name: str, function: Any) -> Any:
    def noted(*args: Any) -> Any:
        asked.append(name)
        return function(*args)

    return noted


def test_a_database_that_is_away_forgives_no_spending(
    key: Callable[..., str], monkeypatch: Any
) -> None:
    key(budget=1.0)
    holder = VirtualKey.objects.get().holder()
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    HourlyStat.objects.create(hour=hour, outcome="miss", caller=holder.caller, calls=1, cost=5.0)

    def away(*args: Any, **kwargs: Any) -> Any:
        raise DatabaseError("away")

    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "aggregate", away)
        limits.admit(holder)
    assert limits.spent(holder) == 5.0


def test_stats_are_told_while_the_counters_fail(
    caller: Caller, key: Callable[..., str], monkeypatch: Any
) -> None:
    token = key(budget=1.0)

    def away() -> Any:
        raise OSError("away")

    monkeypatch.setattr(limits, "_cache", away)
    found = caller.get("cache/stats", token)
    assert found.status_code == 200 and found.json()["spent_of_budget"] is None


SITE = """
import os
from django.conf import settings
settings.configure(
    SECRET_KEY="a key for tests only", ALLOWED_HOSTS=["*"], USE_TZ=True,
    ROOT_URLCONF="tests.endpoint.urls_alone",
    INSTALLED_APPS=["llmcache"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE_DB"]}},
    LLMCACHE_CONFIG={"ENDPOINT_MAX_BODY": 1000},
    LLMCACHE_PROVIDERS={"default": {
        "BACKEND": "llmcache.upstreams.fake.FakeUpstream", "OPTIONS": {"chunk_latency": 0.1}}},
)
from django.core.wsgi import get_wsgi_application
wsgi = get_wsgi_application()
"""
MAKE_KEY = """
from gunicorn_site import wsgi
from django.core.management import call_command
from llmcache.models import VirtualKey
call_command("migrate", verbosity=0)
key = VirtualKey(name="a")
print(key.renew())
key.save()
"""


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client, with a key, of the endpoint under gunicorn with two workers."""
    (tmp_path / "gunicorn_site.py").write_text(SITE)
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "SITE_DB": str(tmp_path / "site.sqlite3")}
    made = subprocess.run(
        [sys.executable, "-c", MAKE_KEY], env=env, capture_output=True, text=True, check=True
    )
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "gunicorn_site:wsgi"),
            *(f"--bind=127.0.0.1:{port}", "--workers=2", "--threads=2"),
        ],
        env=env,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        headers = {
            "Authorization": f"Bearer {made.stdout.strip()}",
            "Content-Type": "application/json",
        }
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/llm/v1", headers=headers) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


def test_bodies_in_chunks_are_read_under_gunicorn(gunicorn: httpx.Client) -> None:
    body = orjson.dumps(CHAT)
    found = gunicorn.post("/chat/completions", content=iter([body[:9], body[9:]]))
    assert found.status_code == 200, found.text


def test_bodies_in_chunks_are_held_to_the_limit(gunicorn: httpx.Client) -> None:
    found = gunicorn.post("/chat/completions", content=iter([b" " * 600] * 2))
    assert found.status_code == 413


def test_events_arrive_one_by_one_under_gunicorn(gunicorn: httpx.Client) -> None:
    words = " ".join(str(number) for number in range(60))
    body = {**CHAT, "messages": [{"role": "user", "content": words}], "stream": True}
    with gunicorn.stream("POST", "/chat/completions", json=body) as response:
        pieces = list(response.iter_raw())
    assert len(pieces) > 3 and pieces[-1].endswith(b"[DONE]\n\n")
