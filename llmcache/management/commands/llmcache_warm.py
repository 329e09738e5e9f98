"""`llmcache_warm`: makes the calls of a file, so that their answers are cached."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TextIO

from llmcache import caching, warming
from llmcache.calls import build
from llmcache.exceptions import LLMCacheError
from llmcache.management.running import Failed, Running, WrongUsage, counted
from llmcache.warming import Numbered


class Command(Running):
    help = (
        "Make the calls of a file, so that their answers are cached before anybody asks. Each line "
        "is a JSON object with the arguments of completion(), such as "
        '{"model": "m", "messages": [...], "cache": {"ttl": 3600}}, and for another function its '
        'name: "kind": "embedding". What is cached already costs nothing.'
    )
    stopped = "The answers that came so far are cached; the same command goes on from there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help='the file, or "-" for the standard input')
        parser.add_argument(
            "--concurrency", type=int, default=4, help="calls at a time (default: %(default)s)"
        )
        parser.add_argument("--alias", help="the store (default: the cache in force)")
        parser.add_argument(
            "--stop-on-error", action="store_true", help="begin no further call after a failure"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only say which lines cannot be used"
        )

    def run(self, options: dict[str, Any]) -> None:
        if options["concurrency"] < 1:
            raise WrongUsage("--concurrency must be an integer from 1 up.")
        if options["alias"] is not None:
            self.aliases(options["alias"])
            if caching.for_alias(options["alias"]) is None:
                raise WrongUsage("LLMCACHE_CONFIG['MODE'] is \"off\": nothing would be stored.")
        self.failures = 0
        self.stop_on_error = options["stop_on_error"]
        with ExitStack() as stack:
            lines = self._opened(options["file"], stack)
            requests = self._requests(lines, options["alias"])
            if options["dry_run"]:
                number = sum(1 for _ in requests)
                self.say(f"{counted(number, 'request')} can be made.")
            else:
                self._warm(requests, options, stack)
        if self.failures:
            raise Failed(f"{counted(self.failures, 'line')} failed.")

    def _opened(self, name: str, stack: ExitStack) -> TextIO:
        if name == "-":
            return sys.stdin
        try:
            return stack.enter_context(Path(name).open(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise WrongUsage(f"{name} cannot be read: {error.strerror}") from error

    def _warm(
        self, requests: Iterator[Numbered], options: dict[str, Any], stack: ExitStack
    ) -> None:
        warmed = warming.warm(requests, concurrency=options["concurrency"], alias=options["alias"])
        stack.enter_context(closing(warmed))  # on Ctrl-C, what is under way is waited for
        outcomes: Counter[str] = Counter()
        with self.bar("calls") as bar:
            for done in warmed:
                bar.advance()
                if done.error:
                    self._failed(done.number, done.error)
                else:
                    outcomes[done.outcome] += 1
        said = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
        self.say(f"{counted(outcomes.total(), 'call')} made{': ' if said else ''}{said}.")

    def _requests(self, lines: TextIO, alias: str | None) -> Iterator[Numbered]:
        """The lines that can be used; the others are named. None any more after a failure that is
        to stop everything.
        """
        for number, line in enumerate(lines, 1):
            if self.failures and self.stop_on_error:
                return
            if not line.strip():
                continue
            try:
                request = json.loads(line)
                kind = warming.kind_of(request)
                arguments = warming.arguments_of(request, alias)
                build(kind, arguments.pop("model"), arguments)
            except (ValueError, RecursionError, LLMCacheError) as error:
                self._failed(number, str(error))
            else:
                yield number, request

    def _failed(self, number: int, why: str) -> None:
        self.failures += 1
        self.stderr.write(f"line {number}: {why}")
