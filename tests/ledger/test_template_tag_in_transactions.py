"""`llmcache_stats` within the page's own transaction, on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections, transaction
from django.template import Context, Template


@pytest.fixture
def unmigrated(database: str) -> Iterator[str]:
    """The alias of a database in which the table of the figures is missing."""

    def rename(old: str, new: str) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("llmcache_hourlystat", "llmcache_elsewhere")
    yield database
    rename("llmcache_elsewhere", "llmcache_hourlystat")


def test_figures_that_cannot_be_read_leave_the_transaction_usable(
    unmigrated: str, caplog: pytest.LogCaptureFixture
) -> None:
    template = Template("a{% load llmcache %}{% llmcache_stats %}b")
    with transaction.atomic(using=unmigrated):
        assert template.render(Context()) == "ab"
        with connections[unmigrated].cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM llmcache_entry")
            assert cursor.fetchone() == (0,)
    assert "figures cannot be shown" in caplog.text
