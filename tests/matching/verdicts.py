"""Judges for tests: what they were asked is kept, and they say what their OPTIONS say."""

from __future__ import annotations

from llmcache.judges.base import BaseJudge


class FixedJudge(BaseJudge):
    """OPTIONS: `says`: True, False, or "fail"."""

    asked: list[tuple[str, str]] = []

    def same(self, asked: str, stored: str) -> bool:
        self.asked.append((asked, stored))
        if self.options["says"] == "fail":
            raise TimeoutError("the judge thinks for too long")
        return bool(self.options["says"])
