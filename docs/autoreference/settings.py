"""The settings: LLMCACHE_CONFIG, and what an alias and a provider may have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, Final

from docs.autoreference import docstrings
from docs.autoreference.markdown import code, prose, table, value
from llmcache import conf
from llmcache.configuration import RULES, Config

_HEAD: Final = ("key", "what it may be", "default", "meaning")
_KINDS: Final = {
    "Mapping[str, Any]": "a dict",
    "float | None": "a number of seconds, or None",
    "int": "an integer",
    "str": "a string",
}


def config(*keys: str) -> str:
    """Keys of LLMCACHE_CONFIG, in this order.

    Raises:
        KeyError: there is no such key.
    """
    known = {field.name.upper(): field for field in fields(Config)}
    meanings = dict(_meanings(Config))
    rows = []
    for key in keys:
        name = known[key].name
        kind = prose(RULES[name][1]) if name in RULES else code(str(known[key].type))
        rows.append((code(key), kind, value(known[key].default), prose(meanings[name])))
    return table(_HEAD, rows)


def alias_keys() -> str:
    """What each alias of LLMCACHE may have."""
    return _keys(conf.BackendSettings, "alias")


def provider_keys() -> str:
    """What each provider of LLMCACHE_PROVIDERS may have."""
    return _keys(conf.ProviderSettings, "name")


def _keys(owner: Any, named_by: str) -> str:
    meanings = dict(_meanings(owner))
    return table(
        _HEAD,
        (
            (
                code(field.name.upper()),
                _KINDS[field.type],
                value({} if field.default is MISSING else field.default),
                prose(meanings[field.name]),
            )
            for field in fields(owner)
            if field.name != named_by
        ),
    )


def _meanings(owner: object) -> Iterator[tuple[str, str]]:
    for item in docstrings.items(owner, "Attributes"):
        for name in item.names:
            yield name, item.meaning
