"""Evicts what an object of TAG_MODELS tags when it is saved or deleted, or its many-to-many
relations change; at the commit of that, never before.

`QuerySet.update()` and `bulk_update()` send no signals: call `llmcache.evict(tag=...)` after them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save

from llmcache import tags

_connected: list[type[Model]] = []


def connect() -> None:
    """Watch the models of TAG_MODELS, and no others: a receiver of all models' deletions would make
    every deletion of the site slower.
    """
    for model in _connected:
        _each_signal(model, "disconnect")
    _connected.clear()
    try:
        labels = tags.watched()
    except ImproperlyConfigured:
        return  # the system checks say so
    for model in apps.get_models():
        parents = model._meta.get_parent_list()
        if not model._meta.proxy and any(m._meta.label_lower in labels for m in (model, *parents)):
            _each_signal(model, "connect")
            _connected.append(model)


def _each_signal(model: type[Model], verb: str) -> None:
    name = f"llmcache.watching.{model._meta.label_lower}"
    for signal in (post_save, post_delete):
        getattr(signal, verb)(_changed, sender=model, dispatch_uid=name)
    for relation in model._meta.many_to_many:
        through = relation.remote_field.through
        getattr(m2m_changed, verb)(_related, sender=through, dispatch_uid=name)


def _changed(
    sender: type[Model], instance: Model, using: str, created: bool = False, **kwargs: Any
) -> None:
    if created:  # nothing is tagged with what did not exist
        return
    models = (sender._meta.concrete_model, *sender._meta.get_parent_list())
    _evict_at_commit(
        [
            tags.name_of(model._meta.label, instance.serializable_value(model._meta.pk.attname))
            for model in models
            if model is not None and model._meta.label_lower in tags.watched()
        ],
        using,
    )


def _related(
    sender: type[Model],
    instance: Model,
    action: str,
    reverse: bool,
    model: type[Model],
    pk_set: set[object] | None,
    using: str,
    **kwargs: Any,
) -> None:
    """Either side of the relation may be the one that is watched."""
    changed: Iterable[object] = ()
    if action in ("post_add", "post_remove", "post_clear"):
        _changed(type(instance), instance, using)
        changed = pk_set or ()
    elif action == "pre_clear":
        changed = _about_to_be_cleared(sender, instance, reverse, model, using)
    label = model._meta.label
    if label.lower() in tags.watched():
        _evict_at_commit([tags.name_of(label, pk) for pk in changed], using)


def _about_to_be_cleared(
    through: type[Model], instance: Model, reverse: bool, other: type[Model], using: str
) -> Iterable[object]:
    """Primary keys of the objects that a relation of this one still leads to."""
    holder = other if reverse else type(instance)
    relation = next(f for f in holder._meta.many_to_many if f.remote_field.through is through)
    if not reverse:
        return list(getattr(instance, relation.name).using(using).values_list("pk", flat=True))
    found = other._base_manager.using(using).filter(**{relation.name: instance})
    return list(found.values_list("pk", flat=True))


def _evict_at_commit(names: Iterable[str], using: str) -> None:
    for name in names:
        transaction.on_commit(partial(_evict, name), using=using, robust=True)


def _evict(name: str) -> None:
    # Imported here: only sites that use TAG_MODELS need what it brings at start.
    from llmcache import events, maintenance

    try:
        maintenance.evict(tag=name, reason="the object changed", by="models")
    except Exception:
        events.count("evict_error")
        events.logger.exception("What %s tags could not be evicted", name)


def _reconnect(*, setting: str, **kwargs: object) -> None:
    if setting == "LLMCACHE_CONFIG" and apps.ready:
        connect()


setting_changed.connect(_reconnect, dispatch_uid="llmcache.watching")
