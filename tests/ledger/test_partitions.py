"""The statements of the page on scaling: the log in partitions, and room in the pages of tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, models
from django.test import override_settings
from django.utils import timezone

from llmcache import ledger, sweeping
from llmcache.models import Call
from tests.ledger.records import called
from tests.servers import postgres as postgres_server

PAGE = Path(__file__).parent.parent.parent / "docs" / "scaling.md"
ALIAS = "partitions"
DAY = datetime(2026, 3, 2, 12, tzinfo=UTC)


class PartitionRouter:
    """Everything is in the database with the partitions."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        return ALIAS

    db_for_write = db_for_read


@pytest.fixture
def database(postgres: dict[str, Any], django_db_blocker: Any) -> Iterator[str]:
    """A PostgreSQL of its own, as the page leaves it."""
    with postgres_server.fresh(postgres) as settings, django_db_blocker.unblock():
        known = connections.configure_settings({"default": {}, ALIAS: settings})
        connections.settings[ALIAS] = known[ALIAS]
        call_command("migrate", database=ALIAS, verbosity=0)
        statements = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
        assert len(statements) == 3
        with connections[ALIAS].cursor() as cursor:
            for block in statements:
                cursor.execute(block)
        with override_settings(DATABASE_ROUTERS=[PartitionRouter()]):
            yield ALIAS
        connections[ALIAS].close()
        del connections[ALIAS], connections.settings[ALIAS]


def rows(partition: str) -> int:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {partition}")
        return int(cursor.fetchone()[0])


def test_the_log_is_written_swept_and_dropped_by_days(database: str) -> None:
    moments = [DAY.timestamp(), (DAY + timedelta(days=9)).timestamp(), timezone.now().timestamp()]
    ledger.write([called(at=at) for at in moments for _ in range(3)], [])
    assert (rows("llmcache_call_2026_03_02"), rows("llmcache_call_rest")) == (3, 6)
    calls = Call.objects.order_by("-created")
    assert len({call.pk for call in calls}) == 9
    assert Call.objects.get(pk=calls[0].pk) == calls[0]
    assert Call.objects.of_entry(calls[0].digest).count() == 9
    with connections[database].cursor() as cursor:
        cursor.execute("DROP TABLE llmcache_call_2026_03_02")
    assert Call.objects.count() == 6
    Call.objects.filter(pk__in=[call.pk for call in calls[:2]]).update(
        created=timezone.now() - timedelta(days=90)
    )
    assert sweeping.sweep().log >= 2
    assert Call.objects.before(timezone.now() - timedelta(days=60)).count() == 0
