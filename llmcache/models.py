"""What the database keeps: an index of entries, a log of calls, hourly figures, evictions and
what semantic stores took for one question.

Answers themselves are only in the stores. Every text comes in through `llmcache.text.clean`.

Every filter and every order of the admin's lists has an index, so that no page reads a whole table;
so have the figures of one caller, which the endpoint asks for. All ascend: MySQL and SQLite have
the primary key behind each, ascending too, and read both backwards where the latest come first. By
what descends they would sort the whole table.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from llmcache.fields import NameField
from llmcache.querysets import (
    CallQuerySet,
    EntryQuerySet,
    EvictionQuerySet,
    HourlyStatQuerySet,
    MatchedPairQuerySet,
)
from llmcache.text import (
    ALIAS_LENGTH,
    LABEL_LENGTH,
    NAME_LENGTH,
    PREVIEW_LENGTH,
    REASON_LENGTH,
)
from llmcache.virtual_keys import VirtualKey as VirtualKey


class Entry(models.Model):
    """One entry of one store: what is known about it without opening it."""

    alias = NameField(_("alias"), max_length=ALIAS_LENGTH)
    digest = models.CharField(_("digest"), max_length=64)
    kind = models.CharField(_("call type"), max_length=32)
    model = NameField(_("model"), max_length=NAME_LENGTH)
    namespace = NameField(_("namespace"), max_length=NAME_LENGTH, blank=True)
    scope = NameField(_("scope"), max_length=NAME_LENGTH, blank=True)
    preview = models.CharField(_("prompt"), max_length=PREVIEW_LENGTH, blank=True)
    material = models.TextField(
        _("key's material"),
        blank=True,
        help_text=_("JSON; prompts in it as STORE_PROMPTS allows."),
    )
    size = models.PositiveIntegerField(_("size"), help_text=_("Bytes in the store."))
    input_tokens = models.PositiveIntegerField(_("input tokens"), default=0)
    output_tokens = models.PositiveIntegerField(_("output tokens"), default=0)
    cached_tokens = models.PositiveIntegerField(
        _("cached input tokens"),
        default=0,
        help_text=_("The part of the input that the provider had in its own prompt cache."),
    )
    cost = models.FloatField(
        _("cost"), null=True, blank=True, help_text=_("What the answer cost; empty if unpriced.")
    )
    upstream_seconds = models.FloatField(_("upstream latency"), default=0.0)
    created = models.DateTimeField(_("created"))
    expires = models.DateTimeField(_("expires"), null=True, blank=True)
    kept_until = models.DateTimeField(
        _("kept until"), null=True, blank=True, help_text=_("End of the ttl and the stale window.")
    )
    hits = models.PositiveBigIntegerField(_("hits"), default=0)
    last_hit = models.DateTimeField(_("last hit"), null=True, blank=True)
    pinned = models.BooleanField(_("pinned"), default=False)

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        permissions = (
            ("evict_entry", _("Can evict entries")),
            ("view_payload", _("Can read stored answers and prompts")),
            ("clear_cache", _("Can clear a whole store")),
        )
        constraints = (
            # The digest first: equality of both and prefixes of the digest use the same index.
            models.UniqueConstraint(fields=("digest", "alias"), name="llmcache_entry_unique"),
        )
        indexes = (
            models.Index(fields=("alias", "created"), name="llmcache_entry_alias"),
            models.Index(fields=("created",), name="llmcache_entry_created"),
            # With the key, as many entries may have no end, or the same.
            models.Index(fields=("kept_until", "id"), name="llmcache_entry_kept"),
            models.Index(fields=("kind", "created"), name="llmcache_entry_kind"),
            models.Index(fields=("model", "created"), name="llmcache_entry_model"),
            models.Index(fields=("namespace", "created"), name="llmcache_entry_namespace"),
            models.Index(fields=("pinned", "created"), name="llmcache_entry_pinned"),
            models.Index(fields=("scope", "created"), name="llmcache_entry_scope"),
        )

    def __str__(self) -> str:
        return f"{self.alias} {self.digest[:12]}"


class EntryTag(models.Model):
    """A label of an entry, to evict by."""

    entry = models.ForeignKey(Entry, on_delete=models.CASCADE, related_name="tags")
    name = NameField(_("tag"), max_length=NAME_LENGTH)

    class Meta:
        verbose_name = _("tag")
        verbose_name_plural = _("tags")
        constraints = (
            models.UniqueConstraint(fields=("name", "entry"), name="llmcache_tag_unique"),
        )

    def __str__(self) -> str:
        return self.name


class Call(models.Model):
    """One call, as it ended."""

    created = models.DateTimeField(_("time"))
    outcome = models.CharField(_("outcome"), max_length=16)
    reason = models.CharField(_("reason"), max_length=REASON_LENGTH, blank=True)
    alias = NameField(_("alias"), max_length=ALIAS_LENGTH, blank=True)
    digest = models.CharField(_("digest"), max_length=64, blank=True)
    kind = models.CharField(_("call type"), max_length=32)
    model = NameField(_("model"), max_length=NAME_LENGTH)
    namespace = NameField(_("namespace"), max_length=NAME_LENGTH, blank=True)
    scope = NameField(_("scope"), max_length=NAME_LENGTH, blank=True)
    caller = NameField(_("caller"), max_length=LABEL_LENGTH, blank=True)
    layer = NameField(_("layer"), max_length=ALIAS_LENGTH, blank=True)
    streamed = models.BooleanField(_("streamed"), default=False)
    latency = models.FloatField(_("latency"), help_text=_("Seconds."))
    upstream_seconds = models.FloatField(_("upstream latency"), default=0.0)
    age = models.FloatField(_("age"), default=0.0, help_text=_("Seconds since it was made."))
    similarity = models.FloatField(_("similarity"), null=True, blank=True)
    input_tokens = models.PositiveIntegerField(_("input tokens"), default=0)
    output_tokens = models.PositiveIntegerField(_("output tokens"), default=0)
    cached_tokens = models.PositiveIntegerField(_("cached input tokens"), default=0)
    saved_input_tokens = models.PositiveIntegerField(_("saved input tokens"), default=0)
    saved_output_tokens = models.PositiveIntegerField(_("saved output tokens"), default=0)
    saved_cached_tokens = models.PositiveIntegerField(_("saved cached tokens"), default=0)
    cost = models.FloatField(_("cost"), null=True, blank=True)
    saved_cost = models.FloatField(_("saved cost"), null=True, blank=True)
    lookup_cost = models.FloatField(
        _("lookup cost"), default=0.0, help_text=_("What embeddings for the lookup cost.")
    )

    objects = CallQuerySet.as_manager()

    class Meta:
        verbose_name = _("call")
        verbose_name_plural = _("calls")
        indexes = (
            models.Index(fields=("created",), name="llmcache_call_created"),
            models.Index(fields=("digest", "created"), name="llmcache_call_digest"),
            models.Index(fields=("outcome", "created"), name="llmcache_call_outcome"),
            models.Index(fields=("alias", "created"), name="llmcache_call_alias"),
            models.Index(fields=("model", "created"), name="llmcache_call_model"),
            models.Index(fields=("kind", "created"), name="llmcache_call_kind"),
        )

    def __str__(self) -> str:
        from llmcache.outcome_names import named  # here, as a site loads the models at its start

        return f"{named(self.outcome)} {self.model}"


class HourlyStat(models.Model):
    """How many calls of one kind there were in one hour, and what they cost and saved.

    `speed` is the calls' latency, rounded up on a scale of its own (`llmcache.speeds`): the rows of
    one hour are a histogram of latencies. Rows older than RETENTION_DAYS stand for whole days.
    """

    hour = models.DateTimeField(_("hour"))
    alias = NameField(_("alias"), max_length=ALIAS_LENGTH, blank=True)
    kind = models.CharField(_("call type"), max_length=32, blank=True)
    model = NameField(_("model"), max_length=NAME_LENGTH, blank=True)
    namespace = NameField(_("namespace"), max_length=NAME_LENGTH, blank=True)
    caller = NameField(_("caller"), max_length=LABEL_LENGTH, blank=True)
    outcome = models.CharField(_("outcome"), max_length=16)
    speed = models.SmallIntegerField(_("speed"), default=0)
    calls = models.PositiveBigIntegerField(_("calls"), default=0)
    input_tokens = models.PositiveBigIntegerField(_("input tokens"), default=0)
    output_tokens = models.PositiveBigIntegerField(_("output tokens"), default=0)
    cached_tokens = models.PositiveBigIntegerField(_("cached input tokens"), default=0)
    saved_input_tokens = models.PositiveBigIntegerField(_("saved input tokens"), default=0)
    saved_output_tokens = models.PositiveBigIntegerField(_("saved output tokens"), default=0)
    saved_cached_tokens = models.PositiveBigIntegerField(_("saved cached tokens"), default=0)
    cost = models.FloatField(_("cost"), default=0.0)
    saved_cost = models.FloatField(_("saved cost"), default=0.0)
    lookup_cost = models.FloatField(_("lookup cost"), default=0.0)
    unpriced = models.PositiveBigIntegerField(
        _("unpriced"), default=0, help_text=_("Calls of models without a price.")
    )
    seconds = models.FloatField(_("seconds"), default=0.0, help_text=_("Latencies added up."))
    saved_seconds = models.FloatField(_("saved seconds"), default=0.0)

    objects = HourlyStatQuerySet.as_manager()

    class Meta:
        verbose_name = _("hourly figure")
        verbose_name_plural = _("hourly figures")
        indexes = (models.Index(fields=("caller", "hour"), name="llmcache_stat_caller"),)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "hour",
                    "alias",
                    "model",
                    "outcome",
                    "kind",
                    "namespace",
                    "caller",
                    "speed",
                ),
                name="llmcache_stat_unique",
            ),
        )

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} {self.alias} {self.model} {self.outcome}"


class Eviction(models.Model):
    """What was removed from the stores, why, by whom and when.

    One row an operation, and below it, in `part_of`, one a batch of removed entries with their
    digests. Every process reads new rows of both sorts and applies them to what it holds in its own
    memory.
    """

    class What(models.TextChoices):
        """What `value` names."""

        ENTRIES = "entries", _("entries")
        TAG = "tag", _("tag")
        NAMESPACE = "namespace", _("namespace")
        SCOPE = "scope", _("scope")
        MODEL = "model", _("model")
        ALIAS = "alias", _("whole store")

    created = models.DateTimeField(_("time"), default=timezone.now)
    what = models.CharField(_("what"), max_length=16, choices=What.choices)
    alias = NameField(
        _("alias"), max_length=ALIAS_LENGTH, blank=True, help_text=_("Empty: every store.")
    )
    value = NameField(_("value"), max_length=NAME_LENGTH, blank=True)
    digests = models.TextField(_("digests"), blank=True, help_text=_("One a line."))
    part_of = models.ForeignKey(
        "self",
        verbose_name=_("part of"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="parts",
    )
    number = models.PositiveIntegerField(_("entries removed"), default=0)
    reason = models.CharField(_("reason"), max_length=REASON_LENGTH, blank=True)
    by = models.CharField(
        _("by"), max_length=NAME_LENGTH, blank=True, help_text=_("A user's name, or what acted.")
    )

    objects = EvictionQuerySet.as_manager()

    class Meta:
        verbose_name = _("eviction")
        verbose_name_plural = _("evictions")
        indexes = (
            models.Index(fields=("created",), name="llmcache_eviction_created"),
            models.Index(fields=("part_of", "created"), name="llmcache_eviction_part"),
            models.Index(fields=("what", "created"), name="llmcache_eviction_what"),
        )

    def __str__(self) -> str:
        return f"{self.get_what_display()} {self.value}".strip()


class MatchedPair(models.Model):
    """Two prompts that a semantic store has taken for one question, and whether it was right.

    One row a pair, however often it matched. The rows whose `same` is known are a set to measure a
    threshold with.
    """

    class How(models.TextChoices):
        """What came of the match."""

        SERVED = "served", _("served")
        AUDIT = "audit", _("audited")
        SHADOW = "shadow", _("shadow")

    created = models.DateTimeField(_("first seen"), default=timezone.now)
    seen = models.DateTimeField(_("last seen"), default=timezone.now)
    alias = NameField(_("alias"), max_length=ALIAS_LENGTH)
    pair = models.CharField(_("pair"), max_length=64)
    digest = models.CharField(_("digest"), max_length=64, help_text=_("Of the stored answer."))
    model = NameField(_("model"), max_length=NAME_LENGTH, blank=True)
    asked = models.TextField(_("asked"), blank=True, help_text=_("As STORE_PROMPTS allows."))
    stored = models.TextField(_("stored"), blank=True, help_text=_("As STORE_PROMPTS allows."))
    whole = models.BooleanField(
        _("whole"), default=False, help_text=_("Whether both prompts are kept as they were.")
    )
    similarity = models.FloatField(_("similarity"))
    how = models.CharField(_("how"), max_length=16, choices=How.choices)
    times = models.PositiveBigIntegerField(_("times"), default=1)
    same = models.BooleanField(
        _("same question"),
        null=True,
        blank=True,
        help_text=_("Whether one answer serves both; empty if nobody has said so yet."),
    )
    decided_by = models.CharField(
        _("decided by"), max_length=NAME_LENGTH, blank=True, help_text=_("A user, or the audit.")
    )

    objects = MatchedPairQuerySet.as_manager()

    class Meta:
        verbose_name = _("similar pair")
        verbose_name_plural = _("similar pairs")
        constraints = (
            models.UniqueConstraint(fields=("alias", "pair"), name="llmcache_pair_unique"),
        )
        indexes = (
            models.Index(fields=("seen",), name="llmcache_pair_seen"),
            models.Index(fields=("alias", "seen"), name="llmcache_pair_alias"),
            models.Index(fields=("same", "seen"), name="llmcache_pair_same"),
            models.Index(fields=("how", "seen"), name="llmcache_pair_how"),
        )

    def __str__(self) -> str:
        return f"{self.alias} {self.similarity:.3f}"


class RecordBatch(models.Model):
    """A batch of records that a task has written: a task delivered twice must not count twice."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return str(self.id)
