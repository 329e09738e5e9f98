"""The keys of the endpoint: made, renewed and stopped here. A token is shown once, on the page
that follows its making, and is neither in the log nor in an address."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from llmcache.admin import formats
from llmcache.admin.base import PageMixin, text_column
from llmcache.endpoint import limits
from llmcache.models import VirtualKey


class VirtualKeyAdmin(PageMixin):
    """Virtual keys."""

    list_display = (
        "shown_name",
        "shown",
        "shown_scope",
        "is_active",
        "expires_at",
        "requests_per_minute",
        "spent",
        "last_used",
    )
    list_display_links = ("shown_name",)
    list_filter = ("is_active", "budget_period")
    search_fields = ("name", "shown")
    ordering = ("name",)
    readonly_fields = ("shown", "created", "created_by", "last_used", "spent")
    actions = ("stop",)
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("name", "is_active", "expires_at", "shown")}),
        (gettext_lazy("Whose answers"), {"fields": ("scope", "namespace", "alias")}),
        (
            gettext_lazy("What it may do"),
            {"fields": ("allowed_models", "allowed_controls", "may_evict", "may_flush")},
        ),
        (
            gettext_lazy("Limits"),
            {"fields": ("requests_per_minute", "budget", "budget_period", "spent")},
        ),
        (gettext_lazy("History"), {"fields": ("created", "created_by", "last_used")}),
    )
    shown_name = text_column("name", gettext_lazy("name"))
    shown_scope = text_column("scope", gettext_lazy("scope"))

    @admin.display(description=gettext_lazy("spent"))
    def spent(self, key: VirtualKey) -> str:
        """Money spent in the running period, and how much there is."""
        if key.budget is None:
            return formats.MISSING
        spent = limits.spent(key.holder())
        return _("%(spent)s of %(budget)s") % {
            "spent": formats.money(spent),
            "budget": formats.money(key.budget),
        }

    @admin.action(description=gettext_lazy("Stop the selected keys"), permissions=["change"])
    def stop(self, request: HttpRequest, keys: QuerySet[VirtualKey]) -> None:
        """Make keys open nothing any more."""
        number = 0
        for key in keys:
            key.is_active = False
            key.save(update_fields=["is_active"])
            self.log_change(request, key, [{"changed": {"fields": ["active"]}}])
            number += 1
        text = ngettext("%(number)d key was stopped.", "%(number)d keys were stopped.", number)
        self.message_user(request, text % {"number": number}, messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: VirtualKey, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user.get_username()
        if not change or "_renew" in request.POST:
            obj.token = obj.renew()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: VirtualKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._token_page(request, obj)

    def response_change(self, request: HttpRequest, obj: VirtualKey) -> HttpResponse:
        if "_renew" in request.POST:
            return self._token_page(request, obj)
        return super().response_change(request, obj)

    def _token_page(self, request: HttpRequest, key: VirtualKey) -> HttpResponse:
        """The page that shows a token, once: it is in no other place."""
        context = self.page(
            request,
            _("The token of %(name)s") % {"name": formats.visible(key.name)},
            token=key.token,  # type: ignore[attr-defined]
            back=reverse("admin:llmcache_virtualkey_changelist", current_app=self.admin_site.name),
        )
        response = TemplateResponse(request, "admin/llmcache/token.html", context)
        response.headers["Cache-Control"] = "no-store"
        return response
