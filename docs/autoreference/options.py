"""OPTIONS of every class that settings can name."""

from __future__ import annotations

import inspect
from typing import Any

from django.utils.module_loading import import_string

from docs.autoreference import docstrings
from docs.autoreference.docstrings import Item
from docs.autoreference.markdown import code, prose, table, value

NOT_GIVEN = "not given"


def listed(path: str, *names: str) -> str:
    """The OPTIONS of the class at a dotted path, or those of these names.

    Raises:
        KeyError: an option of the class is documented nowhere, or there is none of this name.
    """
    owner = import_string(path)
    known = defaults(owner)
    if not known:
        return "It takes no OPTIONS."
    told = documented(owner)
    rows = (
        (code(name), told[name].kind, _default(known[name]), prose(told[name].meaning))
        for name in names or known
    )
    return table(("option", "what it is", "default", "meaning"), rows)


def defaults(owner: Any) -> dict[str, Any]:
    """The options that a class takes, and what they are if they are not given."""
    if hasattr(owner, "defaults"):
        return dict(owner.defaults)
    if hasattr(owner, "objection"):  # guards take theirs as arguments
        parameters = inspect.signature(owner.__init__).parameters.values()
        return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    return {}


def documented(owner: Any) -> dict[str, Item]:
    """What the docstrings of a class and of its bases say of options."""
    found: dict[str, Item] = {}
    for base in inspect.getmro(owner):
        for item in docstrings.items(base, "OPTIONS"):
            for name in item.names:
                found.setdefault(name, item)
    return found


def _default(given: Any) -> str:
    return NOT_GIVEN if given is None else value(given)
