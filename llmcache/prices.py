"""A small price table for sites that give none: dollars per million tokens, on the day below.

Prices change; `LLMCACHE_CONFIG["PRICING"]` comes before these. Each row is what the provider bills
for input, for input that it had in its own prompt cache, and for output.
"""

from __future__ import annotations

from datetime import date
from typing import Final

AS_OF: Final = date(2026, 11, 23)

PRICES: Final[dict[str, tuple[float, float, float]]] = {
    # OpenAI
    "gpt-3.5-turbo": (0.5, 0.5, 1.5),
    "gpt-4": (30.0, 30.0, 60.0),
    "gpt-4-turbo": (10.0, 10.0, 30.0),
    "gpt-4.1": (2.0, 0.5, 8.0),
    "gpt-4.1-mini": (0.4, 0.1, 1.6),
    "gpt-4.1-nano": (0.1, 0.025, 0.4),
    "gpt-4o": (2.5, 1.25, 10.0),
    "gpt-4o-2024-05-13": (5.0, 5.0, 15.0),
    "gpt-4o-mini": (0.15, 0.075, 0.6),
    "gpt-5": (1.25, 0.125, 10.0),
    "gpt-5-mini": (0.25, 0.025, 2.0),
    "gpt-5-nano": (0.05, 0.005, 0.4),
    "gpt-5-pro": (15.0, 15.0, 120.0),
    "gpt-5.1": (1.25, 0.125, 10.0),
    "gpt-5.2": (1.75, 0.175, 14.0),
    "gpt-5.4": (2.5, 0.25, 15.0),
    "gpt-5.4-mini": (0.75, 0.075, 4.5),
    "gpt-5.4-nano": (0.2, 0.02, 1.25),
    "gpt-5.5": (5.0, 0.5, 30.0),
    "gpt-5.6": (4.0, 0.4, 20.0),
    "gpt-6-astra": (10.0, 1.0, 50.0),
    "gpt-6-luna": (0.1, 0.01, 0.5),
    "gpt-6-sol": (2.0, 0.2, 10.0),
    "gpt-6.1-sol": (2.0, 0.1, 10.0),
    "o1": (15.0, 7.5, 60.0),
    "o3": (2.0, 0.5, 8.0),
    "o3-mini": (1.1, 0.55, 4.4),
    "o3-pro": (20.0, 20.0, 80.0),
    "o4-mini": (1.1, 0.275, 4.4),
    "text-embedding-3-large": (0.13, 0.13, 0.0),
    "text-embedding-3-small": (0.02, 0.02, 0.0),
    "text-embedding-ada-002": (0.1, 0.1, 0.0),
    # Anthropic
    "claude-fable-5": (10.0, 1.0, 50.0),
    "claude-haiku-4-5": (1.0, 0.1, 5.0),
    "claude-haiku-5-5": (0.1, 0.01, 0.5),
    "claude-opus-4-5": (5.0, 0.5, 25.0),
    "claude-opus-5": (5.0, 0.5, 25.0),
    "claude-opus-5-5": (4.0, 0.2, 20.0),
    "claude-sonnet-4-5": (3.0, 0.3, 15.0),
    "claude-sonnet-4-6": (3.0, 0.3, 15.0),
    "claude-sonnet-5": (2.0, 0.2, 10.0),
    "claude-sonnet-5-5": (2.0, 0.1, 10.0),
    # DeepSeek
    "deepseek-chat": (0.28, 0.028, 0.42),
    "deepseek-reasoner": (0.28, 0.028, 0.42),
}
