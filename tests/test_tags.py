"""Objects of the site's own models as tags: a changed object evicts what it tags, at its commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from django.db.models.signals import post_delete
from django.test import override_settings

import llmcache
from llmcache.exceptions import InvalidRequest
from llmcache.models import Entry, Eviction
from llmcache.recorder import recorder
from tests.doors import AsyncDoor, SyncDoor
from tests.shop.models import Book, Label, Product, Supplier

pytestmark = pytest.mark.django_db(transaction=True)

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "What does it cost?"}]}
Door = SyncDoor | AsyncDoor


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    with override_settings(LLMCACHE_CONFIG={"TAG_MODELS": ["shop.Product", "shop.Label"]}):
        yield


@pytest.fixture
def product() -> Product:
    return Product.objects.create(name="Bread")


def asked_about(door: Door, *tags: object) -> str:
    """Ask, with these tags; the outcome. What that brings is in the index afterwards."""
    outcome: str = door.completion(**QUESTION, cache={"tags": list(tags)}).cache.outcome
    recorder.flush()
    return outcome


def test_an_object_is_a_tag_of_its_model_and_primary_key(product: Product) -> None:
    asked_about(SyncDoor(), product, "plain")
    names = set(Entry.objects.get().tags.values_list("name", flat=True))
    assert names == {f"shop.product:{product.pk}", "plain"}


def test_saving_the_object_evicts_what_it_tags(door: Door, product: Product) -> None:
    assert asked_about(door, product) == "miss"
    assert asked_about(door, product) == "hit"
    product.save()
    assert asked_about(door, product) == "miss"


def test_another_object_evicts_nothing(door: Door, product: Product) -> None:
    asked_about(door, product)
    Product.objects.create(name="Butter")
    assert asked_about(door, product) == "hit"


def relabel(product: Product, label: Label) -> None:
    product.labels.add(label)


def relabel_from_the_other_side(product: Product, label: Label) -> None:
    label.products.add(product)


def clear_labels(product: Product, label: Label) -> None:
    product.labels.clear()


def clear_from_the_other_side(product: Product, label: Label) -> None:
    label.products.clear()


def delete(product: Product, label: Label) -> None:
    Product.objects.filter(pk=product.pk).delete()


@pytest.mark.parametrize(
    "change",
    [relabel, relabel_from_the_other_side, clear_labels, clear_from_the_other_side, delete],
)
def test_every_change_of_the_object_evicts(
    change: Callable[[Product, Label], None], product: Product
) -> None:
    label = Label.objects.create(name="fresh")
    if change not in (relabel, relabel_from_the_other_side):
        product.labels.add(label)
    asked_about(SyncDoor(), product)
    asked_about(SyncDoor(), product)
    change(product, label)
    assert llmcache.completion(**QUESTION).cache.outcome == "miss"


def test_a_child_of_a_watched_model_evicts_as_its_parent() -> None:
    book = Book.objects.create(name="Baking", author="A. Miller")
    asked_about(SyncDoor(), Product.objects.get(pk=book.pk))
    book.save()
    assert asked_about(SyncDoor()) == "miss"


def test_a_change_evicts_at_its_commit_and_not_before(product: Product) -> None:
    asked_about(SyncDoor(), product)
    with transaction.atomic():
        product.save()
        assert asked_about(SyncDoor(), product) == "hit"
    assert asked_about(SyncDoor(), product) == "miss"


def test_a_change_that_is_taken_back_evicts_nothing(product: Product) -> None:
    asked_about(SyncDoor(), product)
    with pytest.raises(RuntimeError), transaction.atomic():
        product.save()
        raise RuntimeError("taken back")
    assert asked_about(SyncDoor(), product) == "hit"


def test_an_answer_stored_but_not_yet_in_the_index_is_evicted_when_it_gets_there(
    product: Product,
) -> None:
    llmcache.completion(**QUESTION, cache={"tags": [product]})
    product.save()
    assert Entry.objects.count() == 0
    recorder.flush()
    assert Entry.objects.count() == 0
    assert llmcache.completion(**QUESTION).cache.outcome == "miss"


def test_an_answer_asked_for_after_the_change_stays(product: Product) -> None:
    product.save()
    assert asked_about(SyncDoor(), product) == "miss"
    assert asked_about(SyncDoor(), product) == "hit"


def test_the_eviction_log_says_why(product: Product) -> None:
    asked_about(SyncDoor(), product)
    product.save()
    eviction = Eviction.objects.operations().get()
    assert (eviction.value, eviction.number) == (f"shop.product:{product.pk}", 1)
    assert (eviction.reason, eviction.by) == ("the object changed", "models")


def test_an_object_whose_changes_nobody_watches_is_refused(door: Door) -> None:
    supplier = Supplier.objects.create(name="The mill")
    with pytest.raises(InvalidRequest, match=r"shop\.Supplier is not in .*TAG_MODELS"):
        door.completion(**QUESTION, cache={"tags": [supplier]})


def test_an_object_that_is_not_saved_is_refused(door: Door) -> None:
    with pytest.raises(InvalidRequest, match="no primary key yet"):
        door.completion(**QUESTION, cache={"tags": [Product(name="Cake")]})


def test_models_that_are_not_watched_keep_their_fast_deletions() -> None:
    assert not post_delete.has_listeners(Supplier)


def test_an_eviction_that_fails_does_not_break_the_save(
    product: Product, counted: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(Eviction.objects, "create", fails)
    product.save()
    assert counted("evict_error") == 1
