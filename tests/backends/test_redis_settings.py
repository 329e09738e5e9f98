"""What URLs and OPTIONS of a store in Redis do, and which of them are refused before any call."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.redis import RedisBackend
from llmcache.backends.redis_commands import RedisCommands
from llmcache.backends.redis_slots import slot_of
from llmcache.backends.semantic.redis import RedisSemanticBackend
from llmcache.conf import BackendSettings
from tests.backends.stores import unique
from tests.servers.redis import RedisServer, own_server

A, B = (sha256(name).hexdigest() for name in (b"a", b"b"))
CLASSES = ("django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache")
BYTES = b"\xff\x00 no text"


def direct(url: str, **options: Any) -> RedisBackend:
    return RedisBackend(
        BackendSettings(alias="r", location=url, key_prefix=unique(), options=options)
    )


def through(backend: str, url: str, **options: Any) -> RedisCommands:
    """A store over an entry of CACHES, which holds while the store is made."""
    entry = {"BACKEND": backend, "LOCATION": url, "OPTIONS": options}
    with override_settings(CACHES={"default": entry}):
        store = DjangoCacheBackend(BackendSettings(alias="r", key_prefix=unique()))
    assert isinstance(store, RedisCommands)
    return store


def round_trips(store: RedisCommands) -> bool:
    """Whether what is written can be read, both ways."""
    store.set(A, BYTES, 60)
    return (store.get(A), asyncio.run(store.aget(A))) == (BYTES, BYTES)


def test_credentials_from_a_provider_serve_both_ways() -> None:
    provider = redis.UsernamePasswordCredentialProvider(password="word")
    with own_server("--requirepass", "word") as server:
        for backend, options in (
            (CLASSES[0], {"credential_provider": provider}),
            (CLASSES[1], {"CONNECTION_POOL_KWARGS": {"credential_provider": provider}}),
        ):
            store = through(backend, server.url, **options)
            assert round_trips(store)
            store.close()


def test_a_time_limit_in_the_url_wins_over_ours() -> None:
    assert direct("redis://127.0.0.1:1?socket_timeout=3.5").connections.bound == 3.5
    assert direct("redis://127.0.0.1:1").connections.bound == 0.25


@pytest.mark.parametrize("backend", CLASSES)
def test_no_setting_makes_text_of_our_bytes(backend: str, redis_server: RedisServer) -> None:
    url = f"{redis_server.url}?decode_responses=True"
    text: dict[str, Any] = {"decode_responses": True}
    options = text if backend == CLASSES[0] else {"CONNECTION_POOL_KWARGS": text}
    for store in (direct(url), through(backend, url, **options)):
        assert round_trips(store)
        store.close()


@pytest.mark.parametrize("pool", ["ConnectionPool", "BlockingConnectionPool"])
def test_the_kind_of_pool_is_the_one_of_caches(pool: str, redis_server: RedisServer) -> None:
    for backend, name in zip(CLASSES, ("pool_class", "CONNECTION_POOL_CLASS"), strict=True):
        store = through(backend, redis_server.url, **{name: f"redis.{pool}"})
        assert type(store.connections.primary.connection_pool).__name__ == pool
        assert round_trips(store)
        store.close()


class OwnParser(redis.connection.DefaultParser):  # type: ignore[misc, valid-type]
    """A parser of a site's own."""


def test_the_parser_is_the_one_of_caches(redis_server: RedisServer) -> None:
    store = through(CLASSES[0], redis_server.url, parser_class=f"{__name__}.OwnParser")
    pool = store.connections.primary.connection_pool
    assert type(pool.make_connection()._parser) is OwnParser
    assert round_trips(store)
    store.close()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("localhost:6379", {}),
        ("http://localhost", {}),
        ("", {}),
        ("redis://h:port", {}),
        ("redis://h?socket_timeout=soon", {}),
        ("redis://h", {"passwrod": "x"}),
        ("redis://h?passwrod=x", {}),
        ("rediss://h", {"ssl_cert_reqs": "maybe"}),
    ],
)
def test_what_redis_py_does_not_take_is_refused_at_once(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^CACHES\['default'\] does not describe"):
        through(CLASSES[0], url, **options)
    with pytest.raises(ImproperlyConfigured, match=r"^CACHES\['default'\] does not describe"):
        through(CLASSES[1], url, CONNECTION_POOL_KWARGS=options)


@pytest.mark.parametrize(
    ("location", "options", "words"),
    [
        ("redis://h/1", {}, "database 0 only, not 1; keep aliases apart by KEY_PREFIX"),
        ("", {"host": "h", "db": 2}, "database 0 only"),
        ("unix:///run/redis.sock", {}, "begin with redis://"),
        ("redis://h,rediss://i", {}, "differ in host and port only"),
        ("redis://u:a@h,redis://u:b@i", {}, "differ in host and port only"),
        ("redis://h,redis://i:port", {}, "no number"),
        ("redis://h", {"cluster": "yes"}, "must be True or False, not 'yes'"),
        ("redis://h", {"read_from_replicas": 1}, "must be True or False"),
        ("redis://h", {"cluster": False, "read_from_replicas": True}, "name the replicas"),
        ("redis://h", {"passwrod": "x"}, "'password'"),
    ],
)
def test_what_a_cluster_has_not_is_refused_at_once(
    location: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        direct(location, **{"cluster": True, **options})


def test_vectors_are_not_searched_in_a_cluster() -> None:
    described = BackendSettings(alias="v", location="redis://h", options={"cluster": True})
    with pytest.raises(ImproperlyConfigured, match=r"^LLMCACHE\['v'\].*single Redis with search"):
        RedisSemanticBackend(described)


@pytest.mark.parametrize(
    ("prefix", "ids"),
    [
        ("shop", []),
        ("{shop}", ["llmcache.W112"]),
        ("a{b}c", ["llmcache.W112"]),
        ("{}shop", []),
        ("{shop", []),
    ],
)
def test_a_prefix_that_puts_all_entries_on_one_node_is_warned_of(
    prefix: str, ids: list[str]
) -> None:
    for in_cluster in (True, False):
        options = {"cluster": in_cluster}
        settings = BackendSettings(
            alias="r", location="redis://h", key_prefix=prefix, options=options
        )
        found = [message.id for message in RedisBackend(settings).check()]
        assert found == (ids if in_cluster else [])
        store = RedisBackend(settings)
        assert (len({slot_of(store.make_key(d)) for d in (A, B)}) == 1) is bool(ids)


def test_a_password_with_a_slash_is_in_no_error() -> None:
    url = "redis://:hush/hush@127.0.0.1:6379/0"
    for make in (
        direct,
        lambda url: direct(f"redis://127.0.0.1,{url}", cluster=True),
        lambda url: through(CLASSES[0], url),
        lambda url: through(CLASSES[1], url),
    ):
        with pytest.raises(ImproperlyConfigured, match="%2F") as refused:
            make(url)
        told: BaseException | None = refused.value
        while told is not None:
            assert "hush" not in str(told)
            told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)
