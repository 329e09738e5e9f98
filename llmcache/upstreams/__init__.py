"""The model providers, one instance per name and process: `upstreams["default"]`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from django.core.signals import setting_changed

from llmcache import conf
from llmcache.upstreams.base import BaseUpstream


class Route(NamedTuple):
    """Where a model's calls go: the upstream, the model's name there, the provider's identity."""

    upstream: BaseUpstream
    model: str
    identity: str


def build(settings: conf.ProviderSettings) -> BaseUpstream:
    """Make the upstream that the settings of one provider describe.

    Raises:
        ImproperlyConfigured: the class cannot be imported or refuses its settings.
    """
    name = f"LLMCACHE_PROVIDERS[{settings.name!r}]['BACKEND']"
    return conf.class_at(name, settings.backend, BaseUpstream)(settings)


class UpstreamHandler:
    """Provider names to upstreams, and models to routes.

    Attributes:
        interceptor: gives the upstream that stands in for one that a call is about to use, as
            `llmcache.testing` does; None where nothing stands between.
    """

    def __init__(self) -> None:
        self.interceptor: Callable[[BaseUpstream], BaseUpstream] | None = None
        self._upstreams: dict[str, BaseUpstream] = {}
        self._routes: dict[str, Route] = {}
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> BaseUpstream:
        with self._lock:
            if name not in self._upstreams:
                self._upstreams[name] = build(conf.providers()[name])
            return self._upstreams[name]

    def route(self, model: str) -> Route:
        """Where calls to a model go. "groq/llama-3" goes to the provider "groq" as "llama-3" if
        there is such a provider; every other name goes whole to the provider "default"."""
        try:
            route = self._routes[model]
        except KeyError:
            provider, slash, rest = model.partition("/")
            if not (slash and provider in conf.providers()):
                provider, rest = conf.DEFAULT_PROVIDER, model
            upstream = self[provider]
            route = Route(upstream, rest, upstream.identity())
            if len(self._routes) < 1000:  # names come from callers: keep what they can fill bounded
                self._routes[model] = route
        return route if self.interceptor is None else self.intercepted(route)

    def intercepted(self, route: Route) -> Route:
        """The route with the interceptor's upstream in place of its own, if there is one. Its
        identity, and with it every key, stays the same."""
        if self.interceptor is None:
            return route
        return route._replace(upstream=self.interceptor(route.upstream))

    def reset(self, *, setting: str, **kwargs: object) -> None:
        """Close and forget all upstreams when a test overrides their settings."""
        if setting not in ("LLMCACHE_PROVIDERS", "LLMCACHE_CONFIG"):
            return
        with self._lock:
            old = list(self._upstreams.values())
            self._upstreams.clear()
            self._routes.clear()
        for upstream in old:
            upstream.close()


upstreams = UpstreamHandler()
setting_changed.connect(upstreams.reset, dispatch_uid="llmcache.upstreams.reset")
