"""What tokens cost, from the price table of `LLMCACHE_CONFIG["PRICING"]`.

    "PRICING": {"gpt-4o-mini": {"input": 0.15, "output": 0.60, "cached": 0.075}}

Prices are per million tokens, in whatever currency the site thinks in. A model that the table does
not name has no price: unknown money is shown as unknown, never as zero.
"""

from __future__ import annotations

from llmcache import conf
from llmcache.usage import Usage

PER: int = 1_000_000


def cost_of(model: str, usage: Usage) -> float | None:
    """What the usage costs, or None if the model has no price.

    The model is looked up as the caller wrote it, then without its provider prefix.
    """
    table = conf.config().pricing
    if not table:
        return None
    price = table.get(model) or table.get(model.partition("/")[2])
    if price is None:
        return None
    rate_in = float(price.get("input", 0.0))
    rate_cached = float(price.get("cached", rate_in))
    rate_out = float(price.get("output", 0.0))
    fresh = usage.input - usage.cached
    return (fresh * rate_in + usage.cached * rate_cached + usage.output * rate_out) / PER
