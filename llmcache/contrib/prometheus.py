"""Metrics for Prometheus: calls, their time, tokens and money, and the state of the cache.

    from llmcache.contrib import prometheus

    prometheus.register()  # in an AppConfig's ready()

Counters and the histogram are fed by the calls themselves, and work in prometheus_client's mode for
several processes. The state of this process is read when it is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from llmcache import conf, events, store
from llmcache.calls import Call
from llmcache.outcome import FAILED, CacheInfo
from llmcache.packages import require_package
from llmcache.pricing import cost_of
from llmcache.recorder import recorder
from llmcache.text import clean

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
except ImportError:
    require_package("llmcache.contrib.prometheus", "prometheus_client", "prometheus")
    raise

OTHER: Final = "other"
"""The label of models beyond the number that is told apart."""
LONGEST: Final = 100
"""Characters of a model's name in a label."""
BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
"""Seconds: hits lie at the lower end, models that think for long at the upper one."""

_lock: Final = threading.Lock()
_registered: Final[dict[CollectorRegistry, tuple[_Calls, _State]]] = {}


def register(registry: CollectorRegistry | None = None, *, models: int = 100) -> None:
    """Count calls from now on, in a registry. A second time it does nothing.

    Args:
        registry: prometheus_client's own, if not given.
        models: so many names of models are told apart, as they come; further ones are "other".
    """
    registry = registry or REGISTRY
    with _lock:
        if registry not in _registered:
            calls, state = _Calls(registry, models), _State()
            registry.register(state)
            events.observers.append(calls)
            _registered[registry] = calls, state


def unregister(registry: CollectorRegistry | None = None) -> None:
    """Take back what `register` did; what was counted is gone."""
    registry = registry or REGISTRY
    with _lock:
        if registry in _registered:
            calls, state = _registered.pop(registry)
            events.observers.remove(calls)
            registry.unregister(state)
            for metric in calls.metrics:
                registry.unregister(metric)


class _Calls:
    """What is counted of each call."""

    def __init__(self, registry: CollectorRegistry, models: int) -> None:
        self._most = models
        self._models: set[str] = set()
        money = "in the currency of the price table"

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"llmcache_{name}", text, labels, registry=registry)

        place = ("alias", "model")
        self.calls = counter(
            *("calls", "Calls that have ended."),
            *("alias", "call_type", "model", "outcome", "layer"),
        )
        self.seconds = Histogram(
            *("llmcache_call_duration_seconds", "How long calls took.", ("outcome",)),
            registry=registry,
            buckets=BUCKETS,
        )
        self.spent_tokens = counter("spent_tokens", "Tokens paid for, in and out.", *place)
        self.saved_tokens = counter("saved_tokens", "Tokens not paid for, due to hits.", *place)
        self.spent_cost = counter("spent_cost", f"Money paid for calls, {money}.", *place)
        self.saved_cost = counter("saved_cost", f"Money not paid, due to hits, {money}.", *place)
        self.lookup_cost = counter(
            "lookup_cost", f"Money paid for embeddings that only look answers up, {money}.", "alias"
        )
        self.unpriced = counter("unpriced_calls", "Calls of models without a price.", *place)
        self.metrics = (
            *(self.calls, self.seconds, self.spent_tokens, self.saved_tokens),
            *(self.spent_cost, self.saved_cost, self.lookup_cost, self.unpriced),
        )

    def finished(self, call: Call, cache: CacheInfo, response: Callable[[], Any]) -> None:
        """See `events.Observer`."""
        alias, model, outcome = cache.alias, self._label(call.model), cache.outcome
        self.calls.labels(alias, call.call_type, model, outcome, cache.layer).inc()
        self.seconds.labels(outcome).observe(cache.latency)
        saved = cache.saved_usage
        spent = cache.usage - saved
        if saved.total > 0:
            self.saved_tokens.labels(alias, model).inc(saved.total)
        if spent.total > 0:
            self.spent_tokens.labels(alias, model).inc(spent.total)
        if cache.lookup_cost:
            self.lookup_cost.labels(alias).inc(cache.lookup_cost)
        priced = cache.priced_as
        paid, kept = cost_of(priced, spent), cost_of(priced, saved)
        if paid is None or kept is None:
            self.unpriced.labels(alias, model).inc()
            return
        if paid > 0:
            self.spent_cost.labels(alias, model).inc(paid)
        if kept > 0:
            self.saved_cost.labels(alias, model).inc(kept)

    def failed(self, call: Call, error: BaseException, seconds: float, alias: str) -> None:
        """See `events.Observer`."""
        model = self._label(call.model)
        self.calls.labels(alias, call.call_type, model, FAILED, "").inc()
        self.seconds.labels(FAILED).observe(seconds)

    def _label(self, model: str) -> str:
        """A label for a model: callers choose the names, so their number must have an end."""
        name = clean(model, LONGEST)
        if name not in self._models:
            with _lock:
                if name not in self._models and len(self._models) >= self._most:
                    return OTHER
                self._models.add(name)
        return name


class _State(Collector):
    """How the cache is in this process, read at each scrape."""

    def describe(self) -> Iterator[Metric]:
        """The metrics without values: so that registering does not read the state."""
        return iter(self._empty())

    def _empty(self) -> tuple[CounterMetricFamily, CounterMetricFamily, Metric, Metric]:
        return (
            CounterMetricFamily(
                "llmcache_events", "Unusual events in this process, by kind.", labels=["event"]
            ),
            CounterMetricFamily(
                "llmcache_recorder_dropped_records", "Records of calls that were dropped."
            ),
            GaugeMetricFamily(
                "llmcache_recorder_waiting_records", "Records not yet in the database."
            ),
            GaugeMetricFamily(
                *("llmcache_store_resting", "1 while a store is left alone, as it failed."),
                labels=["alias"],
            ),
        )

    def collect(self) -> Iterator[Metric]:
        """The metrics with their values just now."""
        unusual, dropped, waiting, resting = self._empty()
        for name, number in events.counts().items():
            unusual.add_metric([name], number)
        dropped.add_metric([], recorder.dropped_ever)
        waiting.add_metric([], recorder.waiting)  # type: ignore[attr-defined]
        rests = dict.fromkeys(conf.backends(), False)
        for used in store.living():
            rests[used.alias] = rests.get(used.alias, False) or used.is_resting
        for alias, is_resting in rests.items():
            resting.add_metric([alias], is_resting)  # type: ignore[attr-defined]
        yield from (unusual, dropped, waiting, resting)
