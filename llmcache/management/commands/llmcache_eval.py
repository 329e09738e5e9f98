"""`llmcache_eval`: how many right and wrong answers a semantic store would serve."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from llmcache import caching, conf, matching
from llmcache.evaluation import curve, measuring, report, rows
from llmcache.evaluation.measuring import Measured
from llmcache.evaluation.rows import BadRow, Row
from llmcache.management.running import Failed, Running, WrongUsage, counted, listed
from llmcache.matching import Matcher


class Command(Running):
    help = (
        "Run a semantic store's embedder, guards and judge over labelled pairs of prompts, and "
        "say how many right and wrong answers it would serve. Nothing is stored. Pairs are JSON "
        'objects, one a line: {"a": ..., "b": ..., "same": true}; a and b are texts or lists of '
        "messages. Without a file, the pairs that staff and audits have decided on are taken."
    )
    stopped = "Nothing was written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("pairs", nargs="?", type=Path, help="a .jsonl file, or .jsonl.gz")
        parser.add_argument("--sample", action="store_true", help="the pairs of this package")
        parser.add_argument("--alias", help="the store (default: the first semantic one)")
        parser.add_argument("--threshold", type=float, help="in place of the configured one")
        parser.add_argument(
            "--max-wrong",
            type=float,
            help="end with 1 if a larger share, 0 to 1, is wrong, or if embedder or judge failed",
        )
        parser.add_argument("--no-guards", action="store_true", help="leave the guards out")
        parser.add_argument("--svg", type=Path, metavar="FILE", help="write the curve to a file")
        parser.add_argument("--skip-bad", action="store_true", help="pass over damaged lines")
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def run(self, options: dict[str, Any]) -> None:
        for name in ("threshold", "max_wrong"):
            value = options[name]
            if value is not None and not 0 <= value <= 1:
                shown = name.replace("_", "-")
                raise WrongUsage(f"--{shown} must be a number from 0 to 1, not {value:g}.")
        if options["sample"] and options["pairs"]:
            raise WrongUsage("Give a file or --sample, not both.")
        alias, matcher = self._matcher(options["alias"])
        pairs = self._pairs(options, alias)
        if not pairs:
            raise WrongUsage("There are no pairs to measure with: give a file, or --sample.")
        with self.bar("pairs", len(pairs)) as bar:
            guarded = not options["no_guards"]
            measured = measuring.measure(matcher, pairs, bar.advance, guarded=guarded)
        threshold = options["threshold"]
        if threshold is None:
            threshold = measured.configured
        if options["json"]:
            self.say(json.dumps(report.as_json(measured, threshold)))
        else:
            for line in report.lines(measured, threshold):
                self.say(line)
        if options["svg"]:
            self._write(options["svg"], curve.svg(measured, threshold))
        if measured.not_embedded == len(pairs):
            raise Failed("No pair could be embedded; the log says why.")
        if options["max_wrong"] is not None:
            self._hold_to(options["max_wrong"], measured, threshold)

    def _hold_to(self, most: float, measured: Measured, threshold: float) -> None:
        wrong = measured.at(threshold).wrong.value
        if wrong is None:
            raise WrongUsage("--max-wrong needs pairs that are not the same; there are none.")
        if wrong > most:
            raise Failed(f"{wrong:.1%} are wrong, over the {most:.1%} allowed.")
        failures = measured.embed_failures + measured.judge_failures
        if failures:  # what was not served for that reason says nothing of the next time
            number = counted(failures, "time")
            raise Failed(f"The embedder or the judge failed {number}; the log says why.")

    def _matcher(self, alias: str | None) -> tuple[str, Matcher]:
        for name in self.aliases(alias):
            cache = caching.for_alias(name)
            matcher = None if cache is None else matching.for_store(cache)
            if matcher is not None:
                return name, matcher
        if conf.config().mode == "off":
            raise WrongUsage("LLMCACHE_CONFIG['MODE'] is \"off\".")
        which = "LLMCACHE has no semantic store" if alias is None else f"{alias!r} is none"
        raise WrongUsage(f"{which}: give an alias of a semantic BACKEND.")

    def _pairs(self, options: dict[str, Any], alias: str) -> list[Row]:
        if options["sample"]:
            return list(rows.sample())
        path = options["pairs"]
        if path is None:
            return list(rows.from_database(alias))
        bad: list[BadRow] = []
        try:
            pairs = list(rows.read(path, bad))
        except OSError as error:
            raise WrongUsage(f"{path} cannot be read: {error}") from error
        if bad and not options["skip_bad"]:
            shown = listed(str(problem) for problem in bad[:10])
            number = counted(len(bad), "line")
            raise WrongUsage(f"{number} of {path} cannot be used (--skip-bad skips them):{shown}")
        if bad:
            self.stderr.write(f"{counted(len(bad), 'line')} of {path} were skipped.")
        return pairs

    def _write(self, path: Path, content: str) -> None:
        try:
            path.write_text(content)
        except OSError as error:
            raise Failed(f"{path} cannot be written: {error}") from error
        self.stderr.write(f"The curve is in {path}.")
