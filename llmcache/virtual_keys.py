"""The keys that a site gives to those who call its endpoint, in place of the provider's own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from llmcache import conf
from llmcache.configuration import CLIENTS_MAY
from llmcache.controls import NAMES as CONTROLS
from llmcache.text import ALIAS_LENGTH, NAME_LENGTH, clean

_PREFIX: Final = "llmc-"
_SHOWN: Final = 12
ALWAYS_ALLOWED: Final = frozenset(
    {"max-age", "no-cache", "no-store", "only-if-cached", "s-maxage", "ttl"}
)
"""The cache controls that a new key's holder may use."""
NEVER_ALLOWED: Final = frozenset({"scope", "caller", "key", "use-cache"})
"""The cache controls that reach beyond a key's own entries, or would hide who called."""


class Period(models.TextChoices):
    """For how long a budget lasts."""

    DAY = "day", _("a day")
    MONTH = "month", _("a month")
    TOTAL = "total", _("altogether")


def _names(value: Any, known: Any = None) -> None:
    if not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
        raise ValidationError(_('Write a list of texts, such as ["one", "other"].'))
    unknown = sorted(set(value) - set(known)) if known is not None else []
    if unknown:
        raise ValidationError(
            _("Unknown: %(unknown)s. Known: %(known)s."),
            params={"unknown": ", ".join(unknown), "known": ", ".join(sorted(known))},
        )


def check_models(value: Any) -> None:
    """Raise ValidationError unless the value is a list of names."""
    _names(value)


def check_controls(value: Any) -> None:
    """Raise ValidationError unless the value is a list of controls that a key may be given."""
    _names(value, (CONTROLS | CLIENTS_MAY) - NEVER_ALLOWED)


def check_alias(value: str) -> None:
    """Raise ValidationError unless there is such an alias."""
    if value and value not in conf.backends():
        raise ValidationError(
            _("There is no such alias in LLMCACHE; there is %(known)s."),
            params={"known": ", ".join(sorted(conf.backends()))},
        )


def usual_controls() -> list[str]:
    """The controls of a new key."""
    return sorted(ALWAYS_ALLOWED)


def hashed(token: str) -> str:
    """What the database keeps of a token: it has 256 random bits, so a plain hash hides it."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()


class VirtualKey(models.Model):
    """A key to the endpoint: whose answers it reads and writes, and what it may spend."""

    name = models.CharField(_("name"), max_length=80, unique=True)
    shown = models.CharField(_("begins with"), max_length=_SHOWN, editable=False)
    digest = models.CharField(_("hash"), max_length=64, unique=True, editable=False)
    is_active = models.BooleanField(_("active"), default=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    scope = models.CharField(
        _("scope"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("Keys of one scope share their answers. Empty: the key has its own."),
    )
    namespace = models.CharField(_("namespace"), max_length=NAME_LENGTH, blank=True)
    alias = models.CharField(
        _("alias"),
        max_length=ALIAS_LENGTH,
        blank=True,
        validators=[check_alias],
        help_text=_("Of LLMCACHE. Empty: the cache in force."),
    )
    allowed_models = models.JSONField(
        _("allowed models"),
        default=list,
        blank=True,
        validators=[check_models],
        help_text=_('Names, with * for any text, such as ["gpt-4o*"]. Empty: every model.'),
    )
    allowed_controls = models.JSONField(
        _("allowed controls"),
        default=usual_controls,
        blank=True,
        validators=[check_controls],
        help_text=_("What the key's holder may say about caching."),
    )
    requests_per_minute = models.PositiveIntegerField(
        _("requests per minute"), null=True, blank=True, help_text=_("Empty: no limit.")
    )
    budget = models.FloatField(
        _("budget"),
        null=True,
        blank=True,
        help_text=_("In the currency of the prices; hits cost nothing. Empty: no limit."),
    )
    budget_period = models.CharField(
        _("budget for"), max_length=8, choices=Period.choices, default=Period.MONTH
    )
    may_evict = models.BooleanField(
        _("may evict"), default=False, help_text=_("Single entries and tags of its scope.")
    )
    may_flush = models.BooleanField(
        _("may flush"), default=False, help_text=_("All entries of its scope.")
    )
    created = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    created_by = models.CharField(_("created by"), max_length=150, blank=True, editable=False)
    last_used = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("virtual key")
        verbose_name_plural = _("virtual keys")

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Free texts of what a database cannot keep."""
        for field in ("name", "scope", "namespace", "created_by"):
            setattr(self, field, clean(getattr(self, field)))
        if self.budget is not None and not self.budget >= 0:
            raise ValidationError({"budget": _("A budget cannot be negative.")})

    def renew(self) -> str:
        """Give the key a new token, which is returned and kept nowhere. The old one opens nothing
        any more, in other processes within FLUSH_INTERVAL. The row is still to be saved."""
        token = _PREFIX + secrets.token_urlsafe(32)
        self.shown, self.digest = token[:_SHOWN], hashed(token)
        return token

    def holder(self) -> Holder:
        """Who calls with this key, as the endpoint needs it."""
        return Holder(
            name=self.name,
            pk=self.pk,
            since=self.created,
            scope=self.scope or f"key:{self.pk}",
            namespace=self.namespace or None,
            alias=self.alias or None,
            models=tuple(self.allowed_models),
            controls=frozenset(self.allowed_controls) - NEVER_ALLOWED,
            requests_per_minute=self.requests_per_minute,
            budget=self.budget,
            budget_period=self.budget_period,
            may_evict=self.may_evict,
            may_flush=self.may_flush,
            expires_at=self.expires_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Somebody who may call the endpoint.

    Attributes:
        name: for the figures, as "key:name".
        scope: whose answers they read and write; None for those that everybody shares.
        models: patterns of names; none for every model.
        controls: the cache controls and Cache-Control directives that they may use.
        since: when they came to be; what others of their name spent before is not theirs.
        budget: what they may spend in a `budget_period`, in the currency of the prices.
    """

    name: str
    pk: int | None = None
    since: datetime | None = None
    scope: str | None
    namespace: str | None = None
    alias: str | None = None
    models: tuple[str, ...] = ()
    controls: frozenset[str] = ALWAYS_ALLOWED
    requests_per_minute: int | None = None
    budget: float | None = None
    budget_period: str = Period.MONTH
    may_evict: bool = False
    may_flush: bool = False
    expires_at: datetime | None = None

    @property
    def caller(self) -> str:
        """How the figures call them."""
        return f"key:{self.name}"

    def may_use(self, model: str) -> bool:
        """Whether they may call a model of this name."""
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def has_ended(self) -> bool:
        """Whether their time is over."""
        return self.expires_at is not None and self.expires_at <= timezone.now()
