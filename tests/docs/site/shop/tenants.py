"""Whose request this is, at the site that the pages speak of."""

from __future__ import annotations


def current_id() -> str:
    """The tenant at hand."""
    return "tenant-7"
