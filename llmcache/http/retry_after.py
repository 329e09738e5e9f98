"""`Retry-After`: a provider's wish to be left alone for a while, handed on to our callers."""

from __future__ import annotations

import math

from llmcache.exceptions import UpstreamError


def headers_of(error: UpstreamError) -> dict[str, str]:
    """The header for an answer that tells of this error, in whole seconds, as RFC 9110 (section
    10.2.3) has them; empty if the provider has not said how long to wait.
    """
    wait: float | None = getattr(error, "retry_after", None)
    return {} if wait is None else {"Retry-After": str(max(0, math.ceil(wait)))}
