"""Spans and metrics of calls, by the real OpenTelemetry SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from time import time_ns
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, Tracer

import llmcache
from llmcache import events
from llmcache.contrib.opentelemetry import LLMCacheInstrumentor
from llmcache.decorators import cached
from llmcache.exceptions import AuthenticationFailed, RateLimited, UpstreamError
from llmcache.upstreams.fake import FakeUpstream
from tests.servers.provider import Provider, answer

ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "my secret wish"}],
}


@dataclass
class Telemetry:
    """What the SDK has been told."""

    tracer: Tracer
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def calls(self) -> list[Any]:
        """The attributes of our own spans, in order."""
        return [dict(span.attributes or {}) for span in self.spans if span.name != "page"]

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader])
    LLMCacheInstrumentor().instrument(tracer_provider=tracers, meter_provider=meters)
    yield Telemetry(tracers.get_tracer("tests"), exporter, reader)
    LLMCacheInstrumentor().uninstrument()
    meters.shutdown()


def test_a_miss_and_a_hit_are_spans_with_what_they_paid_and_saved(
    door: Any, telemetry: Telemetry
) -> None:
    first = door.completion(**ASK, temperature=0.5, max_tokens=50)
    door.completion(**ASK, temperature=0.5, max_tokens=50)
    miss, hit = telemetry.calls
    assert [span.name for span in telemetry.spans] == ["chat gpt-4o-mini"] * 2
    for span in (miss, hit):
        assert span["gen_ai.operation.name"] == "chat"
        assert span["gen_ai.request.model"] == "gpt-4o-mini"
        assert span["gen_ai.provider.name"] == "openai"
        assert span["gen_ai.request.temperature"] == 0.5
        assert span["gen_ai.request.max_tokens"] == 50
        assert span["gen_ai.response.model"] == "gpt-4o-mini"
        assert span["gen_ai.response.id"] == first.id
        assert span["gen_ai.response.finish_reasons"] == ("stop",)
        assert span["llmcache.alias"] == "default"
        assert span["llmcache.key"] == first.cache.key
    assert (miss["llmcache.outcome"], miss["llmcache.hit"]) == ("miss", False)
    assert miss["gen_ai.usage.input_tokens"] == 3
    assert miss["gen_ai.usage.output_tokens"] == 5
    assert miss["llmcache.saved_tokens"] == 0
    assert "llmcache.similarity" not in miss
    assert (hit["llmcache.outcome"], hit["llmcache.hit"]) == ("hit", True)
    assert (hit["gen_ai.usage.input_tokens"], hit["gen_ai.usage.output_tokens"]) == (0, 0)
    assert hit["llmcache.saved_tokens"] == 8
    assert hit["llmcache.saved_cost"] == pytest.approx((3 * 0.15 + 5 * 0.6) / 1e6)
    assert hit["llmcache.layer"] == "default"
    assert hit["llmcache.similarity"] == 1.0
    assert hit["llmcache.age"] > 0
    assert [span.kind for span in telemetry.spans] == [SpanKind.CLIENT, SpanKind.INTERNAL]


def test_nothing_that_was_said_and_no_credential_is_in_a_span(
    door: Any, telemetry: Telemetry, upstream: FakeUpstream
) -> None:
    answer = door.completion(**ASK, api_key="sk-hidden", extra_headers={"X-Who": "sk-hidden"})
    upstream.fail = 500
    with pytest.raises(UpstreamError):
        door.completion(**{**ASK, "model": "other"}, api_key="sk-hidden")
    written = " ".join(span.to_json() for span in telemetry.spans)
    assert len(telemetry.spans) == 2
    assert "secret wish" not in written
    assert answer.choices[0].message.content not in written
    assert "sk-hidden" not in written


def test_a_key_that_a_provider_quotes_in_its_refusal_is_not_in_the_span(
    door: Any, telemetry: Telemetry, provider: Provider, settings: Any
) -> None:
    options = {"base_url": provider.base_url, "api_key": "sk-hidden"}
    settings.LLMCACHE_PROVIDERS = {"default": {"OPTIONS": options}}
    provider.script(answer({"error": {"message": "wrong key sk-hidden"}}, 401))
    with pytest.raises(AuthenticationFailed):
        door.completion(**ASK)
    (span,) = telemetry.spans
    assert "sk-hidden" not in span.to_json()
    assert "wrong key" in span.to_json()
    assert telemetry.calls[0]["server.address"] == "127.0.0.1"


def test_a_span_has_the_time_of_its_call_and_is_a_child_of_the_current_one(
    telemetry: Telemetry, upstream: FakeUpstream
) -> None:
    upstream.latency = 0.05
    before = time_ns()
    with telemetry.tracer.start_as_current_span("page") as page:
        llmcache.completion(**ASK)
    span = telemetry.spans[0]
    assert span.parent is not None and span.parent.span_id == page.get_span_context().span_id
    assert span.start_time is not None and span.end_time is not None
    assert before <= span.start_time + 1_000_000  # the two clocks differ by less than that
    assert span.end_time - span.start_time >= 50_000_000
    assert span.end_time <= time_ns()


async def test_async_calls_at_one_time_have_each_their_own_parent(
    telemetry: Telemetry, upstream: FakeUpstream
) -> None:
    upstream.latency = 0.01

    async def page(number: int) -> int:
        with telemetry.tracer.start_as_current_span("page") as span:
            await llmcache.acompletion(model=f"model-{number}", messages=ASK["messages"])
            return span.get_span_context().span_id

    pages = await asyncio.gather(*(page(number) for number in range(3)))
    parents = {
        (span.attributes or {})["gen_ai.request.model"]: span.parent and span.parent.span_id
        for span in telemetry.spans
        if span.name != "page"
    }
    assert parents == {f"model-{number}": pages[number] for number in range(3)}


def test_a_stream_is_a_span_when_it_has_been_read_to_its_end(
    door: Any, telemetry: Telemetry
) -> None:
    stream = door.completion(**ASK, stream=True)
    assert telemetry.spans == []
    door.chunks(stream)
    (miss,) = telemetry.calls
    assert miss["gen_ai.request.stream"] is True
    assert miss["llmcache.outcome"] == "miss"
    assert miss["gen_ai.usage.output_tokens"] == 5
    assert miss["gen_ai.response.finish_reasons"] == ("stop",)
    door.chunks(door.completion(**ASK, stream=True))
    assert telemetry.calls[1]["llmcache.outcome"] == "hit"


@pytest.mark.parametrize(
    ("function", "given", "operation"),
    [
        ("text_completion", {"prompt": "hello"}, "text_completion"),
        ("responses", {"input": "hello"}, "chat"),
        ("messages", {"messages": ASK["messages"], "max_tokens": 9}, "chat"),
        ("embedding", {"input": ["one", "two"], "dimensions": 4}, "embeddings"),
        ("transcription", {"file": b"sound"}, "transcription"),
    ],
)
def test_other_kinds_of_call_have_names_of_their_own(
    door: Any, telemetry: Telemetry, function: str, given: dict[str, Any], operation: str
) -> None:
    getattr(door, function)(model="some-model", **given)
    assert telemetry.spans[0].name == f"{operation} some-model"
    assert telemetry.calls[0]["gen_ai.operation.name"] == operation


def test_a_list_of_embeddings_pays_only_for_what_was_missing(
    door: Any, telemetry: Telemetry
) -> None:
    door.embedding(model="m", input=["one"])
    door.embedding(model="m", input=["one", "two words"])
    second = telemetry.calls[1]
    assert second["gen_ai.usage.input_tokens"] == 2
    assert second["llmcache.saved_tokens"] == 1


def test_a_failure_sets_the_status_and_records_the_exception(
    door: Any, telemetry: Telemetry, upstream: FakeUpstream
) -> None:
    upstream.fail = 429
    with pytest.raises(RateLimited):
        door.completion(**ASK)
    (span,) = telemetry.spans
    assert span.status.status_code is StatusCode.ERROR
    assert "RateLimited" in (span.status.description or "")
    assert span.attributes is not None and span.attributes["error.type"] == "429"
    (event,) = span.events
    assert event.attributes is not None
    assert event.attributes["exception.type"] == "llmcache.exceptions.RateLimited"
    (point,) = telemetry.points("gen_ai.client.operation.duration")
    assert point.attributes["error.type"] == "429"
    assert point.attributes["llmcache.outcome"] == "failed"


def test_metrics_tell_duration_by_outcome_and_what_was_saved(
    door: Any, telemetry: Telemetry
) -> None:
    for _ in range(3):
        door.completion(**ASK)
    durations = {
        point.attributes["llmcache.outcome"]: point
        for point in telemetry.points("gen_ai.client.operation.duration")
    }
    assert {outcome: point.count for outcome, point in durations.items()} == {"miss": 1, "hit": 2}
    assert durations["hit"].attributes["gen_ai.operation.name"] == "chat"
    assert durations["hit"].attributes["gen_ai.request.model"] == "gpt-4o-mini"
    assert durations["hit"].explicit_bounds[0] == 0.0005
    assert durations["hit"].explicit_bounds[-1] == 81.92
    (tokens,) = telemetry.points("llmcache.saved.tokens")
    (cost,) = telemetry.points("llmcache.saved.cost")
    assert tokens.value == 16
    assert cost.value == pytest.approx(2 * (3 * 0.15 + 5 * 0.6) / 1e6)


def test_instrumenting_twice_makes_one_span_and_it_can_be_ended_twice(
    telemetry: Telemetry,
) -> None:
    LLMCacheInstrumentor().instrument()
    llmcache.completion(**ASK)
    assert len(telemetry.spans) == 1
    LLMCacheInstrumentor().uninstrument()
    LLMCacheInstrumentor().uninstrument()
    assert not LLMCacheInstrumentor().is_instrumented
    llmcache.completion(**ASK)
    assert len(telemetry.spans) == 1
    assert not events.listening()


def test_a_span_that_is_not_sampled_is_counted_all_the_same() -> None:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(sampler=ALWAYS_OFF)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    LLMCacheInstrumentor().instrument(tracers, MeterProvider([reader]))
    try:
        llmcache.completion(**ASK)
        told = Telemetry(tracers.get_tracer("tests"), exporter, reader)
        assert told.spans == []
        assert len(told.points("gen_ai.client.operation.duration")) == 1
    finally:
        LLMCacheInstrumentor().uninstrument()


def test_the_name_of_a_provider_of_the_settings_is_told(
    telemetry: Telemetry, settings: Any
) -> None:
    fake = {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}
    settings.LLMCACHE_PROVIDERS = {"default": fake, "groq": fake}
    llmcache.completion(**{**ASK, "model": "groq/llama"}, base_url="https://api.groq.com/v1")
    (span,) = telemetry.calls
    assert span["gen_ai.provider.name"] == "groq"
    assert span["server.address"] == "api.groq.com"


def test_an_exporter_that_fails_does_not_break_the_call(door: Any, telemetry: Telemetry) -> None:
    class Broken:
        def finished(self, *arguments: object) -> None:
            raise RuntimeError("broken")

        failed = finished

    events.observers.insert(0, Broken())
    try:
        assert door.completion(**ASK).cache.outcome == "miss"
    finally:
        del events.observers[0]
    assert len(telemetry.spans) == 1


def test_a_function_of_the_site_is_a_span_without_a_provider(telemetry: Telemetry) -> None:
    @cached()
    def summary(text: str) -> dict[str, Any]:
        return {"model": "another", "usage": {"prompt_tokens": 3}, "text": text[:9]}

    assert summary("a text") == summary("a text")
    assert [span["llmcache.outcome"] for span in telemetry.calls] == ["miss", "hit"]
    assert {span.kind for span in telemetry.spans} == {SpanKind.INTERNAL}
    for span in telemetry.calls:
        assert not [name for name in span if name.startswith(("gen_ai.provider", "server."))]
        assert not [name for name in span if name.startswith("gen_ai.response")]


def test_an_answer_in_an_odd_format_is_a_span_without_what_it_says(
    door: Any, telemetry: Telemetry, provider: Provider, settings: Any
) -> None:
    settings.LLMCACHE_PROVIDERS = {"default": {"OPTIONS": {"base_url": provider.base_url}}}
    provider.script(answer({"id": "1", "model": "m", "choices": 7}))
    assert door.completion(**ASK).choices == 7
    (span,) = telemetry.calls
    assert (span["llmcache.outcome"], span["llmcache.hit"]) == ("miss", False)
    assert len(telemetry.points("gen_ai.client.operation.duration")) == 1
    assert not [name for name in span if name.startswith("gen_ai.response")]


def test_an_error_that_is_no_providers_is_named_by_its_class(
    door: Any, telemetry: Telemetry, upstream: FakeUpstream
) -> None:
    upstream.fail = ValueError("odd")
    with pytest.raises(ValueError, match="odd"):
        door.completion(**ASK)
    assert telemetry.calls[0]["error.type"] == "ValueError"
