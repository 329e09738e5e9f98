"""`llmcache_rollup`: figures of old hours become figures of days."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.db import transaction

from llmcache import jobs, ledger
from llmcache.management.running import Running, counted


class Command(Running):
    help = (
        "Make figures of days out of those of hours older than RETENTION_DAYS, so that their table "
        "stays small. No sum changes. Run it once a day."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say how many rows go")

    def run(self, options: dict[str, Any]) -> None:
        using = ledger.database()
        with transaction.atomic(using=using, durable=False):
            spared = jobs.rollup_hours()
            transaction.set_rollback(options["dry_run"], using=using)
        verb = "Would spare" if options["dry_run"] else "Spared"
        self.say(f"{verb} {counted(spared, 'row')}.")
