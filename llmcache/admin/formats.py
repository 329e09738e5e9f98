"""Numbers, times and hostile texts as people read them in the admin."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from django.utils.formats import number_format
from django.utils.translation import gettext as _

MISSING: Final = "–"
_HIDDEN: Final = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f]")


def visible(text: str) -> str:
    """A text whose invisible and direction-changing characters can be seen: `\\u202e`.

    Not escaped for HTML: templates do that.
    """
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", unicodedata.normalize("NFC", text))


def count(number: float | None) -> str:
    """A whole number with separators."""
    if number is None:
        return MISSING
    return number_format(int(number), use_l10n=True, force_grouping=True)


def share(value: float | None) -> str:
    """A share of 1 in percent."""
    return MISSING if value is None else f"{number_format(value * 100, 1)} %"


def money(value: float | None) -> str:
    """A sum of money, small ones with more digits; the currency is the price table's."""
    if value is None:
        return MISSING
    size = abs(value)
    digits = 2 if size >= 1 or not size else 4 if size >= 0.01 else 6
    return number_format(value, digits, use_l10n=True, force_grouping=True)


def seconds(value: float | None) -> str:
    """A duration in the unit that suits it."""
    if value is None:
        return MISSING
    if value <= 0:
        return "0"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if value < limit:
            scaled = value * factor
            return f"{number_format(scaled, 0 if scaled >= 100 else 1)} {unit}"
    if value < 2 * 3600:
        return f"{number_format(value / 60, 0)} min"
    if value < 2 * 86400:
        return f"{number_format(value / 3600, 1)} h"
    return _("%(number)s days") % {"number": count(value / 86400)}


def size(number: int | None) -> str:
    """Bytes in the unit that suits them."""
    if number is None:
        return MISSING
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{number_format(value, 0 if unit == 'B' or value >= 100 else 1)} {unit}"
        value /= 1000
    return f"{number_format(value, 1)} TB"
