"""Names of tags that stand for a model's object: `cache={"tags": [product]}`."""

from __future__ import annotations

from django.db.models import Model

from llmcache import conf
from llmcache.exceptions import InvalidRequest


def tag_of(obj: Model) -> str:
    """The tag of a saved object, such as "shop.product:7".

    Raises:
        InvalidRequest: the object is not saved, or its model is not in TAG_MODELS, so that its
            changes would not be noticed.
    """
    label: str = obj._meta.concrete_model._meta.label  # type: ignore[union-attr]
    if label.lower() not in watched():
        raise InvalidRequest(
            f"{label} is not in LLMCACHE_CONFIG['TAG_MODELS'], so a change of this object would "
            f"not evict the answer. Add {label!r} there, or use a string and evict it yourself."
        )
    if obj.pk is None:
        raise InvalidRequest(f"This {label} has no primary key yet; save it before it is a tag.")
    return name_of(label, obj.pk)


def watched() -> frozenset[str]:
    """The labels of TAG_MODELS in lower case."""
    return frozenset(label.lower() for label in conf.config().tag_models)


def name_of(label: str, pk: object) -> str:
    """The tag of the object of a model with this primary key."""
    return f"{label.lower()}:{pk}"
