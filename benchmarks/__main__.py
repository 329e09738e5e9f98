"""`python -m benchmarks [--json FILE]`: one run, all paths, ratios first. Writes no verdict."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
django.setup()

from django.core.management import call_command  # noqa: E402

from benchmarks import paths, peer  # noqa: E402
from benchmarks.timing import Result  # noqa: E402
from llmcache import recorder  # noqa: E402
from tests.servers import redis, s3  # noqa: E402

ROW = "{:<36} {:>6} {:>9} {:>12} {:>12} {:>12}  {}"


def measure(litellm: peer.Peer | None) -> Iterator[Result]:
    """Every path in turn."""
    call_command("migrate", verbosity=0)
    paths.prepare()
    yield from paths.in_memory(litellm)
    yield from paths.locmem()
    with tempfile.TemporaryDirectory() as directory:
        yield from paths.disk(litellm, Path(directory))
    with redis.own_server() as redis_server:
        yield from paths.redis(litellm, redis_server)
    with s3.own_server() as s3_server:
        yield from paths.s3(litellm, s3_server)
    yield from paths.replay()
    yield from paths.miss()


def microseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:,.1f} us"


def show(result: Result) -> None:
    """A row of the table: the ratio first."""
    base = next(iter(result.ratios))
    litellm = result.ratios.get("LiteLLM")
    others = [f"{ratio:.2f}x {who}" for who, ratio in result.ratios.items() if who != base]
    if litellm:
        others[-1] = f"LiteLLM takes {1 / litellm:.0f}x ours"
    print(
        ROW.format(
            result.name,
            result.goal,
            f"{result.ratios[base]:.2f}x",
            microseconds(result.seconds["ours"]),
            microseconds(result.seconds[base]),
            microseconds(result.seconds.get("LiteLLM")),
            ", ".join(others),
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the medians and ratios here too")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, Django {django.get_version()}, medians of rounds")
    print(ROW.format("path", "goal", "ratio", "ours", "floor", "LiteLLM", ""))
    results = []
    with peer.running() as litellm:
        if litellm is None:
            print(f"LiteLLM is not measured: no {peer.PYTHON}", file=sys.stderr)
        for result in measure(litellm):
            show(result)
            recorder.flush()  # between rounds, as its thread would
            results.append(asdict(result))
    milliseconds, megabytes = paths.import_cost()
    ratio = paths.memory_ratio()
    print(f"import over Django alone: {milliseconds:.1f} ms, {megabytes:.1f} MB (goals: 60, 5)")
    print(f"memory per entry over a dict: {ratio:.3f}x (goal: 1.1)")
    if options.json:
        extra = {"import_ms": milliseconds, "import_mb": megabytes, "memory_ratio": ratio}
        options.json.write_text(json.dumps({"paths": results, **extra}, indent=2))


if __name__ == "__main__":
    main()
