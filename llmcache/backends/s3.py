"""Entries as objects in S3 or what speaks like it. An entry's end is in its object's metadata."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from time import time
from typing import Any, ClassVar, Final
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.keyspace import Keyspace
from llmcache.backends.s3_client import (
    ABSENT,
    CHANGED,
    DEFAULTS,
    NO_CONDITIONS,
    Connection,
    code,
)
from llmcache.conf import BackendSettings
from llmcache.exceptions import LLMCacheError
from llmcache.packages import require_package

_EXPIRES: Final = "llmcache-expires"


class NotDeleted(LLMCacheError):
    """S3 refused to delete some of the entries."""


class S3Backend(BaseBackend):
    """LOCATION: `s3://bucket/prefix`.

    OPTIONS:
        endpoint_url (str): of a server other than Amazon's.
        region_name (str): the bucket's region.
        aws_access_key_id, aws_secret_access_key, aws_session_token (str): credentials; those that
            are not given are found in boto3's usual places.
        addressing_style (str): "path", "virtual" or "auto".
        timeout (float): seconds for connecting, and for reading, at each of two attempts.
        max_pool_connections (int): how many connections a process may have open.
        use_ssl (bool): whether to speak TLS where `endpoint_url` does not say so.
        verify (bool or str): whether to check certificates, or the file of those to trust.
        api_version (str): as boto3 has it.
        config (dict or botocore Config): what else botocore takes.

    The account must be allowed to list the bucket: without that, S3 answers a miss with an error.
    S3 deletes nothing by itself: run `sweep`, or give the bucket a lifecycle rule.
    """

    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        require_package(settings.setting, "boto3", "s3")
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
        self._connection = Connection(settings)
        # Digests are evenly spread: where short-lived processes each sweep a part, all get swept.
        self._swept_to = os.urandom(4).hex()

    @property
    def client(self) -> Any:
        """boto3's client."""
        return self._connection.client

    def _head(self, digest: str) -> dict[str, Any] | None:
        """What S3 knows of an object, ETag and metadata among it; None if there is none."""
        from botocore.exceptions import ClientError

        try:
            found: dict[str, Any] = self.client.head_object(
                Bucket=self.bucket, Key=self.prefix + digest
            )
        except ClientError as error:
            if code(error) in ABSENT:
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
        found = zip(digests, self._connection.side_by_side(self.get, digests), strict=True)
        return {digest: data for digest, data in found if data is not None}

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.client.put_object(
            Bucket=self.bucket,
            Key=self.prefix + digest,
            Body=data,
            ContentType="application/octet-stream",
            Metadata=_metadata(ttl),
        )

    def set_many(self, items: Iterable[Item]) -> None:
        self._connection.side_by_side(lambda item: self.set(*item), items)

    def delete(self, digest: str) -> bool:
        found = self._head(digest)
        if found is None:
            return False
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + digest)
        return not _is_over(found)

    def delete_many(self, digests: Iterable[str]) -> int:
        return sum(self._connection.side_by_side(self.delete, digests))

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
            if code(error) in CHANGED:
                return True
            if code(error) in ABSENT:
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
            objects = [{"Key": self.prefix + digest} for digest in digests]
            if not objects:
                continue
            answer = self.client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
            )
            if failed := answer.get("Errors"):
                raise NotDeleted(f"{len(failed)} entries stay in S3: {failed[0].get('Code')}")
            number += len(digests)
        return number

    def iterate(self) -> Iterator[str]:
        for digests in self._pages():
            heads = self._connection.side_by_side(self._head, digests)
            for digest, head in zip(digests, heads, strict=True):
                if head is not None and not _is_over(head):
                    yield digest

    def sweep(self, limit: int = 1000) -> int:
        """Delete the expired among the next `limit` objects; each sweep goes on where the last one
        stopped, and after the last object with the first.
        """
        digests = list(islice(self._round(self._swept_to), limit))
        number = sum(self._connection.side_by_side(self._sweep_one, digests))
        if digests:
            self._swept_to = digests[-1]
        return number

    def _round(self, start: str) -> Iterator[str]:
        """Every digest once, beginning with the one after `start`."""
        for page in self._pages(after=self.prefix + start):
            yield from page
        for page in self._pages():
            for digest in page:
                if digest > start:
                    return
                yield digest

    def _sweep_one(self, digest: str) -> bool:
        from botocore.exceptions import ClientError

        found = self._head(digest)
        if found is None or not _is_over(found):
            return False
        place = {"Bucket": self.bucket, "Key": self.prefix + digest}
        try:
            self.client.delete_object(**place, IfMatch=found["ETag"])
        except ClientError as error:
            if code(error) in CHANGED | ABSENT:
                return False
            if code(error) not in NO_CONDITIONS:
                raise
            self.client.delete_object(**place)  # the server has no such condition
        return True

    def close(self) -> None:
        self._connection.close()


def _metadata(ttl: float | None) -> dict[str, str]:
    return {} if ttl is None else {_EXPIRES: repr(time() + ttl)}


def _is_over(found: dict[str, Any]) -> bool:
    for name, value in found["Metadata"].items():
        if name.lower() == _EXPIRES:  # some servers change its case
            try:
                return float(value) <= time()
            except ValueError:
                return True  # not written by us
    return False
