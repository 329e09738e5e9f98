"""What a process writes before it ends, where the interpreter runs nothing at its exit."""

from __future__ import annotations

from llmcache import writer
from llmcache.backends import batched
from llmcache.recorder import recorder


def write_down() -> None:
    """Write what this process has recorded or still holds back; no call may come after it."""
    writer.stop()
    batched.flush_all()
    recorder.stop()
