"""A router that reads from a replica: the pages and the figures are read there, and whatever is
written, or decides what is written, goes to the primary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connections, models, router
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import llmcache
from llmcache import jobs, ledger, maintenance, stats, sweeping
from llmcache.models import Call, Entry, Eviction, HourlyStat
from llmcache.recorder import recorder
from llmcache.rollup import roll_up
from tests.ledger.databases import TABLES
from tests.ledger.records import called
from tests.servers import postgres as postgres_server

PRIMARY, REPLICA, FEED = "llmcache", "llmcache_replica", "feed"
PAGE = Path(__file__).parent.parent.parent / "docs" / "scaling.md"


def documented() -> Any:
    """The router that the page shows."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (source,) = (block for block in blocks if block.startswith("class"))
    names: dict[str, Any] = {}
    exec(source, names)
    return names["LLMCacheRouter"]()


class Others:
    """The test site's other apps have but the primary."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        return PRIMARY

    db_for_write = db_for_read


@pytest.fixture(scope="module")
def servers(postgres: dict[str, Any], django_db_blocker: Any) -> Iterator[None]:
    """Two databases with the same tables, one of which takes no writes but by its feed."""
    with ExitStack() as stack:
        primary, other = (stack.enter_context(postgres_server.fresh(postgres)) for _ in range(2))
        read_only = {"options": "-c default_transaction_read_only=on"}
        described = {PRIMARY: primary, REPLICA: {**other, "OPTIONS": read_only}, FEED: other}
        known = connections.configure_settings({"default": {}, **described})
        connections.settings |= {alias: known[alias] for alias in described}
        with django_db_blocker.unblock(), override_settings(DATABASE_ROUTERS=[]):
            for alias in (PRIMARY, FEED):
                call_command("migrate", database=alias, verbosity=0)
        yield
        with django_db_blocker.unblock():
            for alias in described:
                connections[alias].close()
                del connections[alias], connections.settings[alias]


def routed() -> override_settings:
    return override_settings(DATABASE_ROUTERS=[documented(), Others()])


@pytest.fixture
def site(servers: None, django_db_blocker: Any) -> Iterator[None]:
    """A site with the router, whose tables are empty, and an unusual default store."""
    with django_db_blocker.unblock(), routed():
        recorder._start_afresh()
        yield
        for table in TABLES:
            for alias in (PRIMARY, FEED):
                table._base_manager.using(alias).all().delete()


@pytest.fixture
def admin_client(site: None) -> Client:
    """A superuser's."""
    client = Client()
    client.force_login(
        User.objects.get_or_create(username="staff", is_superuser=True, is_staff=True)[0]
    )
    return client


def follow() -> None:
    """Let the replica have what the primary has."""
    for table in TABLES:
        table._base_manager.using(FEED).all().delete()
    for table in reversed(TABLES):
        rows = table._base_manager.using(PRIMARY).all().order_by("pk")
        table._base_manager.using(FEED).bulk_create(rows)


def ask(text: str, **cache: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    found = llmcache.completion("m", messages=messages, cache=cache).cache
    recorder.flush()
    return found


def count(table: type[models.Model], alias: str = PRIMARY) -> int:
    return table._base_manager.using(alias).count()


def test_records_are_written_to_the_primary_and_read_from_the_replica(site: None) -> None:
    ask("one")
    assert ask("one").outcome == "hit"
    assert (count(Call), count(Entry), count(HourlyStat)) == (2, 1, 2)
    since = timezone.now() - timedelta(days=1)
    assert stats.summary(stats.selected(since)).hits == 0
    follow()
    assert stats.summary(stats.selected(since)).hits == 1
    assert Entry.objects.get().hits == 1


def page(name: str, *arguments: Any, **query: Any) -> Callable[[Client], Any]:
    return lambda client: client.get(reverse(f"admin:llmcache_{name}", args=arguments), query)


PAGES = {
    "dashboard": page("hourlystat_changelist"),
    "stores": page("aliases"),
    "entries": page("entry_changelist"),
    "entries of a model": page("entry_changelist", model="m"),
    "calls": page("call_changelist"),
    "evictions": page("eviction_changelist"),
    "evict all that match": page("entry_evict_matching"),
    "similar pairs": page("matchedpair_changelist"),
}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_asks_the_replica_and_leaves_the_primary_alone(
    site: None, admin_client: Client, name: str
) -> None:
    ask("quokka")
    follow()
    ask("wombat")
    with (
        CaptureQueriesContext(connections[PRIMARY]) as primary,
        CaptureQueriesContext(connections[REPLICA]) as replica,
    ):
        response = PAGES[name](admin_client)
    assert response.status_code == 200
    assert ours(primary) == []
    assert ours(replica) != []
    text = response.content.decode()
    assert ("quokka" in text) is (name in ("entries", "entries of a model"))
    assert "wombat" not in text


def ours(captured: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in captured if "llmcache_" in query["sql"]]


def test_one_entrys_page_and_what_is_done_there(site: None, admin_client: Client) -> None:
    ask("one")
    follow()
    entry = Entry.objects.get()
    assert entry._state.db == REPLICA
    address = reverse("admin:llmcache_entry_change", args=[entry.pk])
    assert admin_client.get(address).status_code == 200
    assert maintenance.payload(entry)
    maintenance.pin(entry)
    assert Entry.objects.using(PRIMARY).get().pinned
    follow()
    maintenance.set_ttl(Entry.objects.get(), 60)
    assert not Entry.objects.using(PRIMARY).get().pinned
    assert count(Entry) == 1


def test_what_is_evicted_is_gone_from_the_primary(site: None, admin_client: Client) -> None:
    found = [ask(text, tags=["t"]) for text in ("one", "two", "three")]
    follow()
    late = ask("four", tags=["t"])  # the replica has not heard of it
    picked = Entry.objects.get(digest=found[0].key)
    admin_client.post(
        reverse("admin:llmcache_entry_changelist"),
        {"action": "evict_selected", "_selected_action": [picked.pk]},
    )
    assert set(digests()) == {found[1].key, found[2].key, late.key}
    assert maintenance.evict(tag="t").removed == 3
    assert digests() == []
    assert ask("four").outcome == "miss"


def test_all_that_match_are_those_of_the_primary(site: None, admin_client: Client) -> None:
    ask("one")
    follow()
    ask("two")
    admin_client.post(reverse("admin:llmcache_entry_evict_matching"))
    assert digests() == []
    assert Eviction.objects.using(PRIMARY).operations().get().number == 2


def digests() -> list[str]:
    return list(Entry.objects.using(PRIMARY).values_list("digest", flat=True))


def test_sweeping_and_rolling_up_work_on_the_primary(site: None) -> None:
    ask("one")
    old = timezone.now() - timedelta(days=90)
    Entry.objects.using(PRIMARY).update(kept_until=old)
    Call.objects.using(PRIMARY).update(created=old)
    for hour in range(3):
        moment = old.replace(hour=hour + 3, minute=0, second=0, microsecond=0)
        HourlyStat.objects.using(PRIMARY).create(hour=moment, outcome="hit", calls=2)
    follow()
    swept = sweeping.sweep()
    assert (swept.index, swept.log) == (1, 1)
    assert (count(Entry), count(Call)) == (0, 0)
    roll_up()
    days = HourlyStat.objects.using(PRIMARY).filter(hour__lt=old + timedelta(days=2))
    assert [row.calls for row in days] == [6]


def test_tables_are_made_in_the_primary_only(site: None) -> None:
    allowed = {
        (db, app): router.allow_migrate(db, app)
        for db in ("default", PRIMARY, REPLICA)
        for app in ("llmcache", "auth")
    }
    assert [place for place, may in allowed.items() if may] == [
        ("default", "auth"),
        (PRIMARY, "llmcache"),
    ]


def test_a_task_that_two_workers_have_is_known_to_be_done_by_the_primary(
    site: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second does it between the first one's failure and its look whether it is done."""
    good, bad = called().as_json(), called(latency=float("nan")).as_json()
    job = ([good, bad], [], 0, "0f3f3f3f-0000-4000-8000-000000000000")
    real, others = ledger.write, [lambda: jobs.flush_records(*job)]

    def write(*given: Any, **more: Any) -> None:
        try:
            real(*given, **more)
        except IntegrityError:
            if others:
                others.pop()()
            raise

    monkeypatch.setattr(ledger, "write", write)
    jobs.flush_records(*job)
    assert count(Call) == 1
