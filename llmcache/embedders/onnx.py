"""Models in ONNX files, as embedders and judges share them: when one is loaded, and by whom."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar
from weakref import WeakSet

from llmcache.packages import require_package

T = TypeVar("T")
EXTRA: Final = "semantic-local"
_UNKNOWN: Final = ("[UNK]", "<unk>")


class Model(NamedTuple):
    """A model that is ready.

    Attributes:
        inputs: the names of what the session takes.
        unknown: the ids of pieces that stand for text outside the model's vocabulary.
    """

    tokenizer: Any
    session: Any
    inputs: tuple[str, ...]
    unknown: frozenset[int]

    def output(self, *texts: str, most: int) -> Any:
        """The model's first output for one text, or for two as a pair, as an array of one row.

        Args:
            most: pieces that it can read.

        Returns:
            None where it cannot read all: too many pieces, or something outside its vocabulary.
        """
        import numpy as np

        pieces = self.tokenizer.encode(*texts)
        if len(pieces.ids) > most or not self.unknown.isdisjoint(pieces.ids):
            return None
        given = {
            "input_ids": pieces.ids,
            "attention_mask": pieces.attention_mask,
            "token_type_ids": pieces.type_ids,
        }
        arrays = {name: np.array([given[name]], dtype=np.int64) for name in self.inputs}
        return self.session.run(None, arrays)[0]


class Lazy(Generic[T]):
    """What is loaded at its first use and shared by all threads; a forked child loads its own.

    Args:
        load: called at most once for each process, until `drop`.
    """

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._value: T | None = None
        _living.add(self)

    def get(self) -> T:
        """What `load` gave."""
        value = self._value
        if value is not None:
            return value
        with self._lock:
            if self._value is None:
                self._value = self._load()
            return self._value

    def drop(self) -> None:
        """Give it back; the next use loads it again."""
        with self._lock:
            self._value = None

    def abandon(self) -> None:
        """Start afresh in a forked child."""
        # A session waits for its threads when it is destroyed, and the child has none of them: it
        # would crash, now or at its exit. So it stays for as long as the child lives.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._value))
        self._lock = threading.Lock()
        self._value = None


def require_runtime(setting: str) -> None:
    """Make sure that what runs an ONNX model is installed.

    Raises:
        ImproperlyConfigured: a package is missing; the message has the command that installs it.
    """
    for package in ("numpy", "onnxruntime", "tokenizers"):
        require_package(setting, package, EXTRA)


def keep_quiet() -> None:
    """Turn off onnxruntime's reports to its maker, which come with a thread that a forked child
    cannot end. Call it before onnxruntime is first imported; what the site has set itself stays.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def open_model(model: Path, tokenizer: Path, threads: int) -> Model:
    """Load an ONNX file and its tokenizer.json; texts will be neither cut nor filled up."""
    keep_quiet()
    import onnxruntime
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(tokenizer))
    made.no_truncation()
    made.no_padding()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    inputs = tuple(given.name for given in session.get_inputs())
    return Model(made, session, inputs, unknown_to(made))


def unknown_to(tokenizer: Any) -> frozenset[int]:
    """The ids that a tokenizer gives to what it does not know."""
    ids = (tokenizer.token_to_id(piece) for piece in _UNKNOWN)
    return frozenset(number for number in ids if number is not None)


_living: WeakSet[Lazy[Any]] = WeakSet()


def _after_fork() -> None:
    for lazy in list(_living):
        lazy.abandon()


os.register_at_fork(after_in_child=_after_fork)
