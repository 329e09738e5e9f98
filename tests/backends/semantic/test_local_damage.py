"""What the semantic store on disk makes of damage, and of a file that is replaced."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.semantic.conftest import cloud, digest, fill, prompts, unit, vector
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


def remove(place: Path) -> None:
    for path in place.glob("cache.db.vectors*"):
        path.unlink()


def test_a_file_that_is_removed_under_a_running_process_is_begun_anew(
    store: Any, tmp_path: Path
) -> None:
    fill(store, "xy", np.stack([X, Y]))
    assert prompts(store, X) == ["x", "y"]
    remove(tmp_path)
    assert prompts(store, X) == []
    assert store.get(digest("x")) == b"x"
    fill(store, "z", Z[None])
    assert prompts(store, Z) == ["z"]


def drop_tables(place: Path) -> None:
    for table in ("file", "vectors"):
        rows(place, f"DROP TABLE {table}")


@pytest.mark.parametrize("when", ["before it is searched", "between the copy and the rows"])
def test_of_two_processes_that_find_a_file_damaged_one_sets_it_aside(
    store: Any, tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, "xy", np.stack([X, Y]))
    other = semantic(tmp_path)
    assert prompts(store, X) == prompts(other, X) == ["x", "y"]

    def damage() -> None:
        drop_tables(tmp_path)
        fill(other, "z", Z[None])

    if when == "before it is searched":
        damage()
    else:
        keep_up = store._graphs.keep_up
        turns = iter([damage])
        monkeypatch.setattr(
            store._graphs, "keep_up", lambda copy: (next(turns, lambda: None)(), keep_up(copy))
        )
    for each in (store, other):  # with its own similarity, not that of the row of this number
        (found,) = each.nearest("p", "s", Z.tobytes())
        assert (found.prompt, found.similarity) == ("z", pytest.approx(1.0))
    assert len(list(tmp_path.glob("cache.db.vectors.damaged-*[0-9]"))) == 1
    other.close()


def test_a_process_that_finds_it_set_aside_already_begins_with_the_new_file(
    store: Any, tmp_path: Path
) -> None:
    fill(store, "x", X[None])
    other = semantic(tmp_path)
    assert prompts(other, X) == ["x"]
    turn = store._file._turn

    def after_the_other() -> Any:
        fill(other, "z", Z[None])
        return turn()

    store._file._turn = after_the_other
    drop_tables(tmp_path)
    assert prompts(store, Z) == ["z"]
    assert len(list(tmp_path.glob("cache.db.vectors.damaged-*[0-9]"))) == 1
    other.close()


@pytest.mark.parametrize("kind", ["locked", "not to be written"])
def test_what_is_no_damage_is_an_error_and_leaves_the_file_as_it_is(
    tmp_path: Path, kind: str
) -> None:
    store = semantic(tmp_path, timeout=0.05)
    fill(store, "xy", np.stack([X, Y]))
    other = sqlite3.connect(tmp_path / "cache.db.vectors", isolation_level=None)
    if kind == "locked":
        other.execute("BEGIN IMMEDIATE")
    else:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON vectors WHEN new.prompt = 'z'"
            " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    with pytest.raises(sqlite3.DatabaseError, match=r"locked|full"):
        store.add([vector("new", Y), vector("z", Z)])
    assert prompts(store, X) == ["x", "y"]
    if kind == "locked":
        other.execute("ROLLBACK")
    else:
        other.execute("DROP TRIGGER full")
    other.close()
    store.set(digest("z"), b"z", 60)
    store.add([vector("z", Z)])
    assert prompts(store, Z, 1) == ["z"]
    assert rows(tmp_path, "SELECT prompt FROM vectors ORDER BY prompt") == [("x",), ("y",), ("z",)]
    assert list(tmp_path.glob("*damaged*")) == []
    store.close()


def test_a_file_whose_name_is_lost_is_begun_anew(tmp_path: Path) -> None:
    store = semantic(tmp_path)
    fill(store, "x", X[None])
    store.close()
    rows(tmp_path, "DELETE FROM file")
    store = semantic(tmp_path)
    assert prompts(store, X) == []
    fill(store, "y", Y[None])
    assert prompts(store, Y) == ["y"]
    store.close()


def test_a_file_that_is_replaced_under_a_running_process_is_noticed(
    store: Any, tmp_path: Path
) -> None:
    fill(store, "xy", np.stack([X, Y]))
    assert prompts(store, X) == ["x", "y"]
    remove(tmp_path)
    other = semantic(tmp_path)
    fill(other, ["new x", "new y"], np.stack([Z, X]))
    assert prompts(store, X) == ["new y", "new x"]
    other.close()
