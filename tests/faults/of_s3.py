"""An S3 that fails, hangs, or breaks off in the middle of an answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.faults.parts import ERROR, HIT, MISS, Part
from tests.servers import proxy, s3

S3 = "llmcache.backends.s3.S3Backend"


@contextmanager
def _s3(directory: Path) -> Iterator[tuple[proxy.Proxy, dict[str, Any]]]:
    with ExitStack() as stack:
        url = os.environ.get("LLMCACHE_TEST_S3_ENDPOINT")
        server = s3.S3Server(url) if url else stack.enter_context(s3.own_server())
        network = stack.enter_context(proxy.before(urlsplit(server.endpoint_url).port or 0))
        options = {**server.options, "endpoint_url": f"http://127.0.0.1:{network.port}"}
        location = f"s3://{server.bucket}/{directory.name}-{os.urandom(4).hex()}"
        store = {"BACKEND": S3, "LOCATION": location, "OPTIONS": {**options, "timeout": 0.5}}
        yield network, store


@contextmanager
def s3_fails(directory: Path) -> Iterator[Part]:
    """S3 answers every request with the status 500."""
    with _s3(directory) as (network, store):
        yield Part(
            store,
            lambda: setattr(network, "fails", True),
            lambda: setattr(network, "fails", False),
        )


@contextmanager
def s3_is_too_slow(directory: Path) -> Iterator[Part]:
    """S3 answers after ten seconds, far beyond the time limit."""
    with _s3(directory) as (network, store):

        def mend() -> None:
            network.delay = 0.0
            network.cut_all()

        yield Part(store, lambda: setattr(network, "delay", 10.0), mend)


@contextmanager
def s3_cuts_bodies(directory: Path) -> Iterator[Part]:
    """S3's answers end in the middle of their bodies."""
    with _s3(directory) as (network, store):

        def strike() -> None:
            network.cut_after = 2000
            network.cut_all()

        def mend() -> None:
            network.cut_after = None
            network.cut_all()

        # What has no body that could be cut is as ever.
        yield Part(store, strike, mend, known={ERROR, MISS}, new={ERROR, MISS, HIT})
