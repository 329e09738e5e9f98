"""The models of the package fastembed, on this machine: https://github.com/qdrant/fastembed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from llmcache.backends.base import BaseBackend
from llmcache.embedders.base import BaseEmbedder, Embedded
from llmcache.embedders.onnx import Lazy, keep_quiet, unknown_to
from llmcache.embedders.vectors import unit
from llmcache.options import Options
from llmcache.packages import require_package

DEFAULTS: Final[Mapping[str, Any]] = {
    "cache_dir": None,
    "model": "BAAI/bge-small-en-v1.5",
    "model_dir": None,
    "threads": None,
}


class FastEmbedEmbedder(BaseEmbedder):
    """OPTIONS:
        model (str): a name that fastembed knows.
        model_dir (str): a directory that has the model's files; without it they are downloaded
            once.
        cache_dir (str): where to; fastembed's own directory if not given.
        threads (int): of the processor, for one text; fastembed's choice if not given.

    Nothing is embedded of a text that the model's tokenizer would cut, or of which its vocabulary
    lacks something.

    Raises:
        ImproperlyConfigured: the package is missing, or an option is wrong.
    """

    threshold = 0.9
    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, setting: str, options: Mapping[str, Any], store: BaseBackend) -> None:
        super().__init__(setting, options, store)
        self._options = Options(self, DEFAULTS)
        for key in ("model", "cache_dir", "model_dir"):
            value = self._options[key]
            ok = value is None or (isinstance(value, (str, os.PathLike)) and bool(value))
            self._options.require(key, ok, "a string")
        if self._options["threads"] is not None:
            self._options.whole("threads")
        require_package(setting, "fastembed", "fastembed")
        self.model = str(self._options["model"] or DEFAULTS["model"])
        self._lazy = Lazy(self._load)

    def _load(self) -> tuple[Any, frozenset[int]]:
        keep_quiet()
        from fastembed import TextEmbedding

        given = {
            "cache_dir": self._options["cache_dir"],
            "specific_model_path": self._options["model_dir"],
            "threads": self._options["threads"],
        }
        known = {key: value for key, value in given.items() if value is not None}
        model: Any = TextEmbedding(self.model, **known)
        return model, unknown_to(model.model.tokenizer)

    def embed(self, text: str) -> Embedded | None:
        model, unknown = self._lazy.get()
        pieces = model.model.tokenizer.encode(text)
        if pieces.overflowing or not unknown.isdisjoint(pieces.ids):
            return None
        (vector,) = model.embed([text])
        data = unit(vector.tolist())
        return Embedded(data, f"fastembed {self.model}:{len(data) // 4}")

    def close(self) -> None:
        self._lazy.drop()
