"""What only the semantic store on disk does: its processes and its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.disk import DiskBackend
from llmcache.backends.semantic import local_rows
from llmcache.conf import BackendSettings
from tests.backends.semantic.conftest import Floats, cloud, digest, fill, prompts, unit, vector
from tests.backends.semantic.local_stores import rows, semantic

X, Y, Z = unit(1, 0, 0, 0), unit(0, 1, 0, 0), unit(0, 0, 1, 0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    store = semantic(tmp_path)
    yield store
    store.close()


# --- processes ---

_OTHER = """
import sys
from django.conf import settings
settings.configure()
import numpy as np
from hashlib import sha256
from llmcache.backends.semantic.base import Vector
from llmcache.backends.semantic.local import LocalSemanticBackend
from llmcache.conf import BackendSettings
store = LocalSemanticBackend(BackendSettings(alias="l", location=sys.argv[1]))

def digest(name):
    return sha256(name.encode()).hexdigest()

for line in sys.stdin:
    order, name, *numbers = line.split()
    data = np.array(numbers, "f4").tobytes()
    answer = ""
    if order == "add":
        store.set(digest(name), b"1", None)
        store.add([Vector(digest=digest(name), partition="p", space="s", prompt=name,
                          data=data, expires=None)])
    elif order == "delete":
        store.delete(digest(name))
    elif order == "touch":
        store.touch(digest(name), 0.01)
    elif order == "clear":
        store.clear()
    elif order == "nearest":
        answer = " ".join(one.prompt for one in store.nearest("p", "s", data))
    print(answer, flush=True)
"""


class Other:
    """A process of its own that does what it is told."""

    def __init__(self, place: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OTHER, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, order: str, name: str = "-", data: Floats | None = None) -> list[str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        numbers = " ".join(map(str, [] if data is None else data))
        self.process.stdin.write(f"{order} {name} {numbers}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


def test_processes_see_each_others_adds_and_removals_at_once(store: Any, tmp_path: Path) -> None:
    one, two = Other(tmp_path), Other(tmp_path)
    for n in range(5):
        one.ask("add", f"a{n}", X)
        assert prompts(store, X, 1) == [f"a{n}"]
        assert two.ask("nearest", "-", X) == [f"a{n}"]
        fill(store, [f"b{n}"], Y[None])
        assert two.ask("nearest", "-", Y) == [f"b{n}", f"a{n}"]
        two.ask("delete", f"a{n}")
        assert prompts(store, X) == [f"b{n}"]
        assert one.ask("nearest", "-", X) == [f"b{n}"]
        one.ask("touch", f"b{n}")
        time.sleep(0.03)
        assert prompts(store, Y) == []
        assert two.ask("nearest", "-", Y) == []
        two.ask("add", "c", Z)
        one.ask("clear")
        assert prompts(store, Z) == []
        assert two.ask("nearest", "-", Z) == []
    one.end()
    two.end()


def test_processes_write_at_once_and_lose_nothing(store: Any, tmp_path: Path) -> None:
    vectors = cloud(120, 4)
    others = [Other(tmp_path) for _ in range(3)]

    def work(number: int) -> None:
        for n in range(number, 120, 3):
            others[number].ask("add", str(n), vectors[n])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.vector_count() == 120
    for n in range(120):
        assert prompts(store, vectors[n], 1) == [str(n)]
    for other in others:
        other.end()


def test_vectors_outlive_the_process_that_wrote_them(tmp_path: Path) -> None:
    other = Other(tmp_path)
    other.ask("add", "x", X)
    other.end()
    store = semantic(tmp_path)
    assert prompts(store, X) == ["x"]
    store.close()


def test_a_child_forked_in_the_middle_of_a_search_works_beside_its_parent(store: Any) -> None:
    fill(store, "x", X[None])
    assert prompts(store, X) == ["x"]
    held, release = threading.Event(), threading.Event()

    def search() -> None:
        with store._file.lock:
            held.set()
            release.wait(20)

    thread = threading.Thread(target=search)
    thread.start()
    held.wait(20)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # a child that waits for its parent's thread does so for ever
        ok = False
        try:
            ok = prompts(store, X, 1) == ["x"]
            fill(store, "y", Y[None])
            ok = ok and prompts(store, Y, 1) == ["y"]
        finally:
            os._exit(0 if ok else 1)
    release.set()
    thread.join()
    for n in range(20):
        fill(store, [n], Z[None])
        assert prompts(store, Z, 1) == [str(n)]
        store.delete(digest(n))
    assert os.waitpid(child, 0)[1] == 0
    assert prompts(store, Y, 1) == ["y"]


def test_whoever_is_far_behind_reads_a_place_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_rows, "LOG_LENGTH", 10)
    one, two = semantic(tmp_path), semantic(tmp_path)
    fill(one, range(100), cloud(100))
    end = time.time() + 1
    one.touch(digest(99), 1)
    assert prompts(two, cloud(100)[7], 1) == ["7"]
    assert one.touch(digest(99), None)
    one.delete_many([digest(number) for number in range(50)])
    fill(one, range(100, 120), cloud(20, seed=5))
    assert rows(tmp_path, "SELECT count(*) FROM changes") == [(10,)]
    time.sleep(max(0.0, end + 0.05 - time.time()))
    assert prompts(two, cloud(100)[99], 1) == ["99"]
    assert "7" not in prompts(two, cloud(100)[7], 120)
    assert len(prompts(two, cloud(100)[7], 120)) == 70
    one.close()
    two.close()


def test_an_entry_that_diskcache_evicts_is_no_neighbour_and_sweep_removes_its_vector(
    tmp_path: Path,
) -> None:
    store = semantic(tmp_path, size_limit=1_000_000)
    other = DiskBackend(
        BackendSettings(alias="l", location=str(tmp_path), options={"size_limit": 1_000_000})
    )
    fill(store, range(5), cloud(5))
    assert len(prompts(store, cloud(5)[0])) == 5
    for number in range(60):
        other.set(digest(("new", number)), os.urandom(50_000), None)
    assert other.get(digest(0)) is None
    assert prompts(store, cloud(5)[0]) == []
    assert store.vector_count() == 0
    store.sweep()
    assert rows(tmp_path, "SELECT count(*) FROM vectors") == [(0,)]
    other.close()
    store.close()


def test_sweep_removes_expired_vectors_a_few_at_a_time(store: Any, tmp_path: Path) -> None:
    for number in range(10):
        store.set(digest(number), b"1", 0.01)
        store.add([vector(number, X, expires=time.time() + 0.01)])
    fill(store, "x", X[None])
    time.sleep(0.05)
    store._rows.sweep(time.time(), 4)
    assert rows(tmp_path, "SELECT count(*) FROM vectors") == [(7,)]
    store.sweep()
    assert rows(tmp_path, "SELECT prompt FROM vectors") == [("x",)]


# --- memory ---


def test_what_was_not_searched_for_the_longest_leaves_memory_and_is_read_again(
    tmp_path: Path,
) -> None:
    store = semantic(tmp_path, memory_limit=200_000)
    for n in range(10):
        fill(store, range(n * 500, n * 500 + 500), cloud(500, seed=n), partition=str(n))
    for _ in range(2):
        for n in range(10):
            assert prompts(store, cloud(500, seed=n)[3], 1, partition=str(n)) == [str(n * 500 + 3)]
            assert store._copies._memory <= 200_000
    assert 1 < len(store._copies._copies) < 10
    store.close()


@pytest.mark.skipif(os.cpu_count() == 1, reason="with one processor no work is shared out")
def test_a_search_keeps_no_other_thread_busy(store: Any) -> None:
    vectors = cloud(4000, 384)
    fill(store, range(len(vectors)), vectors)
    assert prompts(store, vectors[7], 1) == ["7"]
    everybody, own = time.process_time(), time.thread_time()
    for n in range(0, 4000, 40):
        assert prompts(store, vectors[n], 1) == [str(n)]
    own = time.thread_time() - own
    others = time.process_time() - everybody - own
    assert others < own / 2


# --- settings ---


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"memory_limit": 0}, "memory_limit.*an integer from 1 up"),
        ({"memory_limt": 1}, "Did you mean 'memory_limit'"),
        ({"size_limit": -1}, "size_limit.*an integer from 1 up"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_remedy(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        semantic("/d", **options)


@pytest.mark.parametrize("package", ["numpy", "usearch"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImproperlyConfigured, match=r'pip install "django-llmcache\[semantic\]"'):
        semantic("/d")


def test_the_module_loads_no_package_until_it_is_needed() -> None:
    script = (
        "import sys; import llmcache.backends.semantic.local;"
        "assert not {'numpy', 'usearch', 'diskcache'} & set(sys.modules)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
