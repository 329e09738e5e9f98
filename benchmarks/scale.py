"""`python -m benchmarks.scale [--most N] [--json FILE] [--svg DIR]`: how everything grows from a
thousand entries to a million: hits and what is stored, the index, the admin's pages, what tasks
delete, and searches by meaning, on real servers. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

import django

from tests.servers import postgres, redis

SIZES: Final = (1_000, 100_000, 1_000_000)
_SIZES: Final = {
    "answers": SIZES,
    "ledger": SIZES,
    "vectors": (1_000, 10_000, 100_000),
    "once": (),
}
PARTS: Final = tuple(_SIZES)
TRIES: Final = 2_000
_PACKAGES: Final = ("Django", "diskcache", "psycopg", "numpy", "usearch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="entries at most")
    parser.add_argument(
        "--part",
        choices=[*PARTS, "none"],
        action="append",
        help="measure only these; none: only tell what the file has",
    )
    parser.add_argument(
        "--json", type=Path, help="write the figures here too; parts that are there stay"
    )
    parser.add_argument("--svg", type=Path, help="draw pictures into this directory")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    if options.json and options.json.exists():
        figures = json.loads(options.json.read_text())
    if options.part != ["none"]:
        figures = run(options.part or PARTS, options.most, figures, options.json)
    tell(figures, options.svg)


def run(
    parts: Sequence[str], most: int, figures: dict[str, Any], file: Path | None
) -> dict[str, Any]:
    """Measure some parts; the figures with theirs."""
    with postgres.own_server() as server, redis.own_server() as redis_server:
        os.environ["BENCH_DATABASE_URL"] = server.url
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.ledger_settings"
        django.setup()
        for part in parts:
            measured = {part: measure(part, most, redis_server.url)}
            measured["on"] = where(redis_server.url)
            figures |= json.loads(json.dumps(measured, default=asdict))
            if file is not None:
                file.write_text(json.dumps(figures, indent=1))
    return figures


def tell(figures: dict[str, Any], directory: Path | None) -> None:
    """Print the tables, and draw the pictures."""
    from benchmarks.growth import telling

    print(figures["on"])
    for name, table in telling.tables(figures):
        print(f"\n## {name}\n\n{table}")
    print(figures.get("once", ""))
    if directory is not None:
        for name, svg in telling.pictures(figures):
            (directory / f"{name}.svg").write_text(svg)


def where(redis_url: str) -> str:
    """The day, the machine and the versions."""
    from django.db import connection
    from redis import Redis

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        (postgresql,) = cursor.fetchone()
    versions = {
        "Python": platform.python_version(),
        "PostgreSQL": postgresql,
        "Redis": str(Redis.from_url(redis_url).info("server")["redis_version"]),
        **{name: version(name) for name in _PACKAGES},
    }
    return (
        f"{datetime.now(UTC):%d %B %Y}, {os.cpu_count()} processors ({names[0]}), "
        f"{memory:.0f} GB of memory, {', '.join(map(' '.join, versions.items()))}"
    )


def measure(part: str, most: int, redis_url: str) -> Any:
    """One part's figures."""
    from django.core.management import call_command
    from django.test import override_settings

    from benchmarks import costs
    from benchmarks.growth import answers, ledger, vectors
    from llmcache.recorder import recorder

    call_command("migrate", verbosity=0)
    recorder.stop()  # what is timed here writes by itself
    # What is slow is to be measured, not to be given up.
    config = override_settings(LLMCACHE_CONFIG={"BUFFER_SIZE": 10_000_000, "BACKEND_TIMEOUT": 60})
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    sizes = [size for size in _SIZES[part] if size <= most] or [most]
    tries = TRIES if most >= SIZES[0] else most
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, config:
        directory = Path(name)
        if part == "once":
            rounds = costs.measure(11 if most >= SIZES[0] else 1).values()
            names = ("import_ms", "import_mb", "memory_ratio")
            return dict(zip(names, map(median, rounds), strict=True))
        if part == "ledger":
            return dict(ledger.measure(sizes, tries))
        module = answers if part == "answers" else vectors
        for store, size, one in module.measure(sizes, tries, directory, redis_url):
            found[store][str(size)] = one
    return found


if __name__ == "__main__":
    main()
