"""What all pages share: navigation between them, and read-only tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from llmcache.admin import formats
from llmcache.admin.paging import IndexedChangeList
from llmcache.models import Entry

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


def navigation(request: HttpRequest, site: admin.AdminSite) -> list[dict[str, Any]]:
    """The app's pages that this user may open, with the one that is open marked."""
    pages = (
        (_("Dashboard"), "hourlystat_changelist", "llmcache.view_hourlystat"),
        (_("Entries"), "entry_changelist", "llmcache.view_entry"),
        (_("Calls"), "call_changelist", "llmcache.view_call"),
        (_("Explain"), "explain", "llmcache.view_entry"),
        (_("Stores"), "aliases", "llmcache.view_entry"),
        (_("Similar pairs"), "matchedpair_changelist", "llmcache.view_matchedpair"),
        (_("Virtual keys"), "virtualkey_changelist", "llmcache.view_virtualkey"),
        (_("Evictions"), "eviction_changelist", "llmcache.view_eviction"),
    )
    found = []
    for name, view, permission in pages:
        url = reverse(f"admin:llmcache_{view}", current_app=site.name)
        if request.user.has_perm(permission):
            found.append({"name": name, "url": url, "is_open": request.path == url})
    return found


class Named:
    """Stands for a row where the stock pages write its name, so that nothing in that hides."""

    def __init__(self, row: Model) -> None:
        self.pk = row.pk
        self._name = formats.visible(str(row))

    def __str__(self) -> str:
        return self._name


class PageMixin(_ModelAdmin):
    """Gives every page of a ModelAdmin the navigation and the style sheet."""

    class Media:
        css = {"all": ("llmcache/admin.css",)}  # noqa: RUF012

    def page(self, request: HttpRequest, title: str, **context: Any) -> dict[str, Any]:
        """The context of a page of our own."""
        request.current_app = self.admin_site.name
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.model._meta,
            "media": self.media,
            "llmcache_pages": navigation(request, self.admin_site),
            **context,
        }

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        extra = {
            "title": capfirst(self.opts.verbose_name_plural),
            "llmcache_pages": navigation(request, self.admin_site),
            **(extra_context or {}),
        }
        return super().changelist_view(request, extra)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        # Django lets an empty name of a field through, and then fails for want of such a field.
        return super().get_object(request, object_id, from_field or None)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        row = self.get_object(request, object_id or "")
        extra = {
            "llmcache_pages": navigation(request, self.admin_site),
            "original": row and Named(row),
            "subtitle": row and str(Named(row)),
            **(extra_context or {}),
        }
        return super().changeform_view(request, object_id, form_url, extra)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        row = self.get_object(request, object_id)
        extra: dict[str, Any] = {"llmcache_pages": navigation(request, self.admin_site)}
        if row is not None:
            named = Named(row)
            extra |= {"object": named, "title": _("Change history: %s") % named}
        return super().history_view(request, object_id, {**extra, **(extra_context or {})})


def write_log(request: HttpRequest, what: str | Iterable[Model], message: str, flag: int) -> None:
    """Write down in the admin's own log who did something to rows.

    Args:
        what: the rows, each of which gets one in the log, or words for many entries at once.
    """
    said: list[tuple[type[Model], str | None, str]]
    if isinstance(what, str):
        said = [(Entry, None, what)]
    else:
        said = [(type(row), str(row.pk), str(row)) for row in what]
    types = ContentType.objects
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=request.user.pk or 0,
            content_type_id=types.get_for_model(model).pk,
            object_id=key,
            object_repr=formats.visible(text)[:200],
            action_flag=flag,
            change_message=message,
        )
        for model, key, text in said
    )


class ReadOnlyAdmin(PageMixin):
    """A table that people only look at: what writes it is the recorder."""

    actions: Any = None
    show_full_result_count = False
    # Facets count a whole table, once for each choice of each filter.
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_display_links: Any = None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[IndexedChangeList]:
        return IndexedChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OwnPageAdmin(ReadOnlyAdmin):
    """A table whose rows have a page of our own in place of the stock form."""

    def own_page(self, request: HttpRequest, row: Any, /) -> HttpResponse:
        """The page of one row, for somebody who may see it."""
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined,no-any-return]
                request, self.opts, object_id
            )
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return self.own_page(request, row)


def text_column(name: str, label: Any) -> Callable[[Any, Any], str]:
    """A column or field of text that others wrote: nothing in it hides, turns round or is run."""

    @admin.display(description=label)
    def shown(self: object, row: Any) -> str:
        text = formats.visible(getattr(row, name))
        return format_html("<bdi>{}</bdi>", text) if text else formats.MISSING

    return shown
