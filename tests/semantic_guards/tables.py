"""Asking one guard about two prompts, both ways round."""

from __future__ import annotations

from typing import Any

from llmcache.backends.semantic import guards


def objects(guard: str, asked: str, stored: str, **options: Any) -> bool:
    """Whether a guard by this name objects to a match, asked either way round."""
    built = guards.build("guards", {**dict.fromkeys(EVERY, False), guard: options})
    there = guards.veto(built, asked, stored)
    back = guards.veto(built, stored, asked)
    assert (there is None) == (back is None), "a verdict depends on which prompt came first"
    assert there is None or there.guard == guard
    return there is not None


EVERY = [guard.name for guard in guards.build("guards")]
