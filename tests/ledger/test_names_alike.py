"""Names that differ in case, accents or a blank at the end: two names, on every database."""

from __future__ import annotations

import pytest

from llmcache import ledger, maintenance
from llmcache.models import Call, Entry, EntryTag, HourlyStat
from tests.ledger.records import called, stored

pytestmark = pytest.mark.usefixtures("database")

ALIKE = ["Tenant", "tenant", "ténant", "tenant "]


def test_an_entry_may_have_tags_alike() -> None:
    ledger.write([], [stored(1, tags=ALIKE)])
    assert sorted(EntryTag.objects.values_list("name", flat=True)) == sorted(ALIKE)


@pytest.mark.parametrize("name", ["namespace", "model", "caller"])
def test_figures_of_names_alike_are_figures_of_each(name: str) -> None:
    ledger.write([called("hit", n, **{name: alike}) for n, alike in enumerate(ALIKE)], [])
    ledger.write([called("hit", n, **{name: alike}) for n, alike in enumerate(ALIKE)], [])
    assert sorted(HourlyStat.objects.values_list(name, "calls")) == [
        (alike, 2) for alike in sorted(ALIKE)
    ]
    assert Call.objects.filter(**{name: "tenant"}).count() == 2


@pytest.mark.parametrize("name", ["tag", "namespace", "scope", "model"])
def test_an_eviction_names_one_of_names_alike(name: str) -> None:
    given = [{"tags": [alike]} if name == "tag" else {name: alike} for alike in ALIKE]
    ledger.write([], [stored(n, **each) for n, each in enumerate(given)])
    assert maintenance.evict(**{name: "tenant"}).removed == 1
    assert Entry.objects.count() == 3
