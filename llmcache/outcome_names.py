"""How people read the outcomes of calls; programs, logs and addresses have them in English."""

from __future__ import annotations

from typing import Final

from django.utils.translation import pgettext_lazy

from llmcache.outcome import BYPASS, COALESCED, ERROR, FAILED, HIT, MISS, STALE

_NAMES: Final = {
    HIT: pgettext_lazy("outcome", "hit"),
    STALE: pgettext_lazy("outcome", "stale"),
    COALESCED: pgettext_lazy("outcome", "coalesced"),
    MISS: pgettext_lazy("outcome", "miss"),
    BYPASS: pgettext_lazy("outcome", "bypass"),
    ERROR: pgettext_lazy("outcome", "error"),
    FAILED: pgettext_lazy("outcome", "failed"),
}


def named(outcome: str) -> str:
    """An outcome in the language that is active; one that is not known here as it is."""
    return str(_NAMES.get(outcome, outcome))
