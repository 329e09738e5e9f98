"""What a key's holder may see and do besides calling models: its models, its figures, evicting."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import orjson
from django.db import DatabaseError
from django.db.models import Sum
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

import llmcache
from llmcache import conf, maintenance, writer
from llmcache.calls import KINDS
from llmcache.endpoint import limits, reading
from llmcache.endpoint.errors import Refused
from llmcache.endpoint.serving import Door, store_of
from llmcache.models import Entry, HourlyStat
from llmcache.outcome import SERVED
from llmcache.querysets import EntryQuerySet
from llmcache.recorder import recorder
from llmcache.text import name_of
from llmcache.virtual_keys import Holder

_RECENT = timedelta(days=30)
_MOST_MODELS = 500
MOST_NAMED: Final = 1000
"""Keys or tags of one request."""
_ASKED = (*KINDS, *(f"a{kind}" for kind in KINDS))


class ModelsDoor(Door):
    """GET models: those that the key may use, as far as this site knows their names."""

    def __init__(self) -> None:
        super().__init__("GET", anthropic=None)

    def answer(self, request: HttpRequest, holder: Holder, **captured: str) -> HttpResponseBase:
        model = captured.get("model")
        show = _anthropics if self.is_anthropic(request) else _openais
        if model is not None:
            if not holder.may_use(model):
                raise Refused(404, f"There is no model {model!r} for this key.", "model_not_found")
            return JsonResponse(show(model))
        names = known_models(holder)
        data = [show(name) for name in names]
        if self.is_anthropic(request):
            ends = {
                "first_id": names[0] if names else None,
                "last_id": names[-1] if names else None,
            }
            return JsonResponse({"data": data, "has_more": False, **ends})
        return JsonResponse({"object": "list", "data": data})


def known_models(holder: Holder) -> list[str]:
    """The names that a key allows, that have a price in the settings, or that it asked lately.
    What others ask is not told: a name can be about them."""
    names = {name for name in holder.models if "*" not in name and "?" not in name}
    names |= set(conf.config().pricing or ())
    with suppress(DatabaseError):  # the names in the settings are right without it
        recent = HourlyStat.objects.filter(caller=holder.caller, hour__gte=timezone.now() - _RECENT)
        asked = recent.filter(kind__in=_ASKED).exclude(model="").values_list("model", flat=True)
        names |= set(asked.distinct()[:_MOST_MODELS])
    return sorted(name for name in names if holder.may_use(name))


def _openais(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "llmcache"}


def _anthropics(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
    }


class PingDoor(Door):
    """GET cache/ping: whether the key's cache can be written and read."""

    def __init__(self) -> None:
        super().__init__("GET")

    def answer(self, request: HttpRequest, holder: Holder, **captured: str) -> HttpResponseBase:
        store = store_of(holder)
        if store is None:
            return JsonResponse({"status": "off"})
        healthy = not store.is_resting
        if healthy:
            try:
                store.backend.get("0" * 64)
            except Exception:
                healthy = False
        status = "healthy" if healthy else "failing"
        body = {"status": status, "alias": store.alias, "version": llmcache.__version__}
        return JsonResponse(body, status=200 if healthy else 503)


class DeleteDoor(Door):
    """POST cache/delete: entries of the key's own scope, by `keys` or by `tags`."""

    def __init__(self) -> None:
        super().__init__("POST")

    def answer(self, request: HttpRequest, holder: Holder, **captured: str) -> HttpResponseBase:
        if not holder.may_evict:
            raise Refused(403, "This key may not evict entries.", "not_allowed")
        given = _body(request)
        keys, tags = _texts(given, "keys"), _texts(given, "tags")
        if not keys and not tags:
            raise Refused(400, "Name 'keys' (X-LLMCache-Key of answers) or 'tags', as lists.")
        named = Entry.objects.of_digests(keys) if keys else Entry.objects.tagged(*tags)
        own = _own_entries(holder, named)
        what = ", ".join(keys or tags)[:200]
        done = maintenance.evict_entries(own, what=what, reason="endpoint", by=holder.caller)
        return JsonResponse({"evicted": done.removed, "failed": done.failed})


class FlushDoor(Door):
    """POST cache/flush: all entries of the key's own scope."""

    def __init__(self) -> None:
        super().__init__("POST")

    def answer(self, request: HttpRequest, holder: Holder, **captured: str) -> HttpResponseBase:
        if not holder.may_flush:
            raise Refused(403, "This key may not flush its entries.", "not_allowed")
        done = maintenance.evict_entries(
            _own_entries(holder, Entry.objects.all()),
            what=f"scope {holder.scope}",
            reason="endpoint",
            by=holder.caller,
        )
        return JsonResponse({"evicted": done.removed, "failed": done.failed})


class StatsDoor(Door):
    """GET cache/stats: the key's own figures of some hours, 24 unless `?hours=` says otherwise."""

    def __init__(self) -> None:
        super().__init__("GET")

    def answer(self, request: HttpRequest, holder: Holder, **captured: str) -> HttpResponseBase:
        try:
            hours = min(max(int(request.GET.get("hours", "24")), 1), 24 * 366)
        except ValueError:
            raise Refused(400, "hours must be a whole number.") from None
        rows = HourlyStat.objects.filter(
            caller=holder.caller, hour__gte=timezone.now() - timedelta(hours=hours)
        )
        counted = {
            row["outcome"]: row["number"]
            for row in rows.values("outcome").annotate(number=Sum("calls"))
        }
        sums = rows.aggregate(
            spent=Sum("cost"),
            saved=Sum("saved_cost"),
            saved_input_tokens=Sum("saved_input_tokens"),
            saved_output_tokens=Sum("saved_output_tokens"),
        )
        number = sum(counted.values())
        hits = sum(counted.get(outcome, 0) for outcome in SERVED)
        return JsonResponse(
            {
                "hours": hours,
                "requests": number,
                "hits": hits,
                "hit_rate": hits / number if number else None,
                "outcomes": counted,
                "cost": sums["spent"] or 0.0,
                "saved_cost": sums["saved"] or 0.0,
                "saved_tokens": (sums["saved_input_tokens"] or 0)
                + (sums["saved_output_tokens"] or 0),
                "budget": holder.budget,
                "spent_of_budget": None if holder.budget is None else limits.spent_if_known(holder),
            }
        )


def _own_entries(holder: Holder, entries: EntryQuerySet) -> EntryQuerySet:
    """Those of some entries that a key may remove, what this process has just stored included.

    Some databases take "Team" for "team", so the names are compared here once more.
    """
    writer.flush()
    recorder.flush()
    scope, namespace = name_of(holder.scope), name_of(holder.namespace)
    entries = entries.filter(scope=scope)
    store = store_of(holder)
    if store is not None:
        entries = entries.filter(alias=store.alias)
    if namespace:
        entries = entries.filter(namespace=namespace)
    others = [
        pk
        for pk, *names in entries.values_list("pk", "scope", "namespace").iterator()
        if names != [scope, namespace or names[1]]
    ]
    return entries.exclude(pk__in=others) if others else entries


def _body(request: HttpRequest) -> dict[str, Any]:
    try:
        parsed = orjson.loads(reading.body_of(request) or b"{}")
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise Refused(400, "Send a JSON object.")
    return parsed


def _texts(given: dict[str, Any], name: str) -> list[str]:
    value = given.get(name) or []
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise Refused(400, f"{name!r} must be a list of texts.")
    if len(value) > MOST_NAMED:
        raise Refused(400, f"{name!r} may have at most {MOST_NAMED} texts: send several requests.")
    return list(map(name_of, value))
