"""The URLs of Redis servers that are described by host and port. Imports no redis."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote


def url_of(host: Any, port: Any, *, encrypted: bool) -> str:
    """The URL of a server without its database.

    Raises:
        ValueError, TypeError: the port is no number.
    """
    name = str(host)
    name = f"[{name}]" if ":" in name else quote(name, safe="")
    return f"{'rediss' if encrypted else 'redis'}://{name}:{int(port)}"
