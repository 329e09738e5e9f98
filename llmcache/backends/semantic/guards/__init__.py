"""Guards: deterministic vetoes over what a vector search takes for the same question.

    "OPTIONS": {"guards": ["numbers", "dates", "my_site.guards.ProductGuard"]}

    "OPTIONS": {"guards": {"contrast": {"most": 2}, "entities": {}, "dates": False}}

A list chooses guards, a dict gives options to those of the default set and adds others; False
switches one off. `entities` is not in the default set. English is what they know best; in other
languages they know numbers, names and frames of equal words.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from llmcache import conf
from llmcache.backends.semantic.guards.aim import AimGuard
from llmcache.backends.semantic.guards.base import Guard, Veto
from llmcache.backends.semantic.guards.measures import (
    DateGuard,
    LanguageGuard,
    LengthGuard,
    NumberGuard,
)
from llmcache.backends.semantic.guards.polarity import AntonymGuard, NegationGuard
from llmcache.backends.semantic.guards.reading import Reading, read
from llmcache.backends.semantic.guards.wording import ContrastGuard, EntityGuard, RoleGuard

__all__ = ["Guard", "Reading", "Veto", "build", "verdicts", "veto"]

logger = logging.getLogger("llmcache")

# Those that cost least come first.
_KNOWN: Final[dict[str, type[Guard]]] = {
    guard.name: guard
    for guard in (
        LengthGuard,
        NumberGuard,
        DateGuard,
        NegationGuard,
        LanguageGuard,
        EntityGuard,
        AntonymGuard,
        AimGuard,
        ContrastGuard,
        RoleGuard,
    )
}
# What it adds to the contrast guard is less than the right answers it costs.
_OPT_IN: Final = frozenset({EntityGuard.name})
_DEFAULT: Final = tuple(name for name in _KNOWN if name not in _OPT_IN)


def build(
    setting: str, chosen: Sequence[str] | Mapping[str, Any] | None = None
) -> tuple[Guard, ...]:
    """The guards that an option asks for; the default set if it says nothing.

    Raises:
        ImproperlyConfigured: an unknown guard, or options that it does not take.
    """
    if isinstance(chosen, Mapping):
        wanted: dict[Any, Any] = {**{name: {} for name in _DEFAULT}, **chosen}
    elif chosen is None or isinstance(chosen, (list, tuple)):
        wanted = {name: {} for name in (_DEFAULT if chosen is None else chosen)}
    else:
        raise ImproperlyConfigured(f"{setting} must be a list or a dict of guards.")
    return tuple(
        _one(setting, name, options) for name, options in wanted.items() if options is not False
    )


def _one(setting: str, name: Any, options: Any) -> Guard:
    if not isinstance(name, str) or not isinstance(options, Mapping):
        raise ImproperlyConfigured(
            f"{setting} must name guards and give each a dict of options or False, "
            f"not {name!r}: {options!r}."
        )
    if "." in name:
        kind = conf.class_at(setting, name, Guard)
    else:
        conf.refuse_unknown(f"guard of {setting}", [name], _KNOWN)
        kind = _KNOWN[name]
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{setting}[{name!r}]: {error}") from error


def veto(guards: Iterable[Guard], asked: str, stored: str) -> Veto | None:
    """The first objection to serving a stored prompt's answer, if any guard has one.

    A guard that fails objects: what it would have said is not known.
    """
    one, other = read(asked), read(stored)
    for guard in guards:
        objection = _objection(guard, one, other)
        if objection:
            return Veto(name_of(guard), objection)
    return None


def verdicts(guards: Iterable[Guard], asked: str, stored: str) -> list[tuple[str, str]]:
    """Every guard's name with its objection, or with "" where it has none."""
    one, other = read(asked), read(stored)
    return [(name_of(guard), _objection(guard, one, other)) for guard in guards]


def name_of(guard: Guard) -> str:
    """How figures call a guard: by its name, or by its class where it has none."""
    return guard.name or type(guard).__name__


def _objection(guard: Guard, asked: Reading, stored: Reading) -> str:
    try:
        return guard.objection(asked, stored)
    except Exception as error:
        logger.exception("the guard %s failed; the match is not served", name_of(guard))
        return f"the guard failed: {type(error).__name__}"
