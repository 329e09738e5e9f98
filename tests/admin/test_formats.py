"""Numbers as people read them, and texts in which nothing hides."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone, translation

from llmcache.admin import formats


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (4.2e-5, "42 µs"),
        (0.00049, "490 µs"),
        (0.0125, "12.5 ms"),
        (1, "1 s"),
        (1.26, "1.3 s"),
        (119, "119 s"),
        (600, "10 min"),
        (5400, "90 min"),
        (9000, "2.5 h"),
        (86400 * 3, "3 days"),
        (86400 * 3650, "3,650 days"),
    ],
)
def test_durations(value: float | None, shown: str) -> None:
    assert formats.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0.00"),
        (1234.567, "1,234.57"),
        (0.0456, "0.0456"),
        (0.000031, "0.000031"),
        (-2.5, "-2.50"),
    ],
)
def test_money(value: float | None, shown: str) -> None:
    assert formats.money(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1990, "2 kB"),
        (12_345, "12.3 kB"),
        (345_678, "346 kB"),
        (3_000_000_000, "3 GB"),
        (5 * 10**15, "5,000 TB"),
    ],
)
def test_sizes(value: int | None, shown: str) -> None:
    assert formats.size(value) == shown


def test_shares_and_counts_are_rounded_and_not_cut() -> None:
    assert [formats.share(value) for value in (None, 0.9996, 0.5, 0.123)] == [
        *("–", "100 %", "50 %", "12.3 %")
    ]
    assert formats.count(1_234_567.6) == "1,234,568"


def test_numbers_follow_the_language() -> None:
    with translation.override("de"):
        assert formats.money(1234.5) == "1.234,50"
        assert formats.seconds(0.0125) == "12,5 ms"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", r"a\u202eb"),
        ("a\x00b\x1b[31m", r"a\u0000b\u001b[31m"),
        ("a\ud800b", r"a\ud800b"),
        ("a\u200bb", r"a\u200bb"),
        ("\u061ca\u2066b", r"\u061ca\u2066b"),
        ("a\u200db", r"a\u200db"),
        ("\U000e0041", r"\ue0041"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\U0001f469\u200d\U0001f467 and é", "\U0001f469\u200d\U0001f467 and é"),
    ],
)
def test_what_would_hide_or_turn_round_can_be_seen(text: str, shown: str) -> None:
    assert formats.visible(text) == shown


@pytest.mark.parametrize(
    ("language", "past", "future", "lasting"),
    [
        ("en", "3 days ago", "in 3 days", "3 days"),
        ("de", "vor 3 Tagen", "in 3 Tagen", "3 Tage"),
        ("fr", "il y a 3\u00a0jours", "dans 3\u00a0jours", "3\u00a0jours"),
    ],
)
def test_days_are_inflected(language: str, past: str, future: str, lasting: str) -> None:
    span = timedelta(days=3)
    with translation.override(language):
        assert f">{past}<" in formats.ago(timezone.now() - span)
        assert f">{future}<" in formats.ago(timezone.now() + span)
        assert formats.seconds(span.total_seconds()) == lasting


def test_sizes_have_the_units_of_the_language() -> None:
    with translation.override("fr"):
        assert [formats.size(number) for number in (7, 1234, 5_000_000)] == [
            "7 o",
            "1,2 ko",
            "5 Mo",
        ]
