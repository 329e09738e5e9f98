"""Optional packages, looked for without importing them."""

from __future__ import annotations

from importlib.util import find_spec

from django.core.exceptions import ImproperlyConfigured


def require_package(setting: str, package: str, extra: str) -> None:
    """Make sure that an optional package is installed.

    Args:
        setting: what needs it, for the error.
        extra: of ours, that brings it.

    Raises:
        ImproperlyConfigured: it is not; the message has the command that installs it.
    """
    if find_spec(package) is None:
        raise ImproperlyConfigured(
            f'{setting} needs the package {package!r}: pip install "django-llmcache[{extra}]"'
        )
