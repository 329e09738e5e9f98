"""`python -m benchmarks.throughput [--json FILE]`: hits a second of every door, under threads,
tasks and real web servers; ratios first. Writes no verdict.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import django

from benchmarks import results
from benchmarks.rates import Row
from tests.servers import redis
from tests.servers.redis import RedisServer

ROW = "{:<42} {:>7} {:>9} {:>9} {:>9} {:>9} {:>13}  {}"


def measure(server: RedisServer) -> Iterator[Row]:
    """Every row in turn."""
    from benchmarks import doors, web

    for kind in web.KINDS:
        yield from web.of_site(kind, server)
    with tempfile.TemporaryDirectory() as directory:
        yield from doors.of_programs(server, Path(directory))
    for alias in ("locmem", "redis"):
        yield doors.of_views(alias)
        yield doors.of_functions(alias)
    yield doors.of_sdks("locmem")


def show(row: Row) -> None:
    """A row of the table: the ratio of our rate to the limit's first."""
    ours, (limit, ratio) = row.samples["ours"], next(iter(row.ratios.items()))
    others = [f"{ratio:.2f}x {who}" for who, ratio in row.ratios.items() if who != limit]
    busy = [row.samples[who].processor for who in ("ours", limit)]
    told = " to ".join(f"{seconds * 1e6:,.0f}" for seconds in busy if seconds is not None)
    print(
        ROW.format(
            row.name,
            f"{ratio:.2f}x",
            f"{ours.rate:,.0f}/s",
            f"{row.samples[limit].rate:,.0f}/s",
            f"{ours.median * 1e3:.3f} ms",
            f"{ours.slowest * 1e3:.3f} ms",
            told,
            ", ".join([f"against {limit}", *others]),
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="add the medians and ratios to this file")
    options = parser.parse_args()
    with redis.own_server() as server:
        os.environ["BENCH_REDIS_URL"] = server.url
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.throughput_settings"
        django.setup()
        from django.core.management import call_command

        from benchmarks import load

        call_command("migrate", verbosity=0)

        print(f"Python {platform.python_version()}, Django {django.get_version()}, medians")
        if load.WRK is None:
            print("wrk is not installed: servers are loaded by Python, and their rates are low")
        print(ROW.format("hits", "ratio", "ours", "limit", "median", "99 %", "processor us", ""))
        rows = []
        for row in measure(server):
            show(row)
            rows.append(asdict(row))
    if options.json:
        results.add(options.json, "throughput", {row["name"]: row for row in rows})


if __name__ == "__main__":
    main()
