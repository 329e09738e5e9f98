"""`llmcache_reindex`: makes the index anew from the stores."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from typing import Any

from django.db import DatabaseError

from llmcache import reindexing
from llmcache.exceptions import InvalidRequest
from llmcache.management.running import Failed, Running, counted, listed
from llmcache.models import Entry
from llmcache.reindexing import Step


class Command(Running):
    help = (
        "Make the index of entries anew: write the rows of entries that it does not know, from "
        "stores that can list theirs. The prompts of such entries are not known. Rows that are "
        "there keep what they have."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--alias", help="only this store (default: all that can list theirs)")
        parser.add_argument(
            "--prune",
            action="store_true",
            help="also delete the rows of entries that their store does not have any more",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def run(self, options: dict[str, Any]) -> None:
        aliases = self.aliases(options["alias"]) if options["alias"] else reindexing.listable()
        if not aliases:
            self.say("No store can list its entries to another process.")
        self.dry_run = options["dry_run"]
        problems: list[str] = []
        for alias in aliases:
            try:
                self._reindex(alias, options["prune"])
            except (InvalidRequest, DatabaseError):
                raise
            except Exception as error:
                problems.append(f"{alias}: {type(error).__name__}: {error}")
        if problems:
            raise Failed(f"Some stores failed:{listed(problems)}")

    def _reindex(self, alias: str, prune: bool) -> None:
        done = self._follow(reindexing.reindex, alias, None)
        verb = "would be indexed" if self.dry_run else "indexed"
        text = f"{alias}: {counted(done.seen, 'entry', 'entries')} seen, {done.indexed:,} {verb}"
        if done.unreadable:
            text += f", {done.unreadable:,} do not open"
        if prune:
            rows = Entry.objects.filter(alias=alias).count()
            pruned = self._follow(reindexing.prune, alias, rows).pruned
            verb = "would be deleted" if self.dry_run else "deleted"
            text += f"; {counted(pruned, 'row')} of entries that are gone {verb}"
        self.say(text)

    def _follow(self, walk: Callable[..., Iterator[Step]], alias: str, total: int | None) -> Step:
        """Walk through a store or its rows; all steps in one."""
        seen = indexed = unreadable = pruned = 0
        with self.bar(f"of {alias}", total) as bar:
            for step in walk(alias, dry_run=self.dry_run):
                seen += step.seen
                indexed += step.indexed
                unreadable += step.unreadable
                pruned += step.pruned
                bar.advance(step.seen)
        return Step(seen, indexed, unreadable, pruned)
