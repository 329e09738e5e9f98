"""Pages of a big table without counting or sorting all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from llmcache.admin import formats

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

MOST: Final = 10_000


class IndexedChangeList(ChangeList):
    """Sorts by one column at a time, rows alike in it in the direction of the rest: what an index
    has in order. Addresses that name another column to sort by are as if they named none.
    """

    def get_ordering_field(self, field_name: Any) -> Any:
        sortable: Any = self.sortable_by
        return super().get_ordering_field(field_name) if field_name in sortable else None

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        ordering = super().get_ordering(request, queryset)
        first = ordering[0]
        if not isinstance(first, str):
            return ordering
        return [first, "-pk" if first.startswith("-") else "pk"]


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
