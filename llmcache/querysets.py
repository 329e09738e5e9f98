"""Questions about entries, calls and figures, as QuerySets that read as sentences:
`Entry.objects.live().tagged("product:7")`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

from django.db import router
from django.db.models import Q, QuerySet
from django.utils.timezone import now

from llmcache import transactions

LOST: Final = "lost"
"""The outcome of the row that counts calls whose records were lost before they could be written."""

if TYPE_CHECKING:  # for the names in quotes below
    from llmcache.models import Call, Entry, Eviction, HourlyStat, MatchedPair  # noqa: F401

_AT_A_TIME: Final = 500


class EntryQuerySet(QuerySet["Entry"]):
    """Entries of the index."""

    def live(self, at: datetime | None = None) -> Self:
        """Entries within their ttl."""
        return self.filter(Q(expires=None) | Q(expires__gt=at or now()))

    def expired(self, at: datetime | None = None) -> Self:
        """Entries that nothing can serve any more: their ttl and their stale window are over."""
        return self.filter(kept_until__lte=at or now())

    def cold(self, since: timedelta) -> Self:
        """Entries older than this that nobody has hit for as long."""
        moment = now() - since
        return self.filter(Q(last_hit=None) | Q(last_hit__lt=moment), created__lt=moment)

    def pinned(self) -> Self:
        """Entries that staff keep."""
        return self.filter(pinned__in=(True,))  # a bare flag uses no index on MySQL and SQLite

    def tagged(self, *tags: str) -> Self:
        """Entries with any of the tags."""
        return self.filter(tags__name__in=tags).distinct()

    def of_digests(self, digests: Iterable[str]) -> Self:
        """Entries with these digests, under any alias."""
        return self.filter(digest__in=list(digests))

    def with_digest_prefix(self, prefix: str) -> Self:
        """Entries whose digest begins so; the index serves this on every database."""
        return self.filter(digest__gte=prefix, digest__lt=prefix + "g")

    def drop(self, seen: Mapping[int, datetime] | None = None) -> int:
        """Delete these rows, in the order in which the ledger locks rows, so that neither waits for
        the other; how many.

        Args:
            seen: when each was created, by primary key; rows renewed since then stay.
        """
        using = router.db_for_write(self.model)

        def work() -> int:
            found = self.using(using).locked()
            pks = [pk for pk, created, *_ in found if seen is None or seen.get(pk) == created]
            for start in range(0, len(pks), _AT_A_TIME):
                part = self.model._base_manager.using(using).filter(
                    pk__in=pks[start : start + _AT_A_TIME]
                )
                part.only("pk").delete()  # without reading the material, which may be long
            return len(pks)

        return transactions.once(using, work)

    def locked(self) -> list[tuple[int, datetime, str, str]]:
        """Primary key, creation, digest and alias of these rows, which nobody else can change until
        the end of the transaction.
        """
        transactions.writes(self.model, self.db)
        rows = self.select_for_update().order_by("digest", "alias")
        return list(rows.values_list("pk", "created", "digest", "alias"))


class CallQuerySet(QuerySet["Call"]):
    """Rows of the log."""

    def since(self, moment: datetime) -> Self:
        """Calls from this moment on."""
        return self.filter(created__gte=moment)

    def before(self, moment: datetime) -> Self:
        """Calls older than this moment."""
        return self.filter(created__lt=moment)

    def of_entry(self, digest: str) -> Self:
        """Calls under one digest."""
        return self.filter(digest=digest)

    def latest_of_entry(self, digest: str) -> Self:
        """Calls under one digest, the latest first.

        Of a digest that was asked much, a database may think that any day's calls are full, and
        look through all of the latest. So this asks for an order that the digest's index alone has.
        """
        rows = self.filter(digest__gte=digest, digest__lte=digest)
        return rows.order_by("-digest", "-created")


class HourlyStatQuerySet(QuerySet["HourlyStat"]):
    """Rows of the roll-up."""

    def between(self, start: datetime, end: datetime) -> Self:
        """Hours that begin from `start` on and before `end`."""
        return self.filter(hour__gte=start, hour__lt=end)

    def answered(self) -> Self:
        """Calls that were made, without the row that counts lost records."""
        return self.exclude(outcome=LOST)

    def lost(self) -> Self:
        """Records that were lost before they could be written."""
        return self.filter(outcome=LOST)


class EvictionQuerySet(QuerySet["Eviction"]):
    """Rows of the eviction log."""

    def operations(self) -> Self:
        """What somebody did, without the batches that this was done in."""
        return self.filter(part_of=None)

    def since(self, moment: datetime) -> Self:
        """Evictions from this moment on."""
        return self.filter(created__gte=moment)


class MatchedPairQuerySet(QuerySet["MatchedPair"]):
    """Rows of what semantic stores took for one question."""

    def decided(self) -> Self:
        """Pairs of which it is known whether they are one question."""
        return self.exclude(same=None)

    def undecided(self) -> Self:
        """Pairs of which nobody has said whether they are one question."""
        return self.filter(same=None)

    def said(self, same: bool) -> Self:
        """Pairs of which it is known that they are one question, or that they are not."""
        return self.filter(same__in=(same,))  # a bare flag uses no index on MySQL and SQLite

    def rejected(self) -> Self:
        """Pairs that must not match again."""
        return self.said(False)

    def measurable(self) -> Self:
        """Decided pairs of which both prompts are kept as they were."""
        return self.decided().filter(whole=True)
