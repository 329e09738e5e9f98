"""The models: their fields and their permissions."""

from __future__ import annotations

from django.apps import apps
from django.db.models import Field

from docs.autoreference import docstrings
from docs.autoreference.markdown import code, prose, table


def described(name: str) -> str:
    """A model of this app: what a row is, and its fields."""
    model = apps.get_model("llmcache", name)
    rows = ((code(field.name), field.get_internal_type(), _meaning(field)) for field in _of(model))
    text = f"{prose(docstrings.summary(model))}\n\n{table(('field', 'type', 'meaning'), rows)}"
    permissions = [f"{code(f'llmcache.{name}')} ({told})" for name, told in model._meta.permissions]
    return f"{text}\n\nPermissions of its own: {', '.join(permissions)}." if permissions else text


def _of(model: object) -> list[Field]:
    return [field for field in model._meta.get_fields() if isinstance(field, Field)]


def _meaning(field: Field) -> str:
    words = [str(field.verbose_name), str(field.help_text)]
    if field.choices:
        words.append(", ".join(code(str(choice)) for choice, _ in field.flatchoices))
    return ". ".join(word.rstrip(".") for word in words if word)
