"""How the HTTP clients of the official SDKs connect by default, so that ours do the same."""

from __future__ import annotations

import socket
from typing import Any, Final

TIMEOUT: Final = 600.0
CONNECT_TIMEOUT: Final = 5.0
_IDLE: Final = 60  # seconds


def options(library: Any) -> dict[str, Any]:
    """Arguments of the library's HTTPTransport: many connections, and word on idle ones now and
    then, as models may think for minutes."""
    limits = library.Limits(max_connections=1000, max_keepalive_connections=100)
    alive = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    alive += [
        (socket.IPPROTO_TCP, getattr(socket, name), _IDLE)
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL")
        if hasattr(socket, name)
    ]
    return {"limits": limits, "socket_options": alive}


def client_options(library: Any) -> dict[str, Any]:
    """Arguments of the library's Client."""
    timeout = library.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
    return {"timeout": timeout, "follow_redirects": True}
