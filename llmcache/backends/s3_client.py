"""boto3's client for one S3 store: its settings, its threads and forks, its error codes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.core.exceptions import ImproperlyConfigured

from llmcache.conf import BackendSettings
from llmcache.options import Options

T = TypeVar("T")

DEFAULTS: Final = {
    "addressing_style": "auto",
    "api_version": None,
    "aws_access_key_id": None,
    "aws_secret_access_key": None,
    "aws_session_token": None,
    "config": None,
    "endpoint_url": None,
    "max_pool_connections": 32,
    "region_name": None,
    "timeout": 2.0,
    "use_ssl": True,
    "verify": None,
}
_CLIENT_OPTIONS: Final = (
    "api_version",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "endpoint_url",
    "region_name",
    "use_ssl",
    "verify",
)
_MOST_THREADS: Final = 16

ABSENT: Final = frozenset({"NoSuchKey", "404", "NotFound"})
CHANGED: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
NO_CONDITIONS: Final = frozenset({"NotImplemented", "501"})


def code(error: Any) -> str:
    """The code that S3 gave an error of botocore's, or ""."""
    return str(error.response.get("Error", {}).get("Code", ""))


class Connection:
    """A client and a few threads that share it, both made on first use and anew after a fork.

    Raises:
        ImproperlyConfigured: an option that is unknown or that botocore does not take.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self._options = Options(settings, DEFAULTS)
        self._options.seconds("timeout")
        self._width = self._options.whole("max_pool_connections")
        self._config = self._configure(settings.alias)
        self._begin()

    def _begin(self) -> None:
        self._client: Any = None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()  # a fork may have copied a held one
        self._pid = os.getpid()

    def _configure(self, alias: str) -> Any:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        chosen, given = self._options, self._options["config"]
        try:
            config = Config(
                connect_timeout=chosen["timeout"],
                read_timeout=chosen["timeout"],
                retries={"total_max_attempts": 2, "mode": "standard"},
                max_pool_connections=self._width,
                s3={"addressing_style": chosen["addressing_style"]},
                # Our own signature covers the bytes; not every server knows the newer checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
            if given is None:
                return config
            return config.merge(Config(**given) if isinstance(given, Mapping) else given)
        except (BotoCoreError, TypeError, AttributeError) as error:
            raise ImproperlyConfigured(
                f"LLMCACHE[{alias!r}]['OPTIONS'] has an addressing_style or a config that "
                f"botocore.config.Config does not take: {error}"
            ) from error

    @property
    def client(self) -> Any:
        """boto3's client; threads may share it."""
        client = self._client
        return client if client is not None and self._pid == os.getpid() else self._connect()

    def _connect(self) -> Any:
        from boto3.session import Session

        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            if self._client is None:
                arguments = {name: self._options[name] for name in _CLIENT_OPTIONS}
                self._client = Session().client("s3", config=self._config, **arguments)
            return self._client

    def side_by_side(self, function: Callable[[Any], T], arguments: Iterable[Any]) -> list[T]:
        """What a function that uses the client gives for each argument, a few at a time."""
        arguments = list(arguments)
        if len(arguments) < 2:
            return [function(argument) for argument in arguments]
        _ = self.client  # begins anew in a forked child, whose copy of the pool has no threads
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(min(self._width, _MOST_THREADS), "llmcache-s3")
            pool = self._pool
        return list(pool.map(function, arguments))

    def close(self) -> None:
        """Give back the client and the threads; the next use makes new ones."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            client, pool = self._client, self._pool
            self._client = self._pool = None
        if pool is not None:
            pool.shutdown(wait=False)
        if client is not None:
            client.close()
