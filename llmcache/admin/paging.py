"""Pages of a big table without counting all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

from llmcache.admin import formats

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

MOST: Final = 10_000


class CappedPaginator(_Paginator):
    """Counts at most 10,000 rows and offers no page beyond them: narrow the filter instead."""

    @cached_property
    def count(self) -> int:
        return self._counted[0]

    @property
    def is_capped(self) -> bool:
        """Whether there are more rows than it counts."""
        return self._counted[1]

    @property
    def shown_count(self) -> str:
        """The count for people: "10,000+" where there are more."""
        return formats.count(self.count) + ("+" if self.is_capped else "")

    @cached_property
    def _counted(self) -> tuple[int, bool]:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows), False
        number = rows.order_by()[: MOST + 1].count()
        return min(number, MOST), number > MOST
