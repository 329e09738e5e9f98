"""What only the store on disk does: its directory, its limits, and what others plant in it."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import llmcache
from llmcache.backends.base import Item
from llmcache.backends.disk import DiskBackend
from llmcache.conf import BackendSettings

A, B = sha256(b"a").hexdigest(), sha256(b"b").hexdigest()
RAW, BINARY, PICKLE = 1, 2, 4


def disk(place: object, **changes: Any) -> DiskBackend:
    return DiskBackend(BackendSettings(alias="disk", location=str(place), **changes))


def rows(place: Path, statement: str, *values: object) -> list[Any]:
    """Run a statement in the store's database as another program would."""
    connection = sqlite3.connect(place / "cache.db", timeout=5)
    with connection:
        found = connection.execute(statement, values).fetchall()
    connection.close()
    return found


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "it ran")


# --- the directory ---


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there yet"
    store = disk(place)
    assert not place.exists()
    assert store.check() == []
    store.set(A, b"1", 60)
    assert place.stat().st_mode & 0o777 == 0o700
    assert store.check() == []


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_can_write_to_is_warned_about(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    (message,) = disk(tmp_path).check()
    assert message.id == "llmcache.W106"
    assert message.hint == f"chmod 700 {tmp_path}"


def test_a_relative_directory_stays_where_it_was_when_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = disk("entries")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.set(A, b"1", 60)
    assert (tmp_path / "entries" / "cache.db").exists()


def test_a_tilde_in_the_location_is_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    disk("~/entries").set(A, b"1", 60)
    assert (tmp_path / "entries").stat().st_mode & 0o777 == 0o700


# --- settings ---


@pytest.mark.parametrize(
    ("location", "options", "says"),
    [
        ("", {}, r"\['LOCATION'\] must name the directory"),
        ("/d", {"size_limt": 1}, "Did you mean 'size_limit'.*Known: eviction_policy"),
        ("/d", {"size_limit": 0}, "size_limit.*an integer from 1 up"),
        ("/d", {"size_limit": "1 GB"}, "size_limit.*an integer from 1 up"),
        ("/d", {"timeout": -1}, "timeout.*a number of seconds above 0"),
        ("/d", {"eviction_policy": "lru"}, "one of least-recently-stored, .*not 'lru'"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_remedy(
    location: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        disk(location, options=options)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "diskcache", None)
    with pytest.raises(ImproperlyConfigured, match=r'pip install "django-llmcache\[disk\]"'):
        disk("/d")


def test_the_module_can_be_imported_without_the_package() -> None:
    script = "import sys; sys.modules['diskcache'] = None; import llmcache.backends.disk"
    subprocess.run([sys.executable, "-c", script], check=True)


# --- several processes, restarts, limits ---


def test_entries_outlive_the_object_that_wrote_them(tmp_path: Path) -> None:
    first = disk(tmp_path)
    first.set(A, b"small", 60)
    first.set(B, os.urandom(100_000), None)
    large = first.get(B)
    first.close()
    assert disk(tmp_path).get_many([A, B]) == {A: b"small", B: large}


_WRITER = """
import sys
from hashlib import sha256
from django.conf import settings
settings.configure()
from llmcache.backends.disk import DiskBackend
from llmcache.conf import BackendSettings
store = DiskBackend(BackendSettings(alias="disk", location=sys.argv[1]))
for number in range(100):
    store.set(sha256(f"{sys.argv[2]}-{number}".encode()).hexdigest(), sys.argv[2].encode(), 60)
"""


def test_several_processes_write_at_once_and_lose_nothing(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), name]) for name in "xyz"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    expected = {
        sha256(f"{name}-{number}".encode()).hexdigest(): name.encode()
        for name in "xyz"
        for number in range(100)
    }
    store = disk(tmp_path)
    assert store.get_many(expected) == expected
    assert sorted(store.iterate()) == sorted(expected)


def test_the_size_limit_holds_by_evicting_the_oldest(tmp_path: Path) -> None:
    limit = 1_000_000
    store = disk(tmp_path, options={"size_limit": limit})
    names = [sha256(str(number).encode()).hexdigest() for number in range(60)]
    for name in names:
        store.set(name, os.urandom(50_000), None)
    used = sum(path.stat().st_size for path in tmp_path.rglob("*.val"))
    assert used <= limit
    assert store.get(names[0]) is None
    assert store.get(names[-1]) is not None


def test_another_programs_lock_delays_a_write_by_the_timeout_and_a_read_not_at_all(
    tmp_path: Path,
) -> None:
    store = disk(tmp_path, options={"timeout": 0.1})
    store.set(A, b"1", 60)
    holder = sqlite3.connect(tmp_path / "cache.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        began = time.monotonic()
        assert store.get(A) == b"1"
        with pytest.raises(Exception, match=r"^$"):  # diskcache.Timeout says no more
            store.set(A, b"2", 60)
        assert time.monotonic() - began < 5
    finally:
        holder.close()
    store.set(A, b"3", 60)
    assert store.get(A) == b"3"


# --- what others plant ---


@pytest.mark.parametrize("where", ["row", "file"])
def test_a_planted_pickle_never_runs_and_is_no_answer(tmp_path: Path, where: str) -> None:
    place, fuse = tmp_path / "entries", tmp_path / "fuse"
    store = disk(place)
    store.set(A, b"1" * 100_000, 60)
    bomb = pickle.dumps(Bomb(fuse))
    if where == "row":
        rows(place, "UPDATE Cache SET mode = ?, filename = NULL, value = ?", PICKLE, bomb)
    else:
        ((name,),) = rows(place, "SELECT filename FROM Cache")
        (place / name).write_bytes(bomb)
        rows(place, "UPDATE Cache SET mode = ?", PICKLE)
    with pytest.raises(llmcache.exceptions.LLMCacheError, match="not plain bytes"):
        store.get(A)
    assert list(store.iterate()) == [A]
    assert store.clear() == 1
    assert not fuse.exists()


def test_a_planted_pickle_is_a_miss_to_the_caller_and_is_replaced(tmp_path: Path) -> None:
    place, fuse = tmp_path / "entries", tmp_path / "fuse"
    backend = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(place)}
    ask: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    with override_settings(LLMCACHE={"default": backend}):
        llmcache.completion(**ask)
        bomb = pickle.dumps(Bomb(fuse))
        rows(place, "UPDATE Cache SET mode = ?, filename = NULL, value = ?", PICKLE, bomb)
        assert not llmcache.completion(**ask).cache.hit
        assert llmcache.completion(**ask).cache.hit
    assert not fuse.exists()


def test_others_can_write_while_a_store_is_cleared(tmp_path: Path) -> None:
    store = disk(tmp_path)
    digests = [sha256(b"%d" % number).hexdigest() for number in range(1200)]
    store.set_many([Item(digest, b"1", 60) for digest in digests])
    said: list[str] = []
    store.cache._con.set_trace_callback(said.append)
    assert store.clear() == 1200
    turns: list[set[str]] = [set()]
    for statement in said:
        turns += [set()] if statement == "COMMIT" else []
        turns[-1] |= {statement} if statement.startswith("DELETE") else set()  # once a trigger too
    assert sum(map(len, turns)) == 1200 and max(map(len, turns)) <= 500


def test_a_planted_pickled_key_never_runs_and_stops_neither_iterate_nor_clear_nor_sweep(
    tmp_path: Path,
) -> None:
    place, fuse = tmp_path / "entries", tmp_path / "fuse"
    store = disk(place)
    store.set(A, b"1", 60)
    rows(
        place,
        "INSERT INTO Cache (key, raw, store_time, expire_time, mode, value) VALUES (?,0,0,1,?,?)",
        pickle.dumps(Bomb(fuse)),
        RAW,
        b"",
    )
    assert list(store.iterate()) == [A]
    assert store.sweep() == 1
    assert store.clear() == 1
    assert not fuse.exists()


def test_a_planted_text_is_no_answer(tmp_path: Path) -> None:
    store = disk(tmp_path)
    store.set(A, b"1", 60)
    rows(tmp_path, "UPDATE Cache SET value = 'text'")
    with pytest.raises(llmcache.exceptions.LLMCacheError, match="not plain bytes"):
        store.get(A)
    store.set(A, b"2", 60)
    assert store.get(A) == b"2"


@pytest.mark.parametrize("form", ["absolute", "climbing"])
def test_a_planted_path_is_neither_read_nor_deleted(tmp_path: Path, form: str) -> None:
    place, foreign = tmp_path / "entries", tmp_path / "foreign"
    foreign.write_bytes(b"another program's")
    store = disk(place)
    store.set(A, b"1", 60)
    store.set(B, b"1", 60)
    path = str(foreign) if form == "absolute" else "../foreign"
    rows(place, "UPDATE Cache SET mode = ?, filename = ?, value = NULL", BINARY, path)
    with pytest.raises(llmcache.exceptions.LLMCacheError, match="outside"):
        store.get(A)
    store.set(A, b"2", 60)
    assert store.get(A) == b"2"
    store.delete(B)
    rows(place, "UPDATE Cache SET expire_time = 1, filename = ?", path)
    assert store.sweep() == 1
    assert foreign.read_bytes() == b"another program's"


def test_a_value_file_that_is_gone_is_a_miss(tmp_path: Path) -> None:
    store = disk(tmp_path)
    store.set(A, b"1" * 100_000, 60)
    for path in tmp_path.rglob("*.val"):
        path.unlink()
    assert store.get(A) is None
