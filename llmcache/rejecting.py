"""Saying that a similar prompt's answer was wrong: it is evicted, the pair never matches again, and
the evaluation set has one more case.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async

from llmcache import maintenance
from llmcache.exceptions import InvalidRequest
from llmcache.maintenance import Evicted
from llmcache.matching import observing, pairs
from llmcache.models import MatchedPair
from llmcache.outcome import CacheInfo
from llmcache.store import backend_of
from llmcache.text import name_of

if TYPE_CHECKING:
    from llmcache.response import Response
    from llmcache.streaming import AsyncStream, Stream


def reject(
    answer: Response | Stream | AsyncStream | CacheInfo, *, reason: str = "", by: str = "api"
) -> Evicted:
    """Say that a cached answer was wrong.

    The entry is evicted from all processes. If the answer was another prompt's, the two prompts
    never match again, in any process from now on, and the pair joins the evaluation set.

    Args:
        answer: what a call has returned, or its `cache`.
        reason, by: for the eviction log.

    Raises:
        InvalidRequest: the answer did not come from the cache.
        DatabaseError: the pair is blocked, but the rest is not done.
    """
    info: CacheInfo = answer if isinstance(answer, CacheInfo) else answer.cache
    if info.similarity is None or info.key is None:
        raise InvalidRequest("Only an answer that came from the cache can be rejected.")
    match, alias = info.match, info.alias
    if match is not None:
        _block(alias, match.pair)
    evicted = maintenance.evict(digest=info.key, alias=alias, reason=reason or "rejected", by=by)
    if match is not None:
        seen = observing.Observation(
            at=time(),
            how=MatchedPair.How.SERVED,
            alias=alias,
            kind="",
            model=info.model,
            match=match,
        )
        row = observing.write(seen)
        MatchedPair.objects.filter(pk=row.pk).update(same=False, decided_by=name_of(by))
    return evicted


areject = sync_to_async(reject)


def decide(row: MatchedPair, same: bool | None, *, by: str) -> None:
    """Say of a pair whether one answer serves both prompts.

    A pair that is not the same is blocked, and the stored answer evicted; one that is again said to
    be the same, or of which nobody knows, may match again.

    Raises:
        InvalidRequest: this process has no store of the pair's alias.
        Exception: whatever the store raises; nothing is written then.
    """
    if same is False:
        _block(row.alias, row.pair)
        maintenance.evict(digest=row.digest, alias=row.alias, reason="rejected", by=by)
    elif row.same is False:
        backend = backend_of(row.alias)
        if backend is not None:
            backend.delete(row.pair)
    row.same = same
    row.decided_by = "" if same is None else name_of(by)
    row.save(update_fields=["same", "decided_by"])


def _block(alias: str, pair: str) -> None:
    backend = backend_of(alias)
    if backend is None:
        raise InvalidRequest(f"This process has no store of the alias {alias!r}.")
    backend.set(*pairs.block(pair, signed=not backend.process_local))
