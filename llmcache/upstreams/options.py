"""What options of a provider may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured


def check_texts(name: str, options: Mapping[str, Any]) -> None:
    """Make sure of what may be secret, without showing it.

    Args:
        name: of the options, for the error.

    Raises:
        ImproperlyConfigured: a value has another type.
    """
    for option in ("default_headers", "default_query", "paths"):
        if not isinstance(options[option], Mapping):
            found = type(options[option]).__name__
            raise ImproperlyConfigured(f"{name}[{option!r}] must be a dict, not a {found}.")
    for option in ("base_url", "api_key", "api_key_env", "organization", "project"):
        if not isinstance(options.get(option) or "", str):
            found = type(options[option]).__name__
            raise ImproperlyConfigured(f"{name}[{option!r}] must be a text, not a {found}.")


def check_numbers(name: str, options: Mapping[str, Any]) -> None:
    """As `check_texts`, for times and numbers."""
    for option in ("timeout", "connect_timeout"):
        value = options[option]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise ImproperlyConfigured(
                f"{name}[{option!r}] must be a number of seconds above 0, not {value!r}."
            )
    for option, least in (("max_retries", 0), ("max_connections", 1)):
        value = options[option]
        if type(value) is not int or value < least:
            raise ImproperlyConfigured(
                f"{name}[{option!r}] must be an integer from {least} up, not {value!r}."
            )
