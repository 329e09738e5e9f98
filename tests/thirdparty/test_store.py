"""A store of somebody else's: one line of settings, and every door, page and command knows it.

The contract that our own stores keep is its own too: see `tests.backends.stores`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, override_settings

import llmcache
from llmcache.backends import stores
from llmcache.checks import check_settings
from llmcache.models import Entry
from llmcache.recorder import recorder
from llmcache.upstreams.fake import FakeUpstream
from tests.admin.conftest import address, words
from tests.docs.blocks import blocks
from tests.testing.conftest import Project

pytestmark = pytest.mark.django_db

BACKEND = "tests.thirdparty.store.SqliteBackend"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}


def store_at(path: Path, **more: Any) -> dict[str, Any]:
    """LLMCACHE with the store as its default."""
    return {"default": {"BACKEND": BACKEND, "LOCATION": str(path / "entries.sqlite3"), **more}}


@pytest.fixture
def site(tmp_path: Path, settings: Any) -> None:
    settings.LLMCACHE = store_at(tmp_path)


def test_the_second_call_is_a_hit(site: None, door: Any, upstream: FakeUpstream) -> None:
    first, second = door.completion(**ASKED), door.completion(**ASKED)
    assert (first.cache.outcome, second.cache.outcome) == ("miss", "hit")
    assert second == first
    assert upstream.call_count == 1


def test_a_stream_and_embeddings_are_kept_as_well(
    site: None, door: Any, upstream: FakeUpstream
) -> None:
    chunks = door.chunks(door.completion(**ASKED, stream=True))
    assert door.chunks(door.completion(**ASKED, stream=True)) == chunks
    door.embedding(model="e", input=["one", "two"])
    assert door.embedding(model="e", input=["two", "three"]).cache.items == (1, 2)
    assert upstream.call_count == 3


def test_callers_that_come_at_once_share_a_call(
    site: None, door: Any, upstream: FakeUpstream
) -> None:
    upstream.latency = 0.2
    outcomes = [answer.cache.outcome for answer in door.together(10, **ASKED)]
    assert outcomes.count("miss") == 1 and upstream.call_count == 1


def test_an_entry_that_somebody_has_changed_is_a_miss(
    site: None, door: Any, upstream: FakeUpstream
) -> None:
    key = door.completion(**ASKED).cache.key
    store = stores["default"]
    data = store.get(key)
    assert data is not None
    store.set(key, data.replace(b"Hello?", b"Hullo?"), None)
    assert door.completion(**ASKED).cache.outcome == "miss"
    assert upstream.call_count == 2


def test_the_admin_shows_it_and_tries_it(site: None, admin_client: Client) -> None:
    llmcache.completion(**ASKED)
    recorder.flush()
    text = words(admin_client.get(address("aliases")).content.decode())
    assert "Class SqliteBackend Location" in text and "entries.sqlite3" in text
    assert "Entries in the index 1" in text and "Can be cleared by itself ✓ yes" in text
    page = admin_client.post(address("probe"), {"alias": "default"}, follow=True)
    assert "The store “default” works" in words(page.content.decode())
    admin_client.post(address("clear"), {"alias": "default", "typed": "default"})
    assert llmcache.completion(**ASKED).cache.outcome == "miss"


def test_evictions_reach_it(site: None, door: Any) -> None:
    door.completion(**ASKED, cache={"tags": ["greeting"]})
    recorder.flush()
    assert llmcache.evict(tag="greeting").removed == 1
    assert door.completion(**ASKED).cache.outcome == "miss"


def test_commands_sweep_and_list_it(
    site: None, door: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    key = door.completion(**ASKED).cache.key
    recorder.flush()
    Entry.objects.all().delete()
    call_command("llmcache_reindex")
    assert Entry.objects.get().digest == key
    stores["default"].set("e" * 64, b"old", 0.001)
    while stores["default"].get("e" * 64) is not None:
        pass
    call_command("llmcache_sweep")
    assert "default: 1 entry deleted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"OPTIONS": {"synchronuos": "OFF"}}, "Did you mean 'synchronous'"),
        ({"OPTIONS": {"synchronous": "MAYBE"}}, "must be one of OFF, NORMAL, FULL"),
        ({"OPTIONS": {"timeout": 0}}, "must be a number of seconds above 0"),
        ({"LOCATION": ""}, "must name a file"),
        ({"LOCATON": "x"}, "Did you mean 'LOCATION'"),
        ({"BACKEND": "tests.thirdparty.store.SqliteBackent"}, "cannot be imported"),
    ],
)
def test_checks_find_what_is_wrong_in_its_settings(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with override_settings(LLMCACHE=store_at(tmp_path, **changes)):
        (found,) = check_settings()
    assert found.id == "llmcache.E002" and says in found.msg


def test_its_own_warnings_are_among_the_checks(tmp_path: Path) -> None:
    with override_settings(LLMCACHE=store_at(tmp_path, OPTIONS={"synchronous": "OFF"})):
        (found,) = check_settings()
    assert found.id == "thirdparty.W001"


def test_it_may_be_a_layer(tmp_path: Path, door: Any) -> None:
    layers = {
        "default": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["near", "far"]},
        },
        "near": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
        "far": store_at(tmp_path)["default"],
    }
    with override_settings(LLMCACHE=layers):
        key = door.completion(**ASKED).cache.key
        stores["near"].delete(key)
        assert door.completion(**ASKED).cache.layer == "far"
        assert door.completion(**ASKED).cache.layer == "near"


# --- a store over others ---


@pytest.fixture
def mirrors(tmp_path: Path, settings: Any) -> None:
    settings.LLMCACHE = {
        "default": {
            "BACKEND": "tests.thirdparty.mirrors.MirrorsBackend",
            "OPTIONS": {"stores": ["one", "two"]},
        },
        "one": {"BACKEND": BACKEND, "LOCATION": str(tmp_path / "one")},
        "two": {"BACKEND": BACKEND, "LOCATION": str(tmp_path / "two")},
    }


def test_what_one_mirror_has_lost_another_one_serves_and_says_so(mirrors: None, door: Any) -> None:
    key = door.completion(**ASKED).cache.key
    assert door.completion(**ASKED).cache.layer == "one"
    stores["one"].delete(key)
    again = door.completion(**ASKED)
    assert (again.cache.outcome, again.cache.alias, again.cache.layer) == ("hit", "default", "two")


def test_an_eviction_takes_an_entry_out_of_each_mirror(mirrors: None, door: Any) -> None:
    key = door.completion(**ASKED).cache.key
    recorder.flush()
    llmcache.evict(digest=key, alias="default")
    assert stores["one"].get(key) is None and stores["two"].get(key) is None
    assert door.completion(**ASKED).cache.outcome == "miss"


def test_the_admin_shows_what_the_mirrors_are(mirrors: None, admin_client: Client) -> None:
    text = words(admin_client.get(address("aliases")).content.decode())
    assert "Class MirrorsBackend Layers one → two" in text


def test_mirrors_are_not_listed_beside_the_store_that_they_are_of(
    mirrors: None, door: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    door.completion(**ASKED)
    call_command("llmcache_reindex")
    said = capsys.readouterr().out
    assert "default: 1 entry seen" in said and "one:" not in said and "two:" not in said


# --- the contract, at home ---

HOME = """
import pytest
from llmcache.conf import BackendSettings
from llmcache.testing.store_contract import StoreContract
from tests.thirdparty.store import SqliteBackend


class Forgetful(SqliteBackend):
    def set_many(self, items):
        super().set_many([item._replace(ttl=None) for item in items])


@pytest.fixture
def kind():
    return {kind}


class TestOurStore(StoreContract):
    @pytest.fixture
    def make(self, tmp_path, kind):
        def make(**changes):
            location = str(tmp_path / "entries.sqlite3")
            return kind(BackendSettings(alias="ours", location=location, **changes))

        return make
"""


def test_its_makers_can_put_it_to_our_contract(project: Project) -> None:
    project.write("test_ours.py", HOME.format(kind="SqliteBackend"))
    done = project.pytest("test_ours.py", "-n", "0")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout and "failed" not in done.stdout


def test_the_contract_finds_a_store_that_forgets_when_entries_end(project: Project) -> None:
    project.write("test_ours.py", HOME.format(kind="Forgetful"))
    done = project.pytest("test_ours.py", "-k", "no_ttl or honoured")
    assert done.returncode == 1, done.stdout
    assert "2 failed, 2 passed" in done.stdout  # sync and async
    assert "assert gone(store, A" in done.stdout


def test_the_store_that_the_documentation_shows_passes_the_contract(project: Project) -> None:
    project.write("shop/__init__.py", "")
    for block in blocks("extending"):
        if block.file in ("shop/stores.py", "shop/test_stores.py"):
            project.write(block.file, block.code)
    done = project.pytest("shop/test_stores.py", "-n", "0")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout and "failed" not in done.stdout
