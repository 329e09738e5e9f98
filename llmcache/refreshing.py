"""Asking again: an entry's call is made once more and its answer replaces the stored one.

The call comes from the index, when staff ask, or from whoever was served a stale answer. Either
way it must have the entry's own digest; the new entry keeps tags, namespace, scope and ttl.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from time import perf_counter, time
from typing import Any, Final

import orjson
from django.db import DatabaseError, IntegrityError, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from llmcache import caching, calls, client, conf, events, keys, store
from llmcache.calls import Call
from llmcache.envelope import Envelope, EnvelopeError, unseal
from llmcache.exceptions import EntryGone, NotRepeatable
from llmcache.maintenance import NO_STORE
from llmcache.models import Entry, RecordBatch
from llmcache.outcome import MISS
from llmcache.plans import Plan
from llmcache.response import Response
from llmcache.store import Store
from llmcache.streams import OWN_KINDS
from llmcache.task_queue import in_place
from llmcache.upstreams import upstreams

_CLAIMS: Final = uuid.UUID("9b1f3a52-3f0e-4c59-9a0f-4b9b9f8f7c11")
_CLAIM_HOLDS: Final = timedelta(minutes=5)
"""A worker that has not renewed an entry by then is taken for dead."""


def refresh(entry: Entry) -> Response:
    """Make an entry's call again, and store the new answer in its place before returning.

    A new answer that may not be stored (`response.cache.reason` says why) leaves the old one.

    Raises:
        EntryGone: this process has no store of the entry's alias.
        NotRepeatable: the index does not keep the whole call, or the settings have changed since.
        UpstreamError: the provider failed; the old answer stays.
    """
    place = _store_of(entry.alias)
    material = _whole_material(entry)
    window = ttl = math.inf
    if entry.expires is not None:
        ttl = (entry.expires - entry.created).total_seconds()
        if entry.kept_until is not None:
            window = (entry.kept_until - entry.expires).total_seconds()
    tags = list(entry.tags.values_list("name", flat=True))
    cache = {"ttl": ttl, "stale-while-revalidate": max(0.0, window), "tags": tags}
    call = calls.build(
        material["kind"], entry.model, {**material.get("params", {}), "cache": cache}
    )
    plan = _plan(call, place, material, entry.digest)
    plan.pinned = entry.pinned
    return _answered(plan)


def renew(alias: str, digest: str, request: Mapping[str, Any]) -> bool:
    """Renew an entry whose stale answer has served, unless that is done or being done already.

    Args:
        request: the call, as `llmcache.revalidation` sends it: `kind`, `model`, `arguments` of the
            function, and `namespace`, `scope` and `bucket` as they are in the key.

    Raises:
        EntryGone, NotRepeatable, UpstreamError: as `refresh`.
    """
    place = _store_of(alias)
    found = _stored(place, digest)
    if found is not None and time() < found.expires:
        return False
    call = calls.build(request["kind"], request["model"], request["arguments"])
    plan = _plan(call, place, request, digest)
    claim = uuid.uuid5(_CLAIMS, f"{alias} {digest} {found.created if found else 0}")
    if not _claimed(claim):
        return False
    try:
        _answered(plan)
    except Exception:
        with suppress(DatabaseError):
            RecordBatch.objects.filter(pk=claim).delete()
        raise
    return True


def _store_of(alias: str) -> Store:
    if alias in conf.backends():
        cache = caching.for_alias(alias)
        if cache is None:
            raise NotRepeatable(_("LLMCACHE_CONFIG['MODE'] is \"off\", so nothing can be stored."))
        return cache
    for living in store.living():
        if living.alias == alias:
            return living
    raise EntryGone(NO_STORE, alias=alias)


# --- the call ---


def _whole_material(entry: Entry) -> dict[str, Any]:
    """The material of an entry's key, if the index has all of it."""
    material = orjson.loads(entry.material) if entry.material else {}
    if not material:
        raise NotRepeatable(_("The index keeps nothing of this entry's call."))
    if material.get("kind") in OWN_KINDS:
        raise NotRepeatable(
            _(
                "A view or a function of this site made the answer: evict the entry, or "
                "call refresh() of the function."
            )
        )
    if "key" in material:
        raise NotRepeatable(
            _("The call had a key of its own in place of its parameters, which nobody keeps.")
        )
    if "file" in material:
        raise NotRepeatable(_("The call was about a file, of which only a hash is kept."))
    if "headers" in material or "query" in material:
        raise NotRepeatable(
            _("The call had headers or a query of its own, of which only hashes are kept.")
        )
    if keys.digest_of(material) != entry.digest:
        raise NotRepeatable(
            _(
                "The index does not keep the whole prompt of this entry. It does so for new "
                "entries with STORE_PROMPTS = “full” and no REDACT."
            )
        )
    return material


def _plan(call: Call, place: Store, known: Mapping[str, Any], digest: str) -> Plan:
    """The call's plan: not to be read from the store, but to be written there.

    Args:
        known: namespace, scope and bucket of the key, where there are any. The settings' own SCOPE
            and a bucket drawn by lot would say something else.
    """
    route = upstreams.route(call.model)
    material = keys.material(
        call,
        model=route.model,
        provider=route.identity,
        namespace=known.get("namespace"),
        scope=known.get("scope"),
        version=place.version,
    )
    if known.get("bucket") is not None:
        material["bucket"] = known["bucket"]
    if keys.digest_of(material) != digest:
        raise NotRepeatable(
            _(
                "The same call has another key now: its provider, its base_url or the VERSION of "
                "the store has changed since."
            )
        )
    plan = Plan(call, place, route, perf_counter())
    plan.material = material
    plan.namespace, plan.scope = known.get("namespace"), known.get("scope")
    plan.digest = None if call.kind == "embedding" else digest
    plan.write = True
    plan.outcome, plan.reason = MISS, "refreshed"
    return plan


def _answered(plan: Plan) -> Response:
    with in_place():  # the new entry is in its store when this returns
        answer = client.carry_out(plan)
    assert isinstance(answer, Response)
    return answer


# --- one at a time ---


def _stored(place: Store, digest: str) -> Envelope | None:
    data = place.backend.get(digest)
    try:
        return None if data is None else unseal(digest, data, signed=place.signed)
    except EnvelopeError:
        return None


def _claimed(claim: uuid.UUID) -> bool:
    """Whether this worker is to renew the entry: of several, the database lets one."""
    using = router.db_for_write(RecordBatch)
    rows = RecordBatch.objects.using(using)
    now = timezone.now()
    try:
        with transaction.atomic(using=using):
            rows.create(pk=claim, created=now)
    except IntegrityError:
        late = rows.filter(pk=claim, created__lt=now - _CLAIM_HOLDS)
        return bool(late.update(created=now))
    except DatabaseError as error:
        events.warn_once("claim_error", "Several workers may renew one entry: %s", error)
    return True
