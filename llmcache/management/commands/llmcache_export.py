"""`llmcache_export`: entries into a file."""

from __future__ import annotations

import gzip
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal, cast

from llmcache.management.running import Failed, Running, WrongUsage, counted, listed
from llmcache.models import Entry
from llmcache.querysets import EntryQuerySet
from llmcache.transfer import Export


class Command(Running):
    help = (
        "Write entries, answers included, into a file of JSON lines that llmcache_import reads, "
        "here or at another site. What the index does not know is left out: run llmcache_reindex "
        "before. The file holds answers in plain text: keep it as you keep the data itself."
    )
    stopped = "The file ends with the last whole entry."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", help='the file; compressed if its name ends in .gz; "-" for the standard output'
        )
        parser.add_argument("--alias", help="only entries of this store")
        parser.add_argument("--namespace", help="only entries of this namespace")
        parser.add_argument("--model", help="only entries of this model")
        parser.add_argument("--tag", help="only entries with this tag")
        parser.add_argument("--force", action="store_true", help="replace a file that is there")
        parser.add_argument("--dry-run", action="store_true", help="only say how many there are")

    def run(self, options: dict[str, Any]) -> None:
        if options["alias"]:
            self.aliases(options["alias"])
        entries = self._entries(options)
        number = entries.count()
        if options["dry_run"]:
            self.say(f"Would export {counted(number, 'entry', 'entries')}.")
            return
        export = Export(entries)
        with ExitStack() as stack:
            file = _opened(options["file"], options["force"], stack)
            if options["file"] == "-":
                self.stdout = self.stderr  # what is said must not be taken for a line
            bar = stack.enter_context(self.bar("entries", number))
            for line in export.lines():
                file.write(line)
                bar.advance()
        self.say(f"Exported {counted(export.written, 'entry', 'entries')}.")
        if export.gone:
            self.say(f"Gone from their store: {counted(export.gone, 'entry', 'entries')}.")
        if export.problems:
            problems = (f"{alias}: {said}" for alias, said in export.problems.items())
            raise Failed(f"Some stores failed:{listed(problems)}")

    def _entries(self, options: dict[str, Any]) -> EntryQuerySet:
        names = ("alias", "namespace", "model")
        filters = {name: options[name] for name in names if options[name] is not None}
        entries = Entry.objects.filter(**filters)
        return entries.tagged(options["tag"]) if options["tag"] else entries


def _opened(name: str, force: bool, stack: ExitStack) -> IO[bytes]:
    if name == "-":
        return sys.stdout.buffer
    file = _created(Path(name), "wb" if force else "xb", stack)
    if not name.endswith(".gz"):
        return file
    return cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file, mode="wb")))


def _created(path: Path, mode: Literal["wb", "xb"], stack: ExitStack) -> IO[bytes]:
    try:
        return stack.enter_context(path.open(mode))
    except FileExistsError:
        raise WrongUsage(f"{path} is there already; --force replaces it.") from None
    except OSError as error:
        raise WrongUsage(f"{path} cannot be written: {error.strerror}") from error
