"""Run one target: `python -m tests.fuzz sse -max_total_time=60`; options are libFuzzer's."""

from __future__ import annotations

import sys
from importlib import import_module

import atheris
from django.conf import settings

TARGETS = ("answers", "envelope", "sse")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"Name a target to run: {', '.join(TARGETS)}.")
    settings.configure(SECRET_KEY="a key for tests only")
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["llmcache"]):
        target = import_module(f"tests.fuzz.fuzz_{name}")
    atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()


main()
