"""`llmcache_import`: entries from a file."""

from __future__ import annotations

import gzip
import sys
import zlib
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final, cast

from llmcache import transfer
from llmcache.management.running import Failed, Running, WrongUsage, counted

_GZIP: Final = b"\x1f\x8b"


class Command(Running):
    help = (
        "Store the entries of a file that llmcache_export has written, sealed with this site's own "
        "key. Entries whose time has passed are left out, and an entry that the store has in a "
        "newer version is kept. The file is trusted: whoever wrote it decides what callers get."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help='the file, compressed or not; "-" for the standard input')
        parser.add_argument("--alias", help="the store for all entries (default: each one's own)")
        parser.add_argument(
            "--overwrite", action="store_true", help="replace entries of the store that are newer"
        )
        parser.add_argument("--dry-run", action="store_true", help="only check the file")

    def run(self, options: dict[str, Any]) -> None:
        if options["alias"]:
            self.aliases(options["alias"])
        outcomes: Counter[str] = Counter()
        self.broken_off = ""
        with ExitStack() as stack:
            lines = self._lines(_opened(options["file"], stack))
            bar = stack.enter_context(self.bar("entries"))
            for done in transfer.imported(
                lines,
                alias=options["alias"],
                overwrite=options["overwrite"],
                dry_run=options["dry_run"],
            ):
                bar.advance()
                outcomes[done.what] += 1
                if done.why:
                    self.stderr.write(f"line {done.number}: {done.what}: {done.why}")
        stored = counted(outcomes["stored"], "entry", "entries")
        self.say(f"{'Would store' if options['dry_run'] else 'Stored'} {stored}.")
        for what, text in (("kept", "were there already"), ("expired", "had expired")):
            if outcomes[what]:
                self.say(f"{outcomes[what]:,} {text}.")
        failed = outcomes["damaged"] + outcomes["failed"]
        if failed or self.broken_off:
            raise Failed(self.broken_off or f"{counted(failed, 'line')} could not be imported.")

    def _lines(self, file: IO[bytes]) -> Iterator[bytes]:
        try:
            yield from file
        except (EOFError, OSError, zlib.error) as error:
            self.broken_off = f"The file breaks off: {error}"


def _opened(name: str, stack: ExitStack) -> IO[bytes]:
    if name == "-":
        return sys.stdin.buffer
    file = _read(Path(name), stack)
    beginning = file.read(len(_GZIP))
    file.seek(0)
    if beginning != _GZIP:
        return file
    return cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file)))


def _read(path: Path, stack: ExitStack) -> IO[bytes]:
    try:
        return stack.enter_context(path.open("rb"))
    except OSError as error:
        raise WrongUsage(f"{path} cannot be read: {error.strerror}") from error
