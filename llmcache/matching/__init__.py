"""Matching by meaning: a stored answer may serve another question that asks the same.

`question` tells what is asked from all that must be equal; `rules` reads what counts as a match;
`matcher` finds one; `pairs` remembers what was rejected; `observing` notes what matched, so that
staff can see how often that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from llmcache.embedders.vectors import similarity
from llmcache.matching.matcher import Matcher
from llmcache.matching.search import Match, Search
from llmcache.store import Store

__all__ = ["Match", "Matcher", "Search", "for_store", "search", "similarity"]

_matchers: WeakKeyDictionary[Store, Matcher] = WeakKeyDictionary()


def for_store(store: Store) -> Matcher | None:
    """The matcher of a store; None if it does not match by meaning.

    Raises:
        ImproperlyConfigured: the store's OPTIONS cannot be used.
    """
    if store.semantic is None:
        return None
    matcher = _matchers.get(store)
    if matcher is None:
        matcher = Matcher(store.semantic, signed=store.signed)
        # Two threads may both have made one: the first that is in stays.
        matcher = _matchers.setdefault(store, matcher)
    return matcher


def search(store: Store, material: Mapping[str, Any]) -> Search | None:
    """A search for what a call asks; None where the call asks nothing in words of its own.

    Args:
        material: what the call's key is made of.

    Raises:
        ImproperlyConfigured: as `for_store`.
    """
    matcher = for_store(store)
    asked = None if matcher is None else matcher.question(material)
    return None if matcher is None or asked is None else Search(asked, matcher)
