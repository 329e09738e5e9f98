"""The graphs of the semantic store on disk: built, extended, shared, damaged, removed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmcache.backends.semantic import local_graph, local_graphs
from llmcache.backends.semantic.local_graph import Graph
from tests.backends.semantic.conftest import Floats, cloud, digest, fill, prompts
from tests.backends.semantic.local_stores import rows, semantic


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    store = semantic(tmp_path)
    yield store
    store.close()


@pytest.fixture
def small_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs over places that tests can fill."""
    monkeypatch.setattr(local_graphs, "EXACT", 500)
    monkeypatch.setattr(local_graphs, "_BEHIND", 50)


def built(store: Any) -> Any:
    """Search once, wait for the graph to be built, and return it."""
    prompts(store, cloud(1)[0])
    assert store._graphs.wait(60)
    (copy,) = store._copies._copies.values()
    return copy.graph


def recall(store: Any, vectors: Floats, names: Any, questions: Floats) -> float:
    """How often the first neighbour is the nearest."""
    best = (questions @ vectors.T).argmax(axis=1)
    found = [prompts(store, question, 1) for question in questions]
    pairs = zip(found, best, strict=True)
    return float(np.mean([one == [str(names[number])] for one, number in pairs]))


@pytest.mark.usefixtures("small_graphs")
def test_a_graph_finds_what_comparing_all_finds_while_vectors_come_and_go(store: Any) -> None:
    vectors = cloud(3000)
    fill(store, range(2000), vectors[:2000])
    graph = built(store)
    assert len(graph) == 2000
    assert recall(store, vectors[:2000], range(2000), vectors[:300]) >= 0.98
    fill(store, range(2000, 3000), vectors[2000:])
    assert prompts(store, vectors[2500], 1) == ["2500"]  # at once, whatever the graph knows
    assert len(built(store)) == 3000
    gone = range(0, 3000, 3)
    store.delete_many([digest(number) for number in gone])
    left = [number for number in range(3000) if number % 3]
    assert recall(store, vectors[left], left, vectors[:300]) >= 0.98
    found = prompts(store, vectors[0], 3000)
    assert sorted(map(int, found)) == left


@pytest.mark.usefixtures("small_graphs")
def test_a_graph_most_of_which_was_removed_is_built_anew(store: Any) -> None:
    vectors = cloud(4000)
    fill(store, range(4000), vectors)
    assert len(built(store)) == 4000
    store.delete_many([digest(number) for number in range(3200)])
    graph = built(store)
    assert len(graph) == 800
    assert recall(store, vectors[3200:], range(3200, 4000), vectors[:200]) >= 0.98


@pytest.mark.usefixtures("small_graphs")
def test_a_second_process_loads_the_graph_that_the_first_has_built(tmp_path: Path) -> None:
    first = semantic(tmp_path)
    fill(first, range(2000), cloud(2000))
    built(first)
    (path,) = tmp_path.glob("*.graph")
    written = path.stat()
    second = semantic(tmp_path)
    assert len(built(second)) == 2000
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    assert recall(second, cloud(2000), range(2000), cloud(2000)[:200]) >= 0.98
    first.close()
    second.close()


_HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "ab")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.usefixtures("small_graphs")
def test_while_another_process_builds_all_are_compared_and_if_it_dies_one_builds(
    store: Any, tmp_path: Path
) -> None:
    fill(store, range(1000), cloud(1000))
    lock = tmp_path / "cache.db.vectors-graphs.lock"
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(lock)], stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert prompts(store, cloud(1000)[7], 1) == ["7"]
        assert not store._graphs.wait(0.5)
        assert list(tmp_path.glob("*.graph")) == []
        assert prompts(store, cloud(1000)[8], 1) == ["8"]
        holder.kill()
    assert len(built(store)) == 1000


@pytest.mark.usefixtures("small_graphs")
@pytest.mark.parametrize("kind", ["noise", "cut", "turned bit", "another file's", "empty"])
def test_a_damaged_graph_is_built_anew(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = semantic(tmp_path)
    fill(first, range(1000), cloud(1000))
    built(first)
    first.close()
    (path,) = tmp_path.glob("*.graph")
    data = bytearray(path.read_bytes())
    if kind == "turned bit":
        data[len(data) // 2] ^= 1
    elif kind == "cut":
        del data[-1000:]
    elif kind == "noise":
        data = bytearray(os.urandom(len(data)))
    elif kind == "empty":
        data.clear()
    else:
        rows(tmp_path, "UPDATE file SET made = 'another'")
    path.write_bytes(data)
    second = semantic(tmp_path)
    assert len(built(second)) == 1000
    assert "built anew (checksum)" in caplog.text  # the library itself would have believed it
    assert recall(second, cloud(1000), range(1000), cloud(1000)[:100]) >= 0.98
    second.close()


@pytest.mark.usefixtures("small_graphs")
@pytest.mark.parametrize("kind", ["no graph", "another dimension"])
def test_a_graph_that_is_as_it_was_written_and_yet_of_no_use_is_built_anew(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = semantic(tmp_path)
    fill(first, range(1000), cloud(1000))
    built(first)
    made = first._file.made
    first.close()
    (path,) = tmp_path.glob("*.graph")
    other = Graph(8)
    other.add(np.arange(1, 11), cloud(10, 8))
    other.save(path, made)
    if kind == "no graph":
        number, body = (10).to_bytes(8, "big"), b"what another version has written"
        checksum = local_graph._checksum(made, number, body)
        path.write_bytes(local_graph._MAGIC + checksum + number + body)
    second = semantic(tmp_path)
    assert len(built(second)) == 1000
    assert ("cannot be read and is built anew" in caplog.text) is (kind == "no graph")
    assert recall(second, cloud(1000), range(1000), cloud(1000)[:100]) >= 0.98
    second.close()


@pytest.mark.usefixtures("small_graphs")
def test_a_graph_that_cannot_be_built_is_told_and_all_are_compared(
    store: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(store, range(1000), cloud(1000))
    lock = tmp_path / "cache.db.vectors-graphs.lock"
    lock.mkdir()  # whoever may write here can be in the way
    for number in (7, 8):
        assert prompts(store, cloud(1000)[number], 1) == [str(number)]
        assert store._graphs.wait(60)
    assert "a graph of vectors could not be built" in caplog.text
    lock.rmdir()
    assert len(built(store)) == 1000


@pytest.mark.usefixtures("small_graphs")
def test_sweep_removes_the_graph_of_an_empty_place(store: Any, tmp_path: Path) -> None:
    fill(store, range(1000), cloud(1000))
    built(store)
    left = tmp_path / "cache.db.vectors-x.graph.1.tmp"
    left.touch()
    os.utime(left, (1, 1))
    store.sweep()
    assert len(list(tmp_path.glob("*.graph*"))) == 1
    store.clear()
    store.sweep()
    assert list(tmp_path.glob("*.graph*")) == []


@pytest.mark.usefixtures("small_graphs")
def test_close_gives_up_a_graph_that_is_being_built(store: Any) -> None:
    fill(store, range(5000), cloud(5000, 64))
    prompts(store, cloud(1, 64)[0])
    store.close()
    assert "llmcache-graphs" not in {thread.name for thread in threading.enumerate()}
    assert prompts(store, cloud(5000, 64)[77], 1) == ["77"]
