"""`python -m benchmarks [--json FILE] [--only PART ...]`: one run, all paths, every peer, ratios
first. Writes no verdict.

`python -m benchmarks --compare OLD.json [NEW.json]`: how a run differs from an earlier one; without
NEW.json a new run is made.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
django.setup()

from django.core.management import call_command  # noqa: E402

from benchmarks import (  # noqa: E402
    comparing,
    concurrency,
    costs,
    hits,
    misses,
    peer,
    replays,
    results,
    similar,
    table,
    upstream,
)
from benchmarks.contenders import Bench  # noqa: E402
from benchmarks.questions import answer  # noqa: E402
from benchmarks.timing import Missing, Row, spread  # noqa: E402
from llmcache import recorder  # noqa: E402
from llmcache.upstreams import upstreams  # noqa: E402
from tests.servers import redis, s3  # noqa: E402

Part = Callable[[Bench], Iterator[Row]]


def on_redis(part: Callable[[Bench, redis.RedisServer], Iterator[Row]], bench: Bench) -> Any:
    """A part with a server of its own."""
    with redis.own_server() as server:
        yield from part(bench, server)


def on_s3(bench: Bench) -> Iterator[Row]:
    with s3.own_server() as server:
        yield from hits.s3(bench, server)


PARTS: dict[str, Part] = {
    "memory": hits.in_memory,
    "disk": hits.disk,
    "redis": partial(on_redis, hits.redis),
    "s3": on_s3,
    "replays": replays.replays,
    "semantic": partial(on_redis, similar.hits),
    "concurrency": partial(on_redis, concurrency.hits),
    "miss": misses.one_miss,
    "stampedes": partial(on_redis, misses.stampedes),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, default=results.new_path(), help="the run's file")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "costs"], help="only these parts")
    parser.add_argument(
        "--compare", nargs="+", type=earlier, metavar=("OLD", "NEW"), help="files of earlier runs"
    )
    parser.add_argument("--markdown", action="store_true", help="the table as documentation has it")
    options = parser.parse_args()
    if options.compare and len(options.compare) > 2:
        parser.error("--compare takes one file or two")
    runs: list[results.Run] = options.compare or []
    if len(runs) < 2:
        runs = [*runs, run(options.json, options.only or [*PARTS, "costs"], options.markdown)]
    if len(runs) == 2:
        show_differences(*runs)


def earlier(path: str) -> results.Run:
    """A file that an option names, read at once: the run takes minutes."""
    try:
        return results.read(Path(path))
    except (OSError, ValueError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"{path} is no run's file: {error!r}") from error


def run(path: Path, parts: Sequence[str], markdown: bool) -> results.Run:
    """Measure, print as it comes, and write the file."""
    machine = results.machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    print(table.line(table.HEADINGS))
    rows: list[Row] = []
    with everything() as bench:
        told = about(bench.peers)
        for part in parts:
            try:
                for row in PARTS[part](bench) if part in PARTS else ():
                    print(table.line(table.cells(row)), flush=True)
                    rows.append(row)
                    recorder.flush()  # between rounds, as its thread would
            except Missing as error:
                print(f"not measured: {error}", flush=True)
    other = costs.measure() if "costs" in parts else {}
    for name, values in other.items():
        print(f"{name}: {spread(values).median:.3g}")
    show("Versions", table.versions({who: told[who]["versions"] for who in told}))
    show("Notes", table.notes({who: told[who]["notes"] for who in told}))
    show("No figure", table.gaps(rows))
    if markdown:
        print("\n".join(table.markdown(rows)))
    versions = {who: told[who]["versions"] for who in told}
    results.write(path, rows, {**machine, "versions": versions}, other)
    print(f"\nwritten to {path}")
    return rows, other


@contextmanager
def everything() -> Iterator[Bench]:
    """The peers, the provider and a folder."""
    call_command("migrate", verbosity=0)
    upstreams["default"].responses = answer  # type: ignore[attr-defined]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
        upstream.running() as provider,
        peer.running() as peers,
    ):
        yield Bench(peers, provider, Path(directory))


def about(peers: list[peer.Peer]) -> dict[str, dict[str, Any]]:
    """What the peers say of themselves: versions and notes."""
    told: dict[str, dict[str, Any]] = {}
    for one in [*peers, ours := peer.Peer("ours", peer.OURS)]:
        try:
            told[one.name] = one.do({"path": "about"})
        except Missing as error:
            told[one.name] = {"versions": {}, "notes": {"": str(error)}}
    ours.close()
    return told


def show(title: str, lines: Iterator[str]) -> None:
    for number, text in enumerate(lines):
        print(f"{'' if number else f'{chr(10)}{title}{chr(10)}'}  {text}")


def show_differences(before: results.Run, now: results.Run) -> None:
    print(comparing.line(comparing.HEADINGS))
    for texts in comparing.differences(before[0], now[0]):
        print(comparing.line(texts))
    for texts in comparing.costs(before[1], now[1]):
        print(comparing.line(texts))


if __name__ == "__main__":
    main()
