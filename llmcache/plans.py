"""One call as it is carried out: what is to happen with it, and what its key is made of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from llmcache import conf, keys
from llmcache.calls import Call
from llmcache.envelope import Envelope
from llmcache.outcome import BYPASS, CacheInfo
from llmcache.records import EntryRecord
from llmcache.store import Store
from llmcache.upstreams import Route

if TYPE_CHECKING:
    from llmcache.matching import Match, Search


class Plan:
    """What is to happen with one call; the drivers note here what did.

    Attributes:
        store: None when there is no cache to use.
        namespace, scope: as they are in the key.
        digest: the entry's digest; None when the call bypasses the cache.
        read, write: whether the store is to be asked, and told.
        outcome, reason: how the call ends if no entry answers it.
        fallback: an entry past its ttl that may answer if upstream fails.
        routed: whether the route is one of the door's own, which no worker can take.
        private: whether the answer that came is for this caller alone.
        stored: whether what came from upstream is an entry now, or is about to be.
        pinned: whether the entries that the call brings are to be pinned, as those they replace.
        records: what the index is to know of the entries that the call brings.
        unreadable: digests whose entries were found damaged, forged or foreign.
        waited: whether the caller has waited for a store that failed in the end.
        landings: how many flights had landed when the store was read.
        search: the call's search by meaning, once there was one.
        match: the similar question whose answer serves the call.
        started: `perf_counter()` at the start of the call.
    """

    # Defaults stand in the class, so that a plan costs only what its call differs in.
    _material: dict[str, Any] | None = None
    namespace: str | None = None
    scope: str | None = None
    digest: str | None = None
    read: bool = False
    write: bool = False
    outcome: str = BYPASS
    reason: str = ""
    fallback: Envelope | None = None
    layer: str = ""
    routed: bool = False
    private: bool = False
    stored: bool = False
    pinned: bool = False
    records: Sequence[EntryRecord] = ()
    unreadable: tuple[str, ...] = ()
    landings: int = 0
    waited: bool = False
    search: Search | None = None
    match: Match | None = None

    def __init__(self, call: Call, store: Store | None, route: Route, started: float = 0.0) -> None:
        self.call = call
        self.store = store
        self.route = route
        self.started = started

    @property
    def material(self) -> dict[str, Any] | None:
        """What the call's key is made of, by name; None when the call bypasses the cache."""
        if self._material is None and self.digest is not None and self.store is not None:
            self._material = made_of(self.call, self.store, self.route, self.namespace, self.scope)
        return self._material

    @material.setter
    def material(self, value: dict[str, Any]) -> None:
        self._material = value

    @property
    def may_follow(self) -> bool:
        """Whether an answer that another caller is fetching right now would do."""
        return (
            self.read
            and self.write
            and self.call.controls.s_maxage != 0
            and conf.config().single_flight
        )

    def info(
        self,
        outcome: str,
        reason: str = "",
        source: Any = None,
        age: float = 0.0,
        similarity: float | None = None,
    ) -> CacheInfo:
        """A CacheInfo for this call."""
        alias = "" if self.store is None else self.store.alias
        layer = self.layer or alias if similarity else self.layer
        call = self.call
        info = CacheInfo(
            outcome, call.model, self.digest, alias, layer, reason, source, age, similarity
        )
        if self.search is not None:
            info.lookup_cost = self.search.cost
        if self.stored:
            info.stored = True
        info.latency = perf_counter() - self.started
        return info


def material(call: Call, store: Store, route: Route) -> dict[str, Any]:
    """What the call's key is made of, by name.

    Raises:
        Uncacheable, OSError: a file of the call cannot be read.
    """
    controls = call.controls
    namespace, scope = controls.namespace or store.namespace, controls.scope or configured_scope()
    return made_of(call, store, route, namespace, scope)


def made_of(
    call: Call, store: Store, route: Route, namespace: str | None, scope: str | None
) -> dict[str, Any]:
    """As `material`, where the namespace and the scope are known already."""
    base_url = call.base_url
    result = keys.material(
        call,
        model=route.model,
        provider=route.upstream.identity(base_url) if base_url else route.identity,
        namespace=namespace,
        scope=scope,
        version=store.version,
    )
    make_key = store.custom.get("get_cache_key")
    if make_key is not None:
        result = keys.own_key(result, str(make_key(**kwargs(call))))
    if call.controls.bucket is not None:
        result["bucket"] = random.randrange(call.controls.bucket)  # noqa: S311
    return result


def configured_scope() -> str | None:
    """What the configuration's SCOPE says of the call at hand.

    Raises:
        ImproperlyConfigured: it is neither a string nor None.
    """
    scope = conf.config().scope
    if scope is None:
        return None
    function = import_string(scope) if isinstance(scope, str) else scope
    value = function()
    if value is not None and not isinstance(value, str):
        raise ImproperlyConfigured(
            f"LLMCACHE_CONFIG['SCOPE'] must return a string or None, not {value!r}."
        )
    return value


def kwargs(call: Call) -> dict[str, Any]:
    """The call's arguments, as users' own key, read and write functions get them."""
    return {"model": call.model, **call.params}
