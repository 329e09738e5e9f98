"""What tokens cost, from `LLMCACHE_CONFIG["PRICING"]`, LiteLLM's table or the one in `prices`.

    "PRICING": {"gpt-4o-mini": {"input": 0.15, "output": 0.60, "cached": 0.075}}

Prices are per million tokens, in whatever currency the site thinks in; the two tables that stand in
for a missing price are in dollars. A model that none of them names has no price: unknown money is
shown as unknown, never as zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from django.core.signals import setting_changed

from llmcache import conf
from llmcache.prices import PRICES
from llmcache.usage import Usage

PER: Final = 1_000_000
_LITELLM_FILE: Final = "model_prices_and_context_window_backup.json"
_DATE: Final = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d)$")


class Price(NamedTuple):
    """Per million tokens: of input, of input that the provider had cached, of output."""

    input: float
    cached: float
    output: float


def cost_of(model: str, usage: Usage) -> float | None:
    """What the usage costs, or None if the model has no price."""
    price = price_of(model)
    if price is None:
        return None
    fresh = usage.input - usage.cached
    return (fresh * price.input + usage.cached * price.cached + usage.output * price.output) / PER


@lru_cache(maxsize=1000)
def price_of(model: str) -> Price | None:
    """A model's price.

    Each table is asked for the model as the caller wrote it, without its provider's prefix, and
    without the date of its release.
    """
    for table in (_given(), _litellm(), PRICES):
        for name in _names(model):
            if name in table:
                return Price(*table[name])
    return None


def _names(model: str) -> Iterator[str]:
    bare = model.partition("/")[2] or model
    yield from dict.fromkeys((model, bare, _DATE.sub("", bare)))


def _given() -> dict[str, tuple[float, float, float]]:
    table: Mapping[str, Any] = conf.config().pricing or {}
    return {
        model: (
            float(price.get("input", 0.0)),
            float(price.get("cached", price.get("input", 0.0))),
            float(price.get("output", 0.0)),
        )
        for model, price in table.items()
    }


@lru_cache(maxsize=1)
def _litellm() -> dict[str, tuple[float, float, float]]:
    """LiteLLM's own table, read from its file: the package itself takes seconds to import."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    try:
        parsed = orjson.loads((Path(spec.origin).parent / _LITELLM_FILE).read_bytes())
        return {model: _per_million(row) for model, row in parsed.items() if _has_price(row)}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _has_price(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("input_cost_per_token"), (int, float))


def _per_million(row: Mapping[str, Any]) -> tuple[float, float, float]:
    fresh = float(row["input_cost_per_token"]) * PER
    cached = row.get("cache_read_input_token_cost")
    return (
        fresh,
        fresh if cached is None else float(cached) * PER,
        float(row.get("output_cost_per_token") or 0.0) * PER,
    )


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "LLMCACHE_CONFIG":
        price_of.cache_clear()


setting_changed.connect(_forget, dispatch_uid="llmcache.pricing")
