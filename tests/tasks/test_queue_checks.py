"""What the system checks say of WRITER and RECORDER that name a task queue."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from celery import Celery, _state
from django.test import override_settings

from llmcache.checks import check_settings

DISK = "llmcache.backends.disk.DiskBackend"
needs_django_6 = pytest.mark.skipif(django.VERSION < (6,), reason="django.tasks came with Django 6")


def said(**settings: Any) -> dict[str | None, str]:
    with override_settings(**settings):
        return {message.id: message.msg for message in check_settings()}


@pytest.fixture
def shared(tmp_path: Path) -> dict[str, Any]:
    """LLMCACHE with a store that workers reach."""
    return {"default": {"BACKEND": DISK, "LOCATION": str(tmp_path)}}


@pytest.fixture
def app() -> Iterator[Celery]:
    """The site's Celery application, as long as the test lasts."""
    before = _state._tls.current_app
    made = Celery("site", broker="redis://127.0.0.1:1/0", set_as_current=True)
    yield made
    _state._set_current_app(before)


@pytest.mark.parametrize("name", ["WRITER", "RECORDER"])
def test_celery_that_is_not_installed_is_an_error_that_names_the_extra(
    name: str, shared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "llmcache.queue_checks.find_spec", lambda n: None if n == "celery" else found(n)
    )
    messages = said(LLMCACHE=shared, LLMCACHE_CONFIG={name: "celery"})
    assert list(messages) == ["llmcache.E005"]
    assert messages["llmcache.E005"].startswith(f"LLMCACHE_CONFIG['{name}']")


def test_celery_without_a_broker_is_a_warning(
    app: Celery, shared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    config = {"WRITER": "celery", "RECORDER": "celery"}
    assert said(LLMCACHE=shared, LLMCACHE_CONFIG=config) == {}
    app.conf.broker_url = None
    assert list(said(LLMCACHE=shared, LLMCACHE_CONFIG=config)) == ["llmcache.W107"]


@pytest.mark.skipif(django.VERSION >= (6,), reason="this Django has django.tasks")
def test_django_tasks_before_django_6_is_an_error(shared: dict[str, Any]) -> None:
    messages = said(LLMCACHE=shared, LLMCACHE_CONFIG={"WRITER": "django.tasks"})
    assert list(messages) == ["llmcache.E005"]


@needs_django_6
@pytest.mark.parametrize("backend", ["immediate.ImmediateBackend", "dummy.DummyBackend"])
def test_django_tasks_without_a_worker_is_a_warning(shared: dict[str, Any], backend: str) -> None:
    tasks = {"default": {"BACKEND": f"django.tasks.backends.{backend}"}}
    config = {"RECORDER": "django.tasks"}
    messages = said(LLMCACHE=shared, LLMCACHE_CONFIG=config, TASKS=tasks)
    assert list(messages) == ["llmcache.W107"]
    tasks = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
    assert said(LLMCACHE=shared, LLMCACHE_CONFIG=config, TASKS=tasks) == {}


@pytest.mark.parametrize("layered", [False, True])
def test_a_default_store_that_workers_cannot_reach_is_a_warning(
    app: Celery, shared: dict[str, Any], layered: bool
) -> None:
    memory = {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    both = {
        "default": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["near", "far"]},
        },
        "near": memory,
        "far": shared["default"],
    }
    stores = both if layered else {"default": memory}
    config = {"WRITER": "celery"}
    assert "llmcache.W108" in said(LLMCACHE=stores, LLMCACHE_CONFIG=config)
    assert "llmcache.W108" not in said(LLMCACHE=stores, LLMCACHE_CONFIG={"WRITER": "thread"})
