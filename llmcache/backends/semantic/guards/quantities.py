"""Numbers in a prompt, with what they count: `10GB`, `two weeks`, `7pm`, `£1.5m`, `the 3rd`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import isclose
from typing import Final, NamedTuple


class Quantity(NamedTuple):
    """A number and what it counts.

    Attributes:
        dimension: "time", "mass", "pound" and so on; "clock" for a time of day, "dial" for one that
            may be before or after noon; "" where nothing says so.
        value: in the dimension's own unit, so that two weeks and 14 days agree.
        number: as it was written, exact to the last digit of an order number.
        spelling: the digits themselves where another spelling is another thing: 3.10 is not 3.1
            where it is a version, 1.500 not 1.5 where it is German, a date or an address never.
    """

    dimension: str
    value: float
    number: Decimal
    spelling: str = ""


def _units(table: dict[str, str]) -> dict[str, tuple[str, float]]:
    units = {}
    for dimension, spelled in table.items():
        for pair in spelled.split():
            name, _, factor = pair.rpartition(":")
            units[name] = (dimension, float(factor))
    return units


UNITS: Final = _units(
    {
        "time": "ms:0.001 millisecond:0.001 sec:1 second:1 min:60 minute:60 h:3600 hr:3600 "
        "hour:3600 day:86400 night:86400 week:604800 fortnight:1209600 month:2629800"
        " quarter:7889400 year:31557600 yr:31557600 decade:315576000 century:3155760000",
        "length": "mm:0.001 cm:0.01 metre:1 meter:1 km:1000 kilometre:1000 kilometer:1000"
        " inch:0.0254 ft:0.3048 foot:0.3048 feet:0.3048 yd:0.9144 yard:0.9144 mile:1609.344",
        "mass": "mg:0.001 g:1 gram:1 kg:1000 kilo:1000 kilogram:1000 tonne:1000000 oz:28.3495"
        " ounce:28.3495 lb:453.592 lbs:453.592 stone:6350.29",
        "volume": "ml:0.001 cl:0.01 l:1 litre:1 liter:1 gallon:3.785 pint:0.568",
        "data": "byte:1 kb:1e3 mb:1e6 gb:1e9 tb:1e12 kib:1024 mib:1048576 gib:1073741824",
        "rate": "kbps:1e3 mbps:1e6 gbps:1e9",
        "speed": "mph:1.609 kmh:1 kph:1",
        "share": "percent:1 %:1 pct:1",
        "celsius": "°c:1 celsius:1",
        "fahrenheit": "°f:1 fahrenheit:1",
        "angle": "degree:1 °:1",
        "pound": "£:1 gbp:1 pound:1 quid:1",
        "dollar": "$:1 usd:1 dollar:1 buck:1",
        "euro": "€:1 eur:1 euro:1",
        "yen": "¥:1 jpy:1 yen:1",
        "penny": "p:1 pence:1 penny:1 cent:1",
    }
)
_SMALL: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS: Final[dict[str, float]] = {
    **{word: float(value) for value, word in enumerate(_SMALL)},
    **{word: 10.0 * value for value, word in enumerate(_TENS, 2)},
    "half": 0.5,
    "dozen": 12.0,
}
# "One" is a pronoun, "second" a unit and "half" a share before they are numbers.
_NUMBERS_ONLY_BEFORE_UNITS: Final = frozenset({"one", "half"})
_ORDINALS: Final = {
    word: float(value)
    for value, word in enumerate(
        ["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], 3
    )
}
_SCALES: Final = {
    "hundred": 10**2,
    "k": 10**3,
    "thousand": 10**3,
    "grand": 10**3,
    "million": 10**6,
    "bn": 10**9,
    "billion": 10**9,
}
_TOKEN: Final = re.compile(
    r"\b(?P<hour>\d{1,2}):(?P<minute>\d\d)(?P<half>[ap]m)?\b"
    r"|(?P<chain>(?<![\w.])\d+(?:(?:\.\d+){2,}|(?:[/:]\d+)+|(?:-\d+){2,}))"
    r"|(?P<minus>(?<![^\s(£$€¥])[-−](?=[£$€¥]?\d))?(?:(?P<money>[£$€¥])\s?)?"
    r"(?P<number>(?<![\w.])\d+(?:,\d+)*(?:\.\d+)?)(?P<glued>[a-z°%]+)?"
    r"|(?P<word>[^\W\d_][^\W_]*)"
    r"|(?P<sign>%)"
)
_HOURS: Final = 24
# Thirty days are a month, and 52 weeks a year. But 360 days are not.
_YEAR: Final = 31_000_000
# A thousand and a half to some, one and a half to others.
_AMBIGUOUS: Final = re.compile(r"[1-9]\d{0,2}\.\d{3}")
Token = re.Match[str]


def tokens(plain: str) -> list[Token]:
    """The words and numbers of a text in lower case."""
    return list(_TOKEN.finditer(plain))


def split(found: Sequence[Token]) -> tuple[list[str], list[Quantity]]:
    """Tokens as the words that are no numbers, and the quantities, each in order."""
    words: list[str] = []
    quantities: list[Quantity] = []
    position = 0
    while position < len(found):
        token = found[position]
        plain = token["word"]
        if plain and plain not in _WORDS and plain not in _ORDINALS:
            words.append(plain)
            position += 1
            continue
        following = _words(found[position + 1 : position + 4])
        quantity, used, word = _number(token, following) or _spelled(plain, following)
        if quantity is not None:
            quantities.append(quantity)
        elif word:
            words.append(word)
        position += 1 + used
    return words, quantities


Read = tuple[Quantity | None, int, str]
"""A quantity, how many of the following tokens belong to it, or a word that is none."""


def _words(found: Sequence[Token]) -> list[str]:
    return [token["word"] or token["sign"] or "" for token in found]


def _number(token: Token, following: list[str]) -> Read | None:
    if token["hour"]:
        hour = int(token["hour"]) + int(token["minute"]) / 60
        apart = following[0] if following and following[0] in ("am", "pm") else ""
        return _clock(hour, token["half"] or apart), int(bool(apart)), ""
    if token["chain"]:
        return Quantity("", 0.0, Decimal(0), token["chain"]), 0, ""
    if not token["number"]:
        return None
    digits, glued = _point(token["number"]), token["glued"] or ""
    number = Decimal(digits)
    if token["minus"]:
        number = -number
    if glued in ("st", "nd", "rd", "th"):
        return Quantity("ordinal", float(number), number), 0, ""
    if glued in ("am", "pm") and number <= _HOURS:
        return _clock(float(number), glued), 0, ""
    if not glued and number <= _HOURS and following[:1] in (["am"], ["pm"], ["oclock"]):
        return _clock(float(number), following[0]), 1, ""
    if not glued and number <= _HOURS and following[:2] == ["o", "clock"]:
        return _clock(float(number), ""), 2, ""
    if token["money"] and glued == "m":
        number, glued = number * 10**6, ""
    if glued and glued not in UNITS and glued not in _SCALES:
        return None, 0, digits + glued  # a name with a number in it: mp3, 2fa, covid19
    quantity, used = _counted(number, token["money"] or "", glued, following)
    if _AMBIGUOUS.fullmatch(token["number"]) or ("." in digits and not quantity.dimension):
        quantity = quantity._replace(spelling=token["number"])
    return quantity, used, ""


def _point(number: str) -> str:
    """A number with its point, if any, and without what groups its digits: 1,500 and 1,5."""
    whole, comma, rest = number.partition(",")
    if comma and len(rest) in (1, 2):
        return f"{whole}.{rest}"
    return number.replace(",", "")


def _spelled(word: str | None, following: list[str]) -> Read:
    if not word:
        return None, 0, ""
    if word in _ORDINALS:
        return Quantity("ordinal", _ORDINALS[word], Decimal(_ORDINALS[word])), 0, ""
    if word in _NUMBERS_ONLY_BEFORE_UNITS and not (following and unit_of(following[0])):
        return None, 0, word
    number, used = _WORDS[word], 0
    if number >= 20 and following and 0 < _WORDS.get(following[0], 0) < 10:
        number, used, following = number + _WORDS[following[0]], 1, following[1:]
    quantity, more = _counted(Decimal(number), "", "", following)
    return quantity, used + more, ""


def _clock(hour: float, half: str) -> Quantity:
    written = Decimal(hour)
    if half == "pm" and hour < 12:
        hour += 12
    elif half == "am":
        hour %= 12
    of_day = half in ("am", "pm") or not 1 <= hour < 13  # no dial has a 0 or a 13
    return Quantity("clock" if of_day else "dial", hour, written)


def _counted(number: Decimal, money: str, glued: str, following: list[str]) -> tuple[Quantity, int]:
    used = 0
    if glued in _SCALES:
        number, glued = number * _SCALES[glued], ""
    elif not glued and following and following[0] in _SCALES:
        number, used, following = number * _SCALES[following[0]], 1, following[1:]
    if money:
        return Quantity(UNITS[money][0], float(number), number), used
    name = glued or (following[0] if following else "")
    unit = unit_of(name) if glued or len(name) > 1 or name == "%" else None
    if unit is None:
        return Quantity("", float(number), number), used
    dimension, factor = unit
    return Quantity(dimension, float(number) * factor, number), used + (not glued)


def unit_of(word: str) -> tuple[str, float] | None:
    """The dimension of a unit, and how many of the dimension's own units it is."""
    return UNITS.get(word) or UNITS.get(word.removesuffix("s"))


def in_order(one: Sequence[Quantity], other: Sequence[Quantity]) -> bool:
    """Whether the quantities of both sides agree, the first with the first and so on."""
    return len(one) == len(other) and all(map(_agree, one, other))


def unmatched(one: Sequence[Quantity], other: Sequence[Quantity]) -> Iterator[Quantity]:
    """The quantities of either side without a counterpart on the other."""
    mine: list[Quantity] = []
    left = list(other)
    for quantity in one:  # 3:00 is nobody's counterpart who has 3:00 as well, though it may be 3pm
        if quantity in left:
            left.remove(quantity)
        else:
            mine.append(quantity)
    for quantity in mine:
        match = next((q for q in left if _agree(q, quantity)), None)
        if match is None:
            yield quantity
        else:
            left.remove(match)
    yield from left


def _agree(one: Quantity, other: Quantity) -> bool:
    if one.spelling != other.spelling:
        return False
    if not one.dimension or not other.dimension:
        return one.number == other.number
    if {one.dimension, other.dimension} == {"clock", "dial"}:
        return one.value % 12 == other.value % 12  # 3 o'clock may be 3pm, but 3am is not
    if one.dimension != other.dimension:
        return False
    if one.value and _in_one_unit(one, other):
        return one.number == other.number
    return isclose(one.value, other.value, rel_tol=_as_close(one, other))


def _in_one_unit(one: Quantity, other: Quantity) -> bool:
    return isclose(one.value * float(other.number), other.value * float(one.number))


def _as_close(one: Quantity, other: Quantity) -> float:
    """By which share two amounts in different units may differ and still be one."""
    if one.dimension != "time":
        return 1e-9
    return 0.015 if max(one.value, other.value) < _YEAR else 0.004
