"""The Django app: at start it registers the system checks and watches TAG_MODELS, no more."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _


class LLMCacheConfig(AppConfig):
    name = "llmcache"
    verbose_name = _("LLM cache")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from llmcache import watching

        checks.register(check_settings, "llmcache")
        watching.connect()


def check_settings(app_configs: object = None, **kwargs: object) -> list[checks.CheckMessage]:
    """All messages about this app's settings."""
    # Imported here: a web process starts without checks, and needs little of what they read.
    from llmcache.checks import check_settings

    return check_settings(app_configs, **kwargs)
