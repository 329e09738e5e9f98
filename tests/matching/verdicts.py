"""Judges for tests: what they were asked is kept, and they say what their OPTIONS say."""

from __future__ import annotations

from django.core.checks import CheckMessage, Warning

from llmcache.judges.base import BaseJudge


class FixedJudge(BaseJudge):
    """OPTIONS: `says`: True, False, or "fail"."""

    asked: list[tuple[str, str]] = []

    def same(self, asked: str, stored: str) -> bool:
        self.asked.append((asked, stored))
        if self.options["says"] == "fail":
            raise TimeoutError("the judge thinks for too long")
        return bool(self.options["says"])


class UncertainJudge(FixedJudge):
    """One that has something to say to `manage.py check`."""

    def check(self) -> list[CheckMessage]:
        return [Warning("The judge is not certain.", id="site.W001")]
