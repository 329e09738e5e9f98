"""The same jobs over Django's own tasks, with a real worker that takes them from the database."""

from __future__ import annotations

import subprocess
import sys
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django
import pytest

from tests.conftest import missing
from tests.servers.celery import Site
from tests.servers.provider import Provider

QUEUE = {"WRITER": "django.tasks", "RECORDER": "django.tasks"}
COUNTS = """
    say({
        "calls": Call.objects.count(),
        "entries": Entry.objects.count(),
        "counted": sum(HourlyStat.objects.values_list("calls", flat=True)),
    })
"""
needs_django_6 = pytest.mark.skipif(django.VERSION < (6,), reason="django.tasks came with Django 6")


@pytest.fixture
def site(tmp_path: Path, provider: Provider) -> Site:
    """A migrated site whose tasks wait in its database."""
    if find_spec("django_tasks_db") is None:
        missing("A worker of django.tasks", "the package django-tasks-db is not installed")
    site = Site(tmp_path, "", provider.base_url, QUEUE, django_tasks=True)
    site.migrate()
    return site


def work(site: Site) -> None:
    """Let a worker do all that waits."""
    done = site.manage("db_worker", "--batch", "--no-startup-delay")
    assert done.returncode == 0, done.stderr


@needs_django_6
def test_a_worker_stores_what_one_process_asked_and_another_process_hits(
    site: Site, provider: Provider
) -> None:
    assert site.run('say(ask("hello", tags=["greeting"]).cache.outcome)') == "miss"
    assert site.run(COUNTS)["entries"] == 0
    work(site)
    assert site.run('say(ask("hello").cache.outcome)') == "hit"
    work(site)
    assert site.run(COUNTS) == {"calls": 2, "entries": 1, "counted": 2}
    assert len(provider.requests) == 1


@needs_django_6
def test_a_queue_that_fails_within_a_transaction_does_not_spoil_it(
    site: Site, postgres: dict[str, Any]
) -> None:
    import psycopg

    name = f"site_{uuid.uuid4().hex}"
    server = {"user": postgres["USER"], "password": postgres["PASSWORD"], "host": postgres["HOST"]}
    port = postgres["PORT"] or None
    with psycopg.connect(dbname="postgres", port=port, autocommit=True, **server) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    site.database = {**postgres, "NAME": name}
    site.migrate()
    said = site.run(
        """
        from django.db import connection, transaction
        from django.contrib.auth.models import Group
        from django_tasks_db.models import DBTaskResult
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {DBTaskResult._meta.db_table}")
        with transaction.atomic():
            Group.objects.create(name="before")
            outcomes = [ask("hello").cache.outcome for _ in range(2)]
            Group.objects.create(name="after")
        say([outcomes, Group.objects.count()])
        """
    )
    assert said == [["miss", "hit"], 2]


@needs_django_6
def test_staff_can_have_a_filter_evicted_by_the_worker(site: Site, provider: Provider) -> None:
    site.run('ask("one"); ask("two", namespace="shop")')
    work(site)
    assert site.run(COUNTS)["entries"] == 2
    site.run(
        """
        from llmcache import jobs
        assert jobs.start("evict_matching", filters={"namespace": "shop"}, by="ann")
        """
    )
    assert site.run(COUNTS)["entries"] == 2
    work(site)
    assert site.run(COUNTS)["entries"] == 1


@pytest.mark.skipif(django.VERSION >= (6,), reason="this Django has django.tasks")
def test_before_django_6_the_module_says_what_to_use_instead() -> None:
    code = (
        "import django; from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['llmcache']); django.setup()\n"
        "import llmcache.django_tasks"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'only with Django 6.0 or newer; use "celery" or "thread"' in done.stderr
