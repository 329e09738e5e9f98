"""What the semantic store on disk makes of damage, and of a file that is replaced."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.semantic.conftest import cloud, digest, fill, prompts, unit
from tests.backends.semantic.local_stores import rows, semantic

X = unit(1, 0, 0, 0)
Z = unit(0, 0, 1, 0)
Y = unit(0, 1, 0, 0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    store = semantic(tmp_path)
    yield store
    store.close()


def test_damaged_rows_are_ignored(store: Any, tmp_path: Path) -> None:
    names = ["short", "long", "text", "nan", "zero", "prompt", "blob", "end", "foreign", "good"]
    fill(store, names, np.stack([X] * 10))
    change = "UPDATE vectors SET {} = ? WHERE prompt = ?"
    for name, data in (
        ("short", b"123"),
        ("long", X.tobytes() * 2),
        ("text", "abc"),
        ("nan", np.full(4, np.nan, "f4").tobytes()),
        ("zero", bytes(16)),
    ):
        rows(tmp_path, change.format("data"), data, name)
    rows(tmp_path, "UPDATE vectors SET expires = 'soon' WHERE prompt = 'end'")
    rows(tmp_path, "UPDATE vectors SET digest = '../x' WHERE prompt = 'foreign'")
    rows(tmp_path, "UPDATE vectors SET prompt = CAST(x'ff' AS TEXT) WHERE prompt = 'prompt'")
    rows(tmp_path, "UPDATE vectors SET prompt = x'00' WHERE prompt = 'blob'")
    assert prompts(store, X, 50) == ["good"]
    assert prompts(semantic(tmp_path), X, 1) == ["good"]


@pytest.mark.parametrize("kind", ["noise", "cut", "other tables", "empty"])
def test_a_damaged_file_is_set_aside_and_begun_anew(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = semantic(tmp_path)
    fill(store, range(300), cloud(300))
    store.close()
    path = tmp_path / "cache.db.vectors"
    if kind == "noise":
        path.write_bytes(os.urandom(50_000))
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        rows(tmp_path, "CREATE TABLE vectors (something)")
    store = semantic(tmp_path)
    with caplog.at_level(logging.ERROR, "llmcache"):
        assert prompts(store, cloud(300)[7]) == []
        fill(store, "x", X[None])
    assert prompts(store, X) == ["x"]
    assert store.get(digest(7)) == b"7"
    if kind != "empty":
        assert "set aside" in caplog.text
        assert len(list(tmp_path.glob("cache.db.vectors.damaged-*"))) >= 1
    store.close()


def test_a_file_that_is_replaced_under_a_running_process_is_noticed(
    store: Any, tmp_path: Path
) -> None:
    fill(store, "xy", np.stack([X, Y]))
    assert prompts(store, X) == ["x", "y"]
    for path in tmp_path.glob("cache.db.vectors*"):
        path.unlink()
    other = semantic(tmp_path)
    fill(other, ["new x", "new y"], np.stack([Z, X]))
    assert prompts(store, X) == ["new y", "new x"]
    other.close()
