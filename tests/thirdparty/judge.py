"""A judge that counts words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcache.judges.base import BaseJudge
from llmcache.options import Options

DEFAULTS: Mapping[str, Any] = {"share": 0.5}


class WordJudge(BaseJudge):
    """OPTIONS:
    share (float): of both prompts' words, that they must have in common.
    """

    def __init__(self, setting: str, options: Mapping[str, Any]) -> None:
        super().__init__(setting, options)
        self._share = Options(self, DEFAULTS).share("share")

    def same(self, asked: str, stored: str) -> bool:
        one, other = set(asked.casefold().split()), set(stored.casefold().split())
        return len(one & other) >= self._share * len(one | other)
