"""A span and metrics of every call, by OpenTelemetry's conventions for generative AI.

    LLMCacheInstrumentor().instrument()

A span is made when its call has ended, with the time at which the call began, under the span that
is current there. It holds names and numbers: no prompt, no answer, no header, no credential.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any, Final
from urllib.parse import urlsplit

from llmcache import __version__, events
from llmcache.calls import Call
from llmcache.conf import DEFAULT_PROVIDER
from llmcache.exceptions import UpstreamError
from llmcache.outcome import FAILED, CacheInfo
from llmcache.packages import require_package
from llmcache.streams import OWN_KINDS, finish_reasons
from llmcache.upstreams import upstreams

require_package("llmcache.contrib.opentelemetry", "opentelemetry", "opentelemetry")

from opentelemetry import metrics, trace  # noqa: E402
from opentelemetry.metrics import Meter, MeterProvider  # noqa: E402
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, TracerProvider  # noqa: E402

Attributes = dict[str, Any]

_OPERATIONS: Final = {
    "completion": "chat",
    "responses": "chat",
    "messages": "chat",
    "embedding": "embeddings",
}
"""The conventions' names; other kinds of call keep ours."""
_REQUEST: Final[Mapping[str, tuple[str, tuple[type, ...]]]] = {
    "dimensions": ("gen_ai.embeddings.dimension.count", (int,)),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", (int, float)),
    "max_completion_tokens": ("gen_ai.request.max_tokens", (int,)),
    "max_output_tokens": ("gen_ai.request.max_tokens", (int,)),
    "max_tokens": ("gen_ai.request.max_tokens", (int,)),
    "n": ("gen_ai.request.choice.count", (int,)),
    "presence_penalty": ("gen_ai.request.presence_penalty", (int, float)),
    "seed": ("gen_ai.request.seed", (int,)),
    "temperature": ("gen_ai.request.temperature", (int, float)),
    "top_k": ("gen_ai.request.top_k", (int, float)),
    "top_p": ("gen_ai.request.top_p", (int, float)),
}
_SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32),
    *(0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
"""The conventions' buckets, and smaller ones before them: a hit takes less than their smallest."""


class LLMCacheInstrumentor:
    """Switches spans and metrics on and off, for the process. All its objects are one switch."""

    _active: _Observer | None = None

    @property
    def is_instrumented(self) -> bool:
        """Whether calls leave spans and metrics."""
        return LLMCacheInstrumentor._active is not None

    def instrument(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        """Begin. A second time is a warning in the log and no more.

        Args:
            tracer_provider, meter_provider: in place of the ones that are set for the process.
        """
        if self.is_instrumented:
            events.logger.warning("OpenTelemetry is told of calls already: instrument() once.")
            return
        observer = _Observer(
            trace.get_tracer(__name__, __version__, tracer_provider),
            metrics.get_meter(__name__, __version__, meter_provider),
        )
        LLMCacheInstrumentor._active = observer
        events.observers.append(observer)

    def uninstrument(self) -> None:
        """End, if it had begun."""
        observer, LLMCacheInstrumentor._active = LLMCacheInstrumentor._active, None
        if observer in events.observers:
            events.observers.remove(observer)


class _Observer:
    """What turns a call that has ended into a span and measurements."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="Duration of calls to language models, those answered by the cache too.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._saved_tokens = meter.create_counter(
            "llmcache.saved.tokens",
            unit="{token}",
            description="Tokens that callers did not pay for, as the cache answered.",
        )
        self._saved_cost = meter.create_counter(
            "llmcache.saved.cost",
            unit="{currency}",
            description="Money that callers did not pay, in the currency of the price table.",
        )

    def finished(self, call: Call, cache: CacheInfo, response: Callable[[], Any]) -> None:
        """See `events.Observer`."""
        end = time_ns()
        common = _common(call)
        measured = {**common, "llmcache.outcome": cache.outcome, "llmcache.alias": cache.alias}
        span = self._tracer.start_span(
            f"{common['gen_ai.operation.name']} {call.model}",
            kind=_kind(call, cache.hit),
            attributes={**measured, **_request(call)},
            start_time=end - int(cache.latency * 1e9),
        )
        try:
            if span.is_recording():
                span.set_attributes({**_result(cache), **_answer(call, response)})
        finally:
            span.end(end)
        self._duration.record(cache.latency, measured)
        if cache.saved_tokens:
            self._saved_tokens.add(cache.saved_tokens, measured)
        if cache.saved_cost:
            self._saved_cost.add(cache.saved_cost, measured)

    def failed(self, call: Call, error: BaseException, seconds: float, alias: str) -> None:
        """See `events.Observer`."""
        end = time_ns()
        common = _common(call)
        measured = {**common, "llmcache.outcome": FAILED, "error.type": _error_type(error)}
        span = self._tracer.start_span(
            f"{common['gen_ai.operation.name']} {call.model}",
            kind=_kind(call, False),
            attributes={**measured, **_request(call)},
            start_time=end - int(seconds * 1e9),
        )
        span.record_exception(error, timestamp=end)
        span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        span.end(end)
        self._duration.record(seconds, measured)


def _common(call: Call) -> Attributes:
    """What a span and the measurements of a call share."""
    operation = _OPERATIONS.get(call.kind, call.kind)
    return {"gen_ai.operation.name": operation, "gen_ai.request.model": call.model} | _provider(
        call
    )


def _provider(call: Call) -> Attributes:
    """Who answers the call: the provider's name in the settings, and its host."""
    if call.kind in OWN_KINDS:
        return {}
    upstream, _, identity = upstreams.route(call.model)
    address = call.base_url or next((p for p in identity.split("|") if p.startswith("http")), "")
    # Providers of the site's own naming are its own to tell apart; "default" says nothing.
    name = "openai" if upstream.name == DEFAULT_PROVIDER else upstream.name
    host = urlsplit(address).hostname
    return {"gen_ai.provider.name": name} | ({"server.address": host} if host else {})


def _kind(call: Call, hit: bool) -> SpanKind:
    return SpanKind.INTERNAL if hit or call.kind in OWN_KINDS else SpanKind.CLIENT


def _request(call: Call) -> Attributes:
    found: Attributes = {"gen_ai.request.stream": True} if call.stream else {}
    for name, (attribute, types) in _REQUEST.items():
        value = call.params.get(name)
        if isinstance(value, types) and not isinstance(value, bool):
            found[attribute] = value
    return found


def _result(cache: CacheInfo) -> Attributes:
    """What became of the call. The usage is what it paid for: none of a hit's."""
    paid = cache.usage - cache.saved_usage
    found: Attributes = {
        "gen_ai.usage.input_tokens": paid.input,
        "gen_ai.usage.output_tokens": paid.output,
        "gen_ai.usage.cache_read.input_tokens": paid.cached,
        "llmcache.hit": cache.hit,
        "llmcache.age": cache.age,
        "llmcache.saved_tokens": cache.saved_tokens,
        "llmcache.key": cache.key,
        "llmcache.layer": cache.layer,
        "llmcache.reason": cache.reason,
        "llmcache.similarity": cache.similarity,
        "llmcache.saved_cost": cache.saved_cost,
    }
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _answer(call: Call, response: Callable[[], Any]) -> Attributes:
    """What the answer says of itself."""
    if call.kind in OWN_KINDS:
        return {}
    try:
        body = response()
        found = {
            "gen_ai.response.id": body.get("id"),
            "gen_ai.response.model": body.get("model"),
            "gen_ai.response.finish_reasons": sorted(finish_reasons(call.kind, body)),
        }
    except Exception:  # a format of its own: the answer is right nevertheless
        return {}
    return {
        name: value
        for name, value in found.items()
        if value and (isinstance(value, str) or name.endswith("reasons"))
    }


def _error_type(error: BaseException) -> str:
    """The HTTP status where there is one, else the class, as `error.type` has it."""
    if isinstance(error, UpstreamError) and error.status is not None:
        return str(error.status)
    return type(error).__qualname__
