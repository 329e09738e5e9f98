"""Numbers, times and hostile texts as people read them in the admin."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import Final

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _

from llmcache.exceptions import ShownToStaff

MISSING: Final = "–"
_DAYS_FROM: Final = 2 * 86400
"""Seconds from which on a duration is told in days."""
_JOINERS: Final = "\u200c\u200d"
_MAY_HIDE: Final = re.compile("[^\x20-\x7e\n\t]+")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    """A text whose invisible and direction-changing characters can be seen: `\\u202e`.

    Joiners stay between letters of scripts and emoji that need them. Not escaped for HTML:
    templates do that.
    """
    return _MAY_HIDE.sub(lambda found: _shown(found[0]), text.replace("\r\n", "\n"))


def _shown(run: str) -> str:
    """A run of characters outside of ASCII, or control characters of it."""
    shown = []
    before = ""
    for letter, after in zip(run, [*run[1:], ""], strict=True):
        joins = letter in _JOINERS and not _hides(before) and not _hides(after)
        shown.append(f"\\u{ord(letter):04x}" if _hides(letter) and not joins else letter)
        before = letter
    return "".join(shown)


def _hides(letter: str) -> bool:
    return not letter or unicodedata.category(letter) in _HIDDEN


def _number(value: float, digits: int = 0) -> str:
    """Django cuts what it does not show: 0.99 would be 0.9."""
    return number_format(round(value, digits), digits, use_l10n=True, force_grouping=True)


def problem(error: Exception) -> str:
    """What an error says, translated where it is meant for staff; nothing in it hides."""
    return visible(error.translated if isinstance(error, ShownToStaff) else str(error))


def beginning(text: str, most: int) -> str:
    """The first characters of a text, as `visible` has them, with a sign where more follow."""
    return visible(text[:most]) + ("…" if len(text) > most else "")


def count(number: float | None) -> str:
    """A whole number with separators."""
    return MISSING if number is None else _number(number)


def share(value: float | None) -> str:
    """A share of 1 in percent."""
    if value is None:
        return MISSING
    percent = round(value * 100, 1)
    return f"{_number(percent, 0 if percent.is_integer() else 1)} %"


def money(value: float | None) -> str:
    """A sum of money, small ones with more digits; the currency is the price table's."""
    if value is None:
        return MISSING
    most = 2 if abs(value) >= 1 else 4 if abs(value) >= 0.01 else 6
    return _number(value, 2 if round(value, 2) == round(value, most) else most)


def seconds(value: float | None) -> str:
    """A duration in the unit that suits it."""
    if value is None:
        return MISSING
    if value <= 0:
        return "0"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if value < limit:
            return f"{_short(value * factor)} {unit}"
    if value < 2 * 3600:
        return f"{_number(value / 60)} min"
    if value < _DAYS_FROM:
        return f"{_short(value / 3600)} h"
    return _("%(number)s days") % {"number": count(value / 86400)}


def ago(when: datetime | None) -> str:
    """A moment by how far it is from now, with the moment itself for whoever points at it."""
    if when is None:
        return MISSING
    distance = (when - timezone.now()).total_seconds()
    is_to_come = distance > 0
    far = max(1, round(abs(distance)))
    if far < _DAYS_FROM:
        text = _("in %(time)s") if is_to_come else _("%(time)s ago")
        shown = text % {"time": seconds(far)}
    else:  # words that some languages inflect
        text = _("in %(number)s days") if is_to_come else _("%(number)s days ago")
        shown = text % {"number": count(far / 86400)}
    local = timezone.localtime(when)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(timespec="seconds"),
        date_format(local, "DATETIME_FORMAT"),
        shown,
    )


def size(number: int | None) -> str:
    """Bytes in the unit that suits them."""
    if number is None:
        return MISSING
    units = [_("B"), _("kB"), _("MB"), _("GB"), _("TB")]
    value = float(number)
    while value >= 1000 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{_short(value)} {units[0]}"


def _short(value: float) -> str:
    """A number below a thousand with two or three figures."""
    digits = 1 if value < 100 and round(value, 1) != round(value) else 0
    return _number(value, digits)
