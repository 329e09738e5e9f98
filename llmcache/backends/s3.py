"""Entries as objects in S3 or what speaks like it. An entry's end is in its object's metadata."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import time
from typing import Any, Final, TypeVar
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured

from llmcache.backends import options
from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.keyspace import Keyspace
from llmcache.conf import BackendSettings

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
_EXPIRES: Final = "llmcache-expires"
_ABSENT: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_CHANGED: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})


class S3Backend(BaseBackend):
    """LOCATION: `s3://bucket/prefix`.

    OPTIONS: `endpoint_url`, `region_name`, the three `aws_` credentials, `use_ssl`, `verify`,
    `api_version` and `config` (a dict or a botocore Config) as boto3 takes them;
    `addressing_style`; `timeout` in seconds for connecting and for reading (default 2);
    `max_pool_connections` (default 32). Credentials that are not given are found in boto3's usual
    places.

    S3 deletes nothing by itself: run `sweep`, or give the bucket a lifecycle rule.
    """

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        options.require_package(settings, "boto3", "s3")
        self._options = options.read(settings, DEFAULTS)
        options.positive(settings, "timeout", self._options["timeout"])
        width = self._options["max_pool_connections"]
        self._width: int = options.positive(settings, "max_pool_connections", width, whole=True)
        scheme, _, rest = settings.location.partition("://")
        self.bucket, _, path = rest.partition("/")
        if scheme != "s3" or not self.bucket:
            raise ImproperlyConfigured(
                f"LLMCACHE[{settings.alias!r}]['LOCATION'] must be like s3://bucket/prefix, "
                f"not {settings.location!r}."
            )
        # One path segment an alias, in which neither part can be mistaken for the other.
        own = f"llmcache:{quote(settings.key_prefix, safe='')}:{settings.version}/"
        self.prefix = f"{path.strip('/')}/{own}" if path.strip("/") else own
        self._keys = Keyspace(self.prefix)
        self._lock = threading.Lock()
        self._swept_to = ""
        self._forget()

    def _forget(self) -> None:
        self._client: Any = None
        self._pool: ThreadPoolExecutor | None = None
        self._pid = os.getpid()

    # --- the client ---

    @property
    def client(self) -> Any:
        """boto3's client, made on first use and anew after a fork."""
        if self._client is None or self._pid != os.getpid():
            self._connect()
        return self._client

    def _connect(self) -> None:
        from boto3.session import Session
        from botocore.config import Config

        with self._lock:
            if self._pid != os.getpid():
                self._forget()
            if self._client is not None:
                return
            chosen = self._options
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
            given = chosen["config"]
            if given:
                config = config.merge(Config(**given) if isinstance(given, dict) else given)
            arguments = {name: chosen[name] for name in _CLIENT_OPTIONS}
            self._client = Session().client("s3", config=config, **arguments)

    def _side_by_side(self, function: Callable[[Any], T], arguments: Iterable[Any]) -> list[T]:
        arguments = list(arguments)
        if len(arguments) < 2:
            return [function(argument) for argument in arguments]
        _ = self.client  # made in this thread, once
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(min(self._width, 16), "llmcache-s3")
        return list(self._pool.map(function, arguments))

    def _head(self, digest: str) -> dict[str, Any] | None:
        """What S3 knows of an object, ETag and metadata among it; None if there is none."""
        from botocore.exceptions import ClientError

        try:
            found: dict[str, Any] = self.client.head_object(
                Bucket=self.bucket, Key=self.prefix + digest
            )
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        return found

    # --- entries ---

    def get(self, digest: str) -> bytes | None:
        client = self.client
        try:
            found = client.get_object(Bucket=self.bucket, Key=self.prefix + digest)
        except client.exceptions.NoSuchKey:
            return None
        if _is_over(found):
            found["Body"].close()
            return None
        data: bytes = found["Body"].read()
        return data

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        digests = list(digests)
        found = zip(digests, self._side_by_side(self.get, digests), strict=True)
        return {digest: data for digest, data in found if data is not None}

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self._put(digest, data, ttl)

    def _put(self, digest: str, data: bytes, ttl: float | None, **conditions: str) -> None:
        self.client.put_object(
            Bucket=self.bucket,
            Key=self.prefix + digest,
            Body=data,
            ContentType="application/octet-stream",
            Metadata=_metadata(ttl),
            **conditions,
        )

    def set_many(self, items: Iterable[Item]) -> None:
        self._side_by_side(lambda item: self.set(*item), items)

    def add(self, digest: str, data: bytes, ttl: float | None) -> bool:
        """Store an entry only if none is there that has not ended; False if there is."""
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"}
        found = self._head(digest)
        if found is not None:
            if not _is_over(found):
                return False
            condition = {"IfMatch": found["ETag"]}
        try:
            self._put(digest, data, ttl, **condition)
        except ClientError as error:
            if _code(error) in _CHANGED:
                return False
            raise
        return True

    def delete(self, digest: str) -> bool:
        found = self._head(digest)
        if found is None:
            return False
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + digest)
        return not _is_over(found)

    def delete_many(self, digests: Iterable[str]) -> int:
        return sum(self._side_by_side(self.delete, digests))

    def touch(self, digest: str, ttl: float | None) -> bool:
        from botocore.exceptions import ClientError

        found = self._head(digest)
        if found is None or _is_over(found):
            return False
        place = {"Bucket": self.bucket, "Key": self.prefix + digest}
        try:
            self.client.copy_object(
                **place,
                CopySource=place,
                CopySourceIfMatch=found["ETag"],
                MetadataDirective="REPLACE",
                ContentType="application/octet-stream",
                Metadata=_metadata(ttl),
            )
        except ClientError as error:
            # Rewritten or deleted meanwhile: a new entry has a ttl of its own.
            if _code(error) in _CHANGED:
                return True
            if _code(error) in _ABSENT:
                return False
            raise
        return True

    # --- maintenance ---

    def _pages(self, after: str = "") -> Iterator[list[str]]:
        """The digests under this alias's prefix, some hundred at a time, in order."""
        more: dict[str, str] = {"StartAfter": after} if after else {}
        while True:
            page = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, **more)
            found = (self._keys.digest(one["Key"]) for one in page.get("Contents", ()))
            yield [digest for digest in found if digest is not None]
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def clear(self) -> int:
        number = 0
        for digests in self._pages():
            if digests:
                objects = [{"Key": self.prefix + digest} for digest in digests]
                self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
                )
                number += len(digests)
        return number

    def iterate(self) -> Iterator[str]:
        for digests in self._pages():
            heads = self._side_by_side(self._head, digests)
            for digest, head in zip(digests, heads, strict=True):
                if head is not None and not _is_over(head):
                    yield digest

    def sweep(self, limit: int = 1000) -> int:
        """Delete the expired among the next `limit` objects; each sweep goes on where the last one
        stopped, and begins anew after the end."""
        digests: list[str] = []
        after = self.prefix + self._swept_to if self._swept_to else ""
        for page in self._pages(after):
            digests += page
            if len(digests) >= limit:
                break
        at_end = len(digests) <= limit and not (digests and len(digests) == limit)
        digests = digests[:limit]
        number = sum(self._side_by_side(self._sweep_one, digests))
        self._swept_to = "" if at_end or not digests else digests[-1]
        return number

    def _sweep_one(self, digest: str) -> bool:
        from botocore.exceptions import ClientError

        found = self._head(digest)
        if found is None or not _is_over(found):
            return False
        try:
            self.client.delete_object(
                Bucket=self.bucket, Key=self.prefix + digest, IfMatch=found["ETag"]
            )
        except ClientError as error:
            if _code(error) in _CHANGED | _ABSENT:
                return False
            raise
        return True

    def close(self) -> None:
        with self._lock:
            client, pool = self._client, self._pool
            self._forget()
        if pool is not None:
            pool.shutdown(wait=False)
        if client is not None:
            client.close()


def _metadata(ttl: float | None) -> dict[str, str]:
    return {} if ttl is None else {_EXPIRES: repr(time() + ttl)}


def _is_over(found: dict[str, Any]) -> bool:
    expires = found["Metadata"].get(_EXPIRES)
    return expires is not None and float(expires) <= time()


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
