"""What every server of the tests needs: a free loopback port or room for its sockets, and patience
until it listens.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from typing import Final

_SHORT: Final = 60
"""Of the hundred or so bytes that the path of a Unix socket may have; the rest is for its name."""


class Missing(Exception):
    """The machine has not got what a server needs."""


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether nothing listens on a port now."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def room_for_sockets() -> tempfile.TemporaryDirectory[str]:
    """A new directory that a server can have Unix sockets in, however long TMPDIR is."""
    usual = tempfile.gettempdir()
    short = usual if len(usual) <= _SHORT else "/tmp"
    return tempfile.TemporaryDirectory(dir=short, ignore_cleanup_errors=True)


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Return once the port accepts connections; raise if the process ends or time runs out."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with code {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")
