"""When to ask a provider again, and how long to wait before."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRIED: Final = frozenset({408, 409, 429})
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 8.0
LONGEST_ASKED: Final = 60.0


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as a
    date (RFC 9110, section 10.2.3). None if it doesn't say."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC without a word on where it was written
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _number(text: str) -> float | None:
    """A finite number, 0.0 for those below; None where there is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def worth_it(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a refusal may turn out otherwise next time; `x-should-retry` has the last word."""
    word = headers.get("x-should-retry")
    if word in ("true", "false"):
        return word == "true"
    return status in RETRIED or status >= 500


def wait_before(attempt: int, asked: float | None = None) -> float | None:
    """Seconds to wait before another attempt; None to give up at once.

    Args:
        attempt: how many attempts have failed, from 1.
        asked: what the provider asked for; more than a minute is not waited for.
    """
    if asked is not None:
        return asked if asked <= LONGEST_ASKED else None
    wait: float = min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT)
    return wait * (1 - random.random() / 4)  # noqa: S311 - spreads load, hides nothing
