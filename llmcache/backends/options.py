"""Reading a backend's OPTIONS: unknown names and wrong values are clear errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from llmcache import packages
from llmcache.conf import BackendSettings, refuse_unknown


def read(settings: BackendSettings, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The OPTIONS of an alias over the defaults.

    Raises:
        ImproperlyConfigured: a name that is not among the defaults; those that are, are listed.
    """
    what = f"key of LLMCACHE[{settings.alias!r}]['OPTIONS']"
    refuse_unknown(what, settings.options, defaults)
    return {**defaults, **settings.options}


def positive(settings: BackendSettings, key: str, value: Any, *, whole: bool = False) -> Any:
    """The value, if it is a number above 0.

    Raises:
        ImproperlyConfigured: it is not.
    """
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
        want = "an integer" if whole else "a number"
        raise ImproperlyConfigured(
            f"LLMCACHE[{settings.alias!r}]['OPTIONS'][{key!r}] must be {want} above 0, "
            f"not {value!r}."
        )
    return value


def flag(settings: BackendSettings, key: str, value: Any) -> None:
    """Make sure that a value is True or False.

    Raises:
        ImproperlyConfigured: it is neither.
    """
    if not isinstance(value, bool):
        raise ImproperlyConfigured(
            f"LLMCACHE[{settings.alias!r}]['OPTIONS'][{key!r}] must be True or False, "
            f"not {value!r}."
        )


def require_package(settings: BackendSettings, module: str, extra: str) -> None:
    """Make sure that an optional package is installed.

    Raises:
        ImproperlyConfigured: it is not; the message has the command that installs it.
    """
    packages.require_package(f"LLMCACHE[{settings.alias!r}]", module, extra)
