"""A cross-encoder as judge: an ONNX model that reads both questions at once and scores them.

Meant for models that were trained on pairs of questions, such as
https://huggingface.co/cross-encoder/quora-distilroberta-base, exported to ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from django.core.exceptions import ImproperlyConfigured

from llmcache.embedders.onnx import Lazy, Model, open_model, require_runtime
from llmcache.judges.base import BaseJudge
from llmcache.options import Options

DEFAULTS: Final[Mapping[str, Any]] = {
    "max_tokens": 512,
    "model_path": None,
    "threads": 1,
    "threshold": 0.5,
    "tokenizer_path": None,
}


class CrossEncoderJudge(BaseJudge):
    """OPTIONS:
        model_path, tokenizer_path (str): the ONNX file, with one number as its output, and its
            tokenizer.json. Both must be given.
        threshold (float): from which score on, 0 to 1 after a sigmoid, the questions are one. The
            mean of both orders counts.
        max_tokens (int): of two questions with more word pieces together it says no, and where its
            vocabulary lacks something of them.
        threads (int): of the processor, for one pair.

    Raises:
        ImproperlyConfigured: a package or a file is missing, or an option is wrong.
    """

    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, setting: str, options: Mapping[str, Any]) -> None:
        super().__init__(setting, options)
        given = Options(self, DEFAULTS)
        self._threshold = given.share("threshold")
        self._most = given.whole("max_tokens")
        self._threads = given.whole("threads")
        require_runtime(setting)
        for key in ("model_path", "tokenizer_path"):
            if not Path(given[key] or "").is_file():
                raise ImproperlyConfigured(f"{given.name}[{key!r}] must name a file.")
        self._lazy = Lazy(self._load)

    def _load(self) -> Model:
        model, tokenizer = self.options["model_path"], self.options["tokenizer_path"]
        return open_model(Path(model), Path(tokenizer), self._threads)

    def same(self, asked: str, stored: str) -> bool:
        one, other = self._score(asked, stored), self._score(stored, asked)
        return one is not None and other is not None and (one + other) / 2 >= self._threshold

    def _score(self, one: str, other: str) -> float | None:
        """How sure the model is that two texts are one, 0 to 1; None if it cannot read them whole.

        Raises:
            ValueError: the model's output is not one number.
        """
        output = self._lazy.get().output(one, other, most=self._most)
        if output is None:
            return None
        if output.size != 1 or not math.isfinite(value := float(output.reshape(-1)[0])):
            raise ValueError(f"the model gave {output.size} numbers, or none that is finite")
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, value))))
