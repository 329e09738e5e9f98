"""What the pages about other packages show works as it is written there."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.template import Context, Template
from django.test import Client, override_settings
from django.utils.module_loading import import_string
from prometheus_client import CollectorRegistry, generate_latest

import llmcache
from llmcache.contrib import prometheus
from llmcache.recorder import flush
from tests.contrib.views import question

DOCS = Path(__file__).parent.parent.parent / "docs"

pytestmark = pytest.mark.django_db


def blocks(name: str, language: str) -> list[str]:
    text = (DOCS / f"{name}.md").read_text()
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(block: str) -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "documented"}
    exec(compile(block, "docs", "exec"), found)
    return found


def site(found: dict[str, Any]) -> override_settings:
    urls = ModuleType("urls")
    urls.__dict__["urlpatterns"] = found["urlpatterns"]
    return override_settings(ROOT_URLCONF=urls)


def test_the_panel_of_the_settings_exists() -> None:
    (settings, _) = map(run, blocks("contrib_debug_toolbar", "python"))
    assert import_string(settings["DEBUG_TOOLBAR_PANELS"][-1]).panel_id == "LLMCachePanel"


def test_the_threads_of_the_page_ask() -> None:
    (_, threads) = map(run, blocks("contrib_debug_toolbar", "python"))
    assert threads["answers"](["why", "how"]) == ["You said: why", "You said: how"]


def test_the_urls_of_the_health_check_work(tmp_path: Path) -> None:
    urls, _ = blocks("contrib_health_check", "python")
    disk = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    with override_settings(LLMCACHE={"default": {}, "disk": disk}), site(run(urls)):
        answer = Client().get("/health/", {"format": "json"}).json()
    assert "LLMCacheHealthCheck(alias='disk')" in answer and set(answer.values()) == {"OK"}


def test_the_times_of_the_health_check_can_be_read() -> None:
    _, times = blocks("contrib_health_check", "python")
    assert run(times)["check"].times["default"]["read"] > 0


def test_the_app_and_the_view_of_prometheus_work() -> None:
    app, view = map(run, blocks("contrib_prometheus", "python"))
    app["ShopConfig"].ready(None)
    try:
        llmcache.completion(**question("why"))
        with site(view):
            assert b"llmcache_calls_total{" in Client().get("/metrics").content
    finally:
        prometheus.unregister()


def test_every_metric_is_documented_and_none_besides() -> None:
    registry = CollectorRegistry()
    prometheus.register(registry)
    shown = generate_latest(registry).decode()
    prometheus.unregister(registry)
    real = set(re.findall(r"^# TYPE (\S+)", shown, re.MULTILINE))
    text = (DOCS / "contrib_prometheus.md").read_text()
    assert set(re.findall(r"`(llmcache_\w+)`", text)) == real


def test_the_templates_of_the_page_show_figures() -> None:
    for _ in range(4):
        llmcache.completion(**question("why"))
    flush()
    own, short = (
        Template(block).render(Context()) for block in blocks("template_tag", "html+django")
    )
    assert "3 of 4 answers" in own and "(75 %)" in own
    assert "The last 168 hours" in short
