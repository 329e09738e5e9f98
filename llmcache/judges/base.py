"""What a judge must offer: a second opinion on a match of which similarity is not sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.checks import CheckMessage

from llmcache.backends.base import run_in_thread


class BaseJudge:
    """Asked only inside the band of similarities that the settings name, after all guards. It may
    raise anything: a judge that fails turns the match into a miss, which is counted and logged.
    One instance serves all threads.
    """

    def __init__(self, setting: str, options: Mapping[str, Any]) -> None:
        """
        Args:
            setting: where the options stand in the settings, for errors.

        Raises:
            ImproperlyConfigured: a package is missing, or an option is wrong.
        """
        self.setting = setting
        self.options = options

    def same(self, asked: str, stored: str) -> bool:
        """Whether the answer to the stored prompt serves the one that is asked."""
        raise NotImplementedError

    async def asame(self, asked: str, stored: str) -> bool:
        """As `same`."""
        return await run_in_thread(self.same, asked, stored)

    def check(self) -> list[CheckMessage]:
        """System check messages; must not touch the network nor load a model."""
        return []
