"""A judge that counts words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcache.configuration import is_number, refuse_unknown, require
from llmcache.judges.base import BaseJudge

DEFAULTS: Mapping[str, Any] = {"share": 0.5}


class WordJudge(BaseJudge):
    """OPTIONS:
    share (float): of both prompts' words, that they must have in common.
    """

    def __init__(self, setting: str, options: Mapping[str, Any]) -> None:
        super().__init__(setting, options)
        name = f"{setting}['OPTIONS']"
        refuse_unknown(f"key of {name}", options, DEFAULTS)
        self._share: float = {**DEFAULTS, **options}["share"]
        ok = is_number(self._share) and 0 <= self._share <= 1
        require(ok, f"{name}['share']", self._share, "a share from 0 to 1")

    def same(self, asked: str, stored: str) -> bool:
        one, other = set(asked.casefold().split()), set(stored.casefold().split())
        return len(one & other) >= self._share * len(one | other)
