"""`llmcache_sweep`: deletes what has expired."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from llmcache import sweeping
from llmcache.management.running import Failed, Running, WrongUsage, counted, listed
from llmcache.sweeping import Swept


class Command(Running):
    help = (
        "Delete what has expired: entries in stores that do not do so by themselves, their rows in "
        "the index, and rows of the logs older than RETENTION_DAYS. Run it every few minutes, by "
        "cron or by Celery's beat."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--alias", help="sweep only this store (default: all)")
        parser.add_argument(
            "--limit",
            type=int,
            default=sweeping.BATCH,
            help="how much to delete at a time (default: %(default)s)",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="only say how many rows would go; what stores would delete, they do not tell",
        )

    def run(self, options: dict[str, Any]) -> None:
        limit = options["limit"]
        if limit < 1:
            raise WrongUsage(f"--limit must be an integer from 1 up, not {limit}.")
        aliases = self.aliases(options["alias"])
        if options["dry_run"]:
            index, log = sweeping.expired_rows()
            self.say(
                f"Would delete {counted(index, 'row')} of the index and {counted(log, 'row')} of "
                "the logs."
            )
            return
        with self.bar("deleted") as bar:

            def parts() -> Iterator[Swept]:
                for part in sweeping.sweep_all(limit, aliases=aliases):
                    bar.advance(part.total)
                    yield part

            done = sweeping.total(parts())
        for alias, number in sorted(done.stores.items()):
            self.say(f"{alias}: {counted(number, 'entry', 'entries')} deleted")
        self.say(
            f"Deleted {counted(done.index, 'row')} of the index and {counted(done.log, 'row')} of "
            "the logs."
        )
        if done.problems:
            problems = (f"{alias}: {said}" for alias, said in done.problems.items())
            raise Failed(f"Some stores failed:{listed(problems)}")
