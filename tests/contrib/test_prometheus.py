"""The metrics, as prometheus_client shows them to a scraper."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as as_openmetrics
from prometheus_client.parser import text_string_to_metric_families

import llmcache
from llmcache import signals
from llmcache.caching import for_alias
from llmcache.contrib import prometheus
from llmcache.exceptions import UpstreamError
from llmcache.pricing import cost_of
from llmcache.recorder import recorder
from llmcache.upstreams.fake import FakeUpstream
from llmcache.usage import Usage
from tests.contrib.views import question
from tests.doors import AsyncDoor, SyncDoor

PLACE = {"alias": "default", "model": "gpt-4o-mini"}


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    """A registry of the test's own that counts calls."""
    made = CollectorRegistry()
    prometheus.register(made)
    yield made
    prometheus.unregister(made)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"llmcache_{name}", labels)


def models(registry: CollectorRegistry) -> Counter[str]:
    """Calls by the label of the model."""
    text = generate_latest(registry).decode()
    (family,) = (f for f in text_string_to_metric_families(text) if f.name == "llmcache_calls")
    found: Counter[str] = Counter()
    for sample in family.samples:
        if sample.name.endswith("_total"):
            found[sample.labels["model"]] += int(sample.value)
    return found


def test_calls_are_counted_by_what_they_were(
    registry: CollectorRegistry, door: SyncDoor | AsyncDoor
) -> None:
    for _ in range(3):
        door.completion(**question("why"))
    call_type = "acompletion" if door.is_async else "completion"
    labels = {**PLACE, "call_type": call_type}
    assert value(registry, "calls_total", **labels, outcome="miss", layer="") == 1
    assert value(registry, "calls_total", **labels, outcome="hit", layer="default") == 2


def test_the_time_of_calls_is_a_histogram_by_outcome(
    registry: CollectorRegistry, upstream: FakeUpstream
) -> None:
    upstream.latency = 0.06
    for _ in range(3):
        llmcache.completion(**question("why"))
    name = "call_duration_seconds"
    assert value(registry, f"{name}_count", outcome="hit") == 2
    assert value(registry, f"{name}_count", outcome="miss") == 1
    assert (value(registry, f"{name}_sum", outcome="miss") or 0) >= 0.06
    assert value(registry, f"{name}_bucket", outcome="miss", le="0.05") == 0
    assert value(registry, f"{name}_bucket", outcome="miss", le="120.0") == 1


def test_tokens_and_money_are_counted_as_spent_or_saved(registry: CollectorRegistry) -> None:
    answers = [llmcache.completion(**question("why is that so")) for _ in range(3)]
    usage: Usage = answers[0].cache.usage
    assert value(registry, "spent_tokens_total", **PLACE) == usage.total
    assert value(registry, "saved_tokens_total", **PLACE) == 2 * usage.total
    price = cost_of("gpt-4o-mini", usage)
    assert price
    assert value(registry, "spent_cost_total", **PLACE) == pytest.approx(price)
    assert value(registry, "saved_cost_total", **PLACE) == pytest.approx(2 * price)
    assert value(registry, "unpriced_calls_total", **PLACE) is None


def test_an_embedding_of_known_and_new_items_is_spent_and_saved_in_part(
    registry: CollectorRegistry,
) -> None:
    place = {"alias": "default", "model": "text-embedding-3-small"}
    llmcache.embedding(place["model"], ["one two three"])
    llmcache.embedding(place["model"], ["one two three", "four"])
    assert value(registry, "spent_tokens_total", **place) == 4
    assert value(registry, "saved_tokens_total", **place) == 3


def test_a_model_without_a_price_is_unpriced_and_not_free(registry: CollectorRegistry) -> None:
    llmcache.completion(**question("why", "a-model-that-nobody-knows"))
    place = {"alias": "default", "model": "a-model-that-nobody-knows"}
    assert value(registry, "unpriced_calls_total", **place) == 1
    assert value(registry, "spent_cost_total", **place) is None
    assert (value(registry, "spent_tokens_total", **place) or 0) > 0


def test_a_stream_is_counted_when_it_has_been_read(
    registry: CollectorRegistry, door: SyncDoor | AsyncDoor
) -> None:
    stream = door.completion(**question("why"), stream=True)
    assert value(registry, "call_duration_seconds_count", outcome="miss") is None
    door.chunks(stream)
    assert value(registry, "call_duration_seconds_count", outcome="miss") == 1
    assert (value(registry, "spent_tokens_total", **PLACE) or 0) > 0


def test_failed_calls_are_counted_with_their_time_and_store(
    registry: CollectorRegistry, upstream: FakeUpstream, door: SyncDoor | AsyncDoor
) -> None:
    upstream.fail, upstream.latency = 503, 0.06
    with pytest.raises(UpstreamError):
        door.completion(**question("why"))
    call_type = "acompletion" if door.is_async else "completion"
    labels = {**PLACE, "call_type": call_type, "outcome": "failed", "layer": ""}
    assert value(registry, "calls_total", **labels) == 1
    assert (value(registry, "call_duration_seconds_sum", outcome="failed") or 0) >= 0.06


def test_models_beyond_the_limit_are_other() -> None:
    registry = CollectorRegistry()
    prometheus.register(registry, models=2)
    try:
        for name in ("a", "b", "c", "d", "a", "b"):
            llmcache.completion(**question("why", name))
        assert models(registry) == {"a": 2, "b": 2, "other": 2}
    finally:
        prometheus.unregister(registry)


def test_no_label_has_a_prompt_a_key_or_a_scope(registry: CollectorRegistry) -> None:
    asked = question("swordfish")
    cache = {"scope": "tenant-of-mine", "namespace": "room-of-mine"}
    answers = [llmcache.completion(**asked, cache=cache) for _ in range(2)]
    text = generate_latest(registry).decode()
    assert answers[1].cache.outcome == "hit"
    for secret in ("swordfish", "tenant-of-mine", "room-of-mine", answers[1].cache.key[:12]):
        assert secret not in text


@pytest.mark.parametrize("name", ["\ud800", "a\x00b", 'quo"te\nline', "x" * 5000])
def test_any_name_of_a_model_can_be_scraped(registry: CollectorRegistry, name: str) -> None:
    with suppress(UpstreamError):
        llmcache.completion(**question("why", name))
    (label,) = models(registry)
    assert 0 < len(label) <= 100


def test_the_state_of_the_process_is_read_at_each_scrape(registry: CollectorRegistry) -> None:
    with override_settings(LLMCACHE_CONFIG={"BREAKER_THRESHOLD": 1, "BUFFER_SIZE": 3}):
        assert value(registry, "store_resting", alias="default") == 0
        cache = for_alias("default")
        assert cache is not None
        cache.breaker.failed()
        assert value(registry, "store_resting", alias="default") == 1
        cache.breaker.succeeded()
        assert value(registry, "store_resting", alias="default") == 0
        before = recorder.dropped_ever
        for number in range(5):
            llmcache.completion(**question(f"text {number}"))
        assert value(registry, "recorder_waiting_records") == 6
        assert value(registry, "recorder_dropped_records_total") == before + 4


def test_unusual_events_are_counted_by_kind(
    registry: CollectorRegistry, upstream: FakeUpstream
) -> None:
    before = value(registry, "events_total", event="refused") or 0
    upstream.finish_reason = "length"
    llmcache.completion(**question("cut short"))
    assert value(registry, "events_total", event="refused") == before + 1


def test_registering_twice_counts_once(registry: CollectorRegistry) -> None:
    prometheus.register(registry)
    prometheus.register(registry, models=3)
    llmcache.completion(**question("why"))
    assert models(registry) == {"gpt-4o-mini": 1}


def test_the_registry_of_the_process_is_the_default() -> None:
    prometheus.register()
    try:
        llmcache.completion(**question("why"))
        assert REGISTRY.get_sample_value(
            "llmcache_call_duration_seconds_count", {"outcome": "miss"}
        )
    finally:
        prometheus.unregister()
    assert b"llmcache_calls" not in generate_latest(REGISTRY)


def test_after_unregistering_nobody_listens(registry: CollectorRegistry) -> None:
    prometheus.unregister(registry)
    prometheus.unregister(registry)
    assert not signals.call_finished.receivers and not signals.call_failed.receivers
    prometheus.register(registry)
    llmcache.completion(**question("why"))
    assert models(registry) == {"gpt-4o-mini": 1}


def test_the_names_are_as_prometheus_wants_them(registry: CollectorRegistry) -> None:
    llmcache.completion(**question("why"))
    text = as_openmetrics(registry).decode()  # refuses what breaks the rules
    assert text.endswith("# EOF\n")
    kinds: dict[str, Any] = {
        family.name: family.type
        for family in text_string_to_metric_families(generate_latest(registry).decode())
    }
    assert kinds["llmcache_call_duration_seconds"] == "histogram"
    assert kinds["llmcache_calls"] == kinds["llmcache_events"] == "counter"
    assert kinds["llmcache_store_resting"] == "gauge"


SITE = """
    from django.conf import settings
    settings.configure(
        SECRET_KEY="x",
        INSTALLED_APPS=["llmcache"],
        LLMCACHE={"default": {"BACKEND": "llmcache.backends.memory.MemoryBackend"}},
        LLMCACHE_PROVIDERS={"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}},
    )
    import django
    django.setup()
    import os
    import llmcache
    from llmcache.contrib import prometheus
    prometheus.register()
    def ask():
        for _ in range(3):
            llmcache.completion("gpt-4o-mini", [{"role": "user", "content": "why"}])
    ask()
    child = os.fork()  # as a server that loads the site before it forks its workers
    if not child:
        ask()
        os._exit(0)
    os.waitpid(child, 0)
"""
SCRAPE = """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    print(generate_latest(registry).decode())
"""


def test_the_counts_of_several_processes_are_added_up(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)

    def start(program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(program)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    sites = [start(SITE), start(SITE)]
    assert [site.wait() for site in sites] == [0, 0]
    text = start(SCRAPE).communicate()[0]
    samples = {
        (sample.name, sample.labels.get("outcome")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "le" not in sample.labels
    }
    # Each process misses once; its child has a copy of its memory, and so only hits.
    assert samples["llmcache_calls_total", "miss"] == 2
    assert samples["llmcache_calls_total", "hit"] == 10
    assert samples["llmcache_call_duration_seconds_count", "hit"] == 10
    assert samples["llmcache_saved_tokens_total", None] > 0


def test_what_looking_for_similar_answers_costs_is_counted(
    registry: CollectorRegistry, settings: Any, tmp_path: Path
) -> None:
    settings.LLMCACHE = {
        "default": {
            "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
            "LOCATION": str(tmp_path),
            "OPTIONS": {
                "embedder": {
                    "BACKEND": "tests.matching.words.WordEmbedder",
                    "OPTIONS": {"cost": 0.25},
                }
            },
        }
    }
    for text in ("why is the sky so blue", "is the sky so blue", "why is the sky so blue"):
        llmcache.completion(**question(text))
    assert value(registry, "lookup_cost_total", alias="default") == 0.5
