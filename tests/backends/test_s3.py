"""What only the store in S3 does, over a real server: requests, conditions, sweeps and faults."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError

from llmcache.backends.base import Item
from llmcache.backends.s3 import NotDeleted, S3Backend
from llmcache.conf import BackendSettings
from tests.servers.s3 import S3Server

A, B, C = (sha256(name).hexdigest() for name in (b"a", b"b", b"c"))
OTHER_ETAG = '"00000000000000000000000000000000"'


@pytest.fixture
def make(s3_server: S3Server) -> Iterator[Callable[..., S3Backend]]:
    """Makes stores at one place of the bucket."""
    location, made = f"s3://{s3_server.bucket}/{uuid.uuid4().hex}", []

    def make(**options: Any) -> S3Backend:
        settings = BackendSettings(
            alias="s3", location=location, options={**s3_server.options, **options}
        )
        made.append(S3Backend(settings))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make: Callable[..., S3Backend]) -> S3Backend:
    return make()


def on(store: S3Backend, event: str, handler: Callable[..., Any]) -> None:
    """Have boto3 call a function at one point of the store's requests."""
    store.client.meta.events.register(event, lambda **given: handler(given))


def expire(store: S3Backend, *digests: str) -> None:
    """Store entries that are over."""
    for digest in digests:
        store.set(digest, b"old", 0.001)
    time.sleep(0.01)


# --- requests ---


def test_a_hit_and_a_miss_are_one_request_each(store: S3Backend) -> None:
    store.set(A, b"1", 60)
    seen: list[str] = []
    on(store, "before-send.s3", lambda given: seen.append(given["event_name"]))
    assert store.get(A) == b"1"
    assert store.get(B) is None
    assert seen == ["before-send.s3.GetObject"] * 2


def test_the_objects_lie_under_the_prefix_of_the_location(
    store: S3Backend, s3_server: S3Server
) -> None:
    store.set(A, b"1", 60)
    _, _, path = store.settings.location.removeprefix("s3://").partition("/")
    found = store.client.list_objects_v2(Bucket=s3_server.bucket, Prefix=path)
    assert [one["Key"] for one in found["Contents"]] == [f"{path}/llmcache::1/{A}"]


def test_a_server_that_changes_the_case_of_metadata_does_not_lengthen_a_ttl(
    store: S3Backend,
) -> None:
    def titled(given: Any) -> None:
        names = given["parsed"]["Metadata"]
        given["parsed"]["Metadata"] = {name.title(): value for name, value in names.items()}

    on(store, "after-call.s3.GetObject", titled)
    store.set(B, b"live", 60)
    expire(store, A)
    assert store.get_many([A, B]) == {B: b"live"}


def test_an_object_whose_end_cannot_be_read_is_a_miss_and_is_swept(store: S3Backend) -> None:
    store.client.put_object(
        Bucket=store.bucket,
        Key=store.make_key(A),
        Body=b"planted",
        Metadata={"llmcache-expires": "never"},
    )
    assert store.get(A) is None
    assert list(store.iterate()) == []
    assert store.sweep() == 1


def test_lists_longer_than_a_page_are_read_to_their_end(store: S3Backend) -> None:
    names = [sha256(str(number).encode()).hexdigest() for number in range(20)]
    store.set_many([Item(name, b"1", 60) for name in names])
    on(
        store,
        "provide-client-params.s3.ListObjectsV2",
        lambda given: {**given["params"], "MaxKeys": 3},
    )
    assert list(store.iterate()) == sorted(names)
    assert store.clear() == 20
    assert list(store.iterate()) == []


def test_foreign_objects_under_the_prefix_are_left_alone(store: S3Backend) -> None:
    key = store.make_key("readme.txt")
    store.client.put_object(Bucket=store.bucket, Key=key, Body=b"not an entry")
    store.set(A, b"1", 60)
    assert list(store.iterate()) == [A]
    assert store.sweep() == 0
    assert store.clear() == 1
    store.client.head_object(Bucket=store.bucket, Key=key)


def test_an_entry_that_s3_refuses_to_delete_is_an_error(store: S3Backend) -> None:
    def never_matching(given: Any) -> dict[str, Any]:
        objects = [{**one, "ETag": OTHER_ETAG} for one in given["params"]["Delete"]["Objects"]]
        return {**given["params"], "Delete": {"Objects": objects}}

    store.set(A, b"1", 60)
    on(store, "provide-client-params.s3.DeleteObjects", never_matching)
    with pytest.raises(NotDeleted, match="1 entries stay in S3: PreconditionFailed"):
        store.clear()


def test_what_s3_will_not_tell_of_an_entry_is_an_error_and_not_its_absence(
    store: S3Backend,
) -> None:
    store.set(A, b"1", 60)
    on(
        store,
        "provide-client-params.s3.HeadObject",
        lambda given: {**given["params"], "IfMatch": OTHER_ETAG},
    )
    for act in (
        lambda: store.touch(A, 90),
        lambda: store.delete(A),
        lambda: list(store.iterate()),
        store.sweep,
    ):
        with pytest.raises(ClientError, match="412"):
            act()
    assert store.get(A) == b"1"


@pytest.mark.parametrize("operation", ["CopyObject", "DeleteObject"])
def test_a_change_that_s3_refuses_is_an_error(store: S3Backend, operation: str) -> None:
    store.set(A, b"1", 60)
    if operation == "DeleteObject":
        expire(store, A)

    def elsewhere(given: Any) -> dict[str, Any]:
        return {**given["params"], "Bucket": "no-such-bucket"}

    on(store, f"provide-client-params.s3.{operation}", elsewhere)
    with pytest.raises(ClientError, match=rf"calling the {operation}"):
        store.touch(A, 90) if operation == "CopyObject" else store.sweep()


# --- races ---


def test_touch_leaves_an_entry_that_was_rewritten_meanwhile_with_its_own_ttl(
    make: Callable[..., S3Backend],
) -> None:
    store, other = make(), make()
    store.set(A, b"old", 60)
    on(store, "before-call.s3.CopyObject", lambda given: other.set(A, b"new", 0.2))
    assert store.touch(A, 600) is True
    assert other.get(A) in (b"new", None)
    time.sleep(0.25)
    assert other.get(A) is None


def test_touch_of_an_entry_that_was_deleted_meanwhile_does_not_bring_it_back(
    make: Callable[..., S3Backend],
) -> None:
    store, other = make(), make()
    store.set(A, b"old", 60)
    on(store, "before-call.s3.CopyObject", lambda given: other.delete(A) and None)
    assert store.touch(A, 600) is False
    assert store.get(A) is None


def test_sweep_leaves_an_entry_that_was_rewritten_meanwhile(
    make: Callable[..., S3Backend],
) -> None:
    store, other = make(), make()
    expire(store, A)
    on(store, "before-call.s3.DeleteObject", lambda given: other.set(A, b"new", 60))
    assert store.sweep() == 0
    assert store.get(A) == b"new"


def test_sweep_works_on_a_server_without_conditional_deletes(store: S3Backend) -> None:
    class Raw:
        @staticmethod
        def stream(**ignored: object) -> Iterator[bytes]:
            yield b"<Error><Code>NotImplemented</Code></Error>"

    def refuse(given: Any) -> AWSResponse | None:
        request = given["request"]
        return (
            AWSResponse(request.url, 501, HTTPHeaders(), Raw())
            if "If-Match" in request.headers
            else None
        )

    expire(store, A)
    store.set(B, b"live", 60)
    on(store, "before-send.s3.DeleteObject", refuse)
    assert store.sweep() == 1
    assert store.get(B) == b"live"


# --- sweep ---


def test_bounded_sweeps_go_on_where_the_last_one_stopped(store: S3Backend) -> None:
    names = [f"{number:x}" * 64 for number in range(15)]
    live = [name for number, name in enumerate(names) if number % 3]
    store.set_many([Item(name, b"live", 60) for name in live])
    expire(store, *(name for name in names if name not in live))
    swept = [store.sweep(5) for _ in range(3)]
    assert sum(swept) == 5
    assert max(swept) < 5
    assert sorted(store.get_many(names)) == live


def test_a_sweep_with_room_for_all_entries_misses_none_wherever_it_begins(
    store: S3Backend,
) -> None:
    names = [sha256(str(number).encode()).hexdigest() for number in range(6)]
    for start in ("", "8", "ffffffff"):
        expire(store, *names)
        store._swept_to = start
        assert store.sweep(6) == 6


def test_programs_that_sweep_a_part_and_end_get_round_in_time(
    make: Callable[..., S3Backend],
) -> None:
    evenly = [f"{number:x}0" + "0" * 62 for number in range(0, 16, 2)]
    first = make()
    for name in evenly[:3] + evenly[4:7]:
        first.set(name, b"live", None)
    expire(first, evenly[3], evenly[7])
    swept = 0
    for _ in range(60):
        with_no_memory = make()
        swept += with_no_memory.sweep(2)
        if swept == 2:
            break
    assert swept == 2


# --- faults ---


SECRETS = {
    "aws_access_key_id": "AKIASECRETID",
    "aws_secret_access_key": "the-secret-key",
    "aws_session_token": "the-session-token",
}


def unreachable(url: str, **options: Any) -> S3Backend:
    chosen = {"endpoint_url": url, "region_name": "us-east-1", "timeout": 0.2, **SECRETS, **options}
    return S3Backend(BackendSettings(alias="s3", location="s3://bucket/p", options=chosen))


def test_a_server_that_never_answers_costs_no_more_than_its_timeouts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = unreachable(url)
        began = time.monotonic()
        with pytest.raises(Exception, match=r"[Tt]imeout|[Tt]imed out"):
            store.get(A)
        assert time.monotonic() - began < 10


def test_a_missing_bucket_is_an_error_and_not_a_miss(s3_server: S3Server) -> None:
    settings = BackendSettings(alias="s3", location="s3://no-such-one", options=s3_server.options)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        S3Backend(settings).get(A)


def test_a_fork_while_another_thread_makes_the_client_does_not_stop_the_child(
    make: Callable[..., S3Backend],
) -> None:
    store = make()
    store.set(A, b"1", 60)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store._connection._lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        found = None
        try:
            found = store.get_many([A, B])
        finally:
            os._exit(0 if found == {A: b"1"} else 1)
    done.set()
    holder.join()
    end = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.02)
    if ended == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert ended == (child, 0)
