"""Entries that are asked for live longer: with REFRESH_TTL_ON_HIT a hit counts as if the entry had
been stored then, up to REFRESH_TTL_MAX_AGE.

The end is part of what the envelope's signature covers, so a longer life is a new envelope around
the same answer. The writer's thread makes it, once in a good part of the ttl and only if the store
still has what it had: no caller waits, and nothing comes back that was removed or renewed
meanwhile.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import partial
from time import monotonic, time
from typing import Final

from llmcache import conf, events, policy, writer
from llmcache.backends.base import BaseBackend
from llmcache.controls import Controls
from llmcache.envelope import Envelope, EnvelopeError, seal, unseal
from llmcache.exceptions import Resting
from llmcache.plans import Plan
from llmcache.recorder import recorder
from llmcache.records import EntryRecord
from llmcache.store import Store

_SHARE: Final = 0.25
"""Of the ttl: an entry that would gain less is left as it is."""
_LONGEST_REST: Final = 60.0
"""Seconds until this process looks again at an entry that it has dealt with: a copy in its memory
may still show the old end."""
_MOST: Final = 10_000

_resting: Final[dict[tuple[str, str], float]] = {}
os.register_at_fork(after_in_child=_resting.clear)


def hit(plan: Plan, digest: str | None, envelope: Envelope) -> None:
    """Have an entry that has just served live longer, if that is wanted and worth it.

    Args:
        digest: the entry's; None where the answer has none of its own.
    """
    controls = plan.call.controls
    asked = controls.refresh_ttl_on_hit
    if not (conf.config().refresh_ttl_on_hit if asked is None else asked):
        return
    store = plan.store
    if store is None or digest is None or not plan.write or not _gains(store, controls, envelope):
        return
    place, now = (store.alias, digest), monotonic()
    if now < _resting.get(place, 0.0):
        return
    if len(_resting) >= _MOST:
        _resting.clear()
    ttl = store.ttl if controls.ttl is None else controls.ttl
    _resting[place] = now + min(_LONGEST_REST, math.inf if ttl is None else ttl * _SHARE)
    writer.later(partial(_lengthen, store, digest, controls))


def hits(plan: Plan, found: Mapping[str, Envelope]) -> None:
    """As `hit`, for the items of an embedding call."""
    for digest, envelope in found.items():
        hit(plan, digest, envelope)


def _gains(store: Store, controls: Controls, envelope: Envelope) -> bool:
    """Whether the entry is not stale yet, and would live on for a good part of its ttl more."""
    now = time()
    if now >= envelope.expires:
        return False
    until = policy.longer_life(controls, store.ttl, envelope.created, now)
    share = _SHARE + conf.config().ttl_jitter  # which may be off the gain
    return until - envelope.expires >= share * (until - now) > 0


def _lengthen(store: Store, digest: str, controls: Controls) -> None:
    """Give an entry its longer life, if it is still there and nobody else has done so."""
    if store.breaker.is_open or not store.write_breaker.allows():
        return
    try:
        _reseal(store, digest, controls)
    except EnvelopeError:
        return  # whoever reads it is told
    except Resting:
        events.count("lengthen_error")
    except Exception as error:
        store.write_breaker.failed()
        events.count("lengthen_error")
        events.logger.warning(
            "Alias %r could not let an entry live longer: %s: %s",
            store.alias,
            type(error).__name__,
            error,
        )
    else:
        store.write_breaker.succeeded()


def _reseal(store: Store, digest: str, controls: Controls) -> None:
    old = _ground(store.backend).get(digest)
    if old is None:
        return
    envelope = unseal(digest, old, signed=store.signed)
    header = envelope.header
    if header.get("ttl_set") or not _gains(store, controls, envelope):
        return
    now = time()
    until = policy.longer_life(controls, store.ttl, envelope.created, now)
    until -= (until - now) * policy.jitter()
    window = envelope.stale_until - envelope.expires
    kept = until - now + window if math.isfinite(window) else None
    data = seal(
        digest,
        envelope.payload,
        created=envelope.created,
        expires=until,
        stale_until=until + window,
        is_stream=envelope.is_stream,
        header=header,
        sign=store.signed,
        compress_min_bytes=store.compress_min_bytes,
    )
    if not store.backend.replace(digest, old, data, kept):
        return
    if store.semantic is not None:
        store.semantic.touch(digest, kept)  # its vector too
    events.count("lengthened")
    recorder.entries(
        [
            EntryRecord(
                alias=store.alias,
                digest=digest,
                created=envelope.created,
                expires=until,
                kept_until=None if kept is None else until + window,
                size=len(data),
                header=header,
                lengthened=now,
            )
        ]
    )


def _ground(backend: BaseBackend) -> BaseBackend:
    """The store, or the lowest layer of it, which other processes have in common."""
    while backend.layers:
        backend = backend.layers[-1]
    return backend
