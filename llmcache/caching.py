"""`Cache(type="redis", ...)`: a store made by the program, with the parameters of LiteLLM's caching
page.

Sites that describe their stores in `settings.LLMCACHE` need none of this: `for_alias` serves them.
"""

from __future__ import annotations

import inspect
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MethodType
from typing import Any, Final

from django.core.signals import setting_changed

from llmcache import backends, conf, keys, plans
from llmcache.backends.base import BaseBackend
from llmcache.backends.batched import BatchedBackend
from llmcache.backends.redis_urls import url_of
from llmcache.calls import Call, build
from llmcache.exceptions import InvalidRequest
from llmcache.store import Store
from llmcache.upstreams import upstreams

DEFAULT_TTL: Final = 86400.0
DEFAULT_DISK_DIRECTORY: Final = ".llmcache"
DEFAULT_EMBEDDING_MODEL: Final = "text-embedding-ada-002"

_PATHS: Final = {
    "local": "llmcache.backends.memory.MemoryBackend",
    "redis": "llmcache.backends.redis.RedisBackend",
    "redis-semantic": "llmcache.backends.semantic.redis.RedisSemanticBackend",
    "s3": "llmcache.backends.s3.S3Backend",
    "disk": "llmcache.backends.disk.DiskBackend",
}
_REDIS: Final = frozenset({"redis", "redis-semantic"})
CUSTOM: Final = frozenset(
    {"get_cache_key", "get_cache", "add_cache", "async_get_cache", "async_add_cache"}
)


class Cache(Store):
    """A store for calls to language models.

    Args:
        type: "local" (this process's memory), "redis", "redis-semantic", "s3" or "disk".
        supported_call_types: names such as "completion" and "aembedding"; others bypass the cache.
        ttl: default seconds to keep entries; before it come `default_in_memory_ttl` (for "local")
            and `default_in_redis_ttl` (for both kinds of "redis"); a day if none is given.
        mode: "default_on", or "default_off" to cache only calls with `cache={"use-cache": True}`.
        host, port, password: of Redis; or of the environment's REDIS_HOST, REDIS_PORT and
            REDIS_PASSWORD, or REDIS_URL.
        redis_startup_nodes: some nodes of a Redis Cluster, such as [{"host": "10.0.0.1", "port":
            6379}]; or of the environment's REDIS_CLUSTER_NODES, as JSON.
        namespace: part of every key.
        redis_flush_size: collect this many writes and send them in one go; also sent after a
            second, and at exit.
        s3_bucket_name, s3_path and so on: as boto3's; credentials also by boto3's usual ways.
        disk_cache_dir: directory of the entries; `.llmcache` in the current one if not given.
        similarity_threshold: for "redis-semantic", from which similarity on, 0 to 1, the answer to
            another prompt may serve.
        redis_semantic_cache_embedding_model: the model, of a provider of LLMCACHE_PROVIDERS, that
            embeds the prompts.
        redis_semantic_cache_use_async: needs no saying: sync and async calls share one cache.
        options: for Redis, further options of the backend, such as `db`, `username` and `ssl`; for
            "redis-semantic" those of matching too, such as `guards` and `judge`.

    `get_cache_key`, `get_cache`, `add_cache` and the two `async_` ones may be replaced by functions
    of your own: assign them. A first parameter named `self` gets the cache.

    Raises:
        InvalidRequest: an unknown type, call type, mode or parameter; the right ones are listed.
        ImproperlyConfigured: the type's optional package is missing, or its settings are wrong.
    """

    def __init__(
        self,
        type: str = "local",
        supported_call_types: list[str] | None = None,
        ttl: float | None = None,
        default_in_memory_ttl: float | None = None,
        host: str | None = None,
        port: str | int | None = None,
        password: str | None = None,
        namespace: str | None = None,
        default_in_redis_ttl: float | None = None,
        redis_flush_size: int | None = None,
        redis_startup_nodes: Sequence[Mapping[str, Any]] | None = None,
        s3_bucket_name: str | None = None,
        s3_region_name: str | None = None,
        s3_api_version: str | None = None,
        s3_path: str | None = None,
        s3_use_ssl: bool | None = True,
        s3_verify: bool | str | None = None,
        s3_endpoint_url: str | None = None,
        s3_aws_access_key_id: str | None = None,
        s3_aws_secret_access_key: str | None = None,
        s3_aws_session_token: str | None = None,
        s3_config: Any = None,
        disk_cache_dir: str | os.PathLike[str] | None = None,
        similarity_threshold: float | None = None,
        redis_semantic_cache_use_async: bool = False,
        redis_semantic_cache_embedding_model: str = DEFAULT_EMBEDDING_MODEL,
        mode: str = "default_on",
        **options: Any,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name not in _NOT_ARGUMENTS}
        if type not in _PATHS:
            raise InvalidRequest.unknown("cache type", type, _PATHS)
        opt_in = _opt_in(mode)
        if options and type not in _REDIS:
            known = inspect.signature(Cache).parameters.keys() - {"options"}
            raise InvalidRequest.unknown("parameter of Cache", next(iter(options)), known)
        location, chosen = _describe(type, arguments, options)
        specific = {
            "local": default_in_memory_ttl,
            **dict.fromkeys(_REDIS, default_in_redis_ttl),
        }.get(type)
        chosen_ttl = next((t for t in (specific, ttl) if t is not None), DEFAULT_TTL)
        backend = backends.build(
            conf.BackendSettings(
                alias=type,
                backend=_PATHS[type],
                location=location,
                timeout=chosen_ttl,
                options={name: value for name, value in chosen.items() if value is not None},
            )
        )
        if redis_flush_size is not None:
            backend = BatchedBackend(backend, flush_size=redis_flush_size)
        self._arguments = {**arguments, **options}
        super().__init__(
            backend,
            ttl=chosen_ttl,
            namespace=namespace,
            supported_call_types=supported_call_types,
            opt_in=opt_in,
        )

    @classmethod
    def over(cls, backend: BaseBackend) -> Cache:
        """A Cache over a backend that exists already, with that backend's own default ttl."""
        opt_in = conf.config().mode == "default_off"
        return cls._over(backend, ttl=backend.settings.timeout, opt_in=opt_in)

    @classmethod
    def _over(cls, backend: BaseBackend, **given: Any) -> Cache:
        cache = cls.__new__(cls)
        cache._arguments = {}
        Store.__init__(cache, backend, **given)
        return cache

    def with_arguments(self, changes: Mapping[str, Any]) -> Cache:
        """A new Cache, made as this one was but for the changes; functions of your own are kept.

        Raises:
            InvalidRequest: as for a new one; or the settings describe the store, and the changes
                are to that, without a type of their own.
        """
        if self._arguments or "type" in changes:
            changed = Cache(**{**self._arguments, **changes})
        else:
            changed = self._changed_over(changes)
        for name, function in self.custom.items():
            if isinstance(function, MethodType) and function.__self__ is self:
                function = function.__func__  # whose first parameter gets the new cache
            setattr(changed, name, function)
        return changed

    def _changed_over(self, changes: Mapping[str, Any]) -> Cache:
        known = {
            "ttl": self.ttl,
            "namespace": self.namespace,
            "supported_call_types": sorted(self.supported_call_types),
            "mode": "default_off" if self.opt_in else "default_on",
        }
        for name in changes:
            if name not in known:
                raise InvalidRequest(
                    f"The settings describe the store {self.alias!r}: change {name} there, or give "
                    "a type too, for a store of the program's own."
                )
        given = {**known, **changes}
        return Cache._over(self.backend, opt_in=_opt_in(given.pop("mode")), **given)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in CUSTOM:
            if not callable(value):
                raise InvalidRequest(f"{name} must be a function, not {value!r}.")
            value = self._bound(value)
            self.custom[name] = value
        super().__setattr__(name, value)

    def _bound(self, function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = list(inspect.signature(function).parameters)
        if parameters[:1] == ["self"]:
            return MethodType(function, self)
        return function

    def get_cache_key(self, **kwargs: Any) -> str:
        """The digest under which a call with these arguments is stored.

        Raises:
            Uncacheable: the call has no canonical form.
        """
        call = _call(kwargs)
        return keys.digest_of(plans.material(call, self, upstreams.route(call.model)))

    def close(self) -> None:
        """Give back connections and files, after storing what still waits."""
        self.backend.close()

    def __repr__(self) -> str:
        return f"<Cache {self.alias!r} over {type(self.backend).__name__}>"


def _opt_in(mode: str) -> bool:
    """Whether only calls that say so are cached."""
    if mode not in _MODES:
        raise InvalidRequest.unknown("mode", mode, _MODES)
    return mode == "default_off"


_MODES: Final = ("default_on", "default_off")
_NOT_ARGUMENTS: Final = frozenset({"self", "options", "__class__"})
_INPUTS: Final = {
    "messages": "completion",
    "file": "transcription",
    "prompt": "text_completion",
    "input": "embedding",
}


def _call(kwargs: Mapping[str, Any]) -> Call:
    kind = next((kind for name, kind in _INPUTS.items() if name in kwargs), "completion")
    return build(kind, kwargs.get("model"), kwargs)


def _describe(
    type: str, given: Mapping[str, Any], extra: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """LOCATION and OPTIONS of the backend that the arguments describe."""
    if type in _REDIS:
        matching = _matching(given) if type == "redis-semantic" else {}
        location, found = _redis_servers(given, extra)
        return location, {**matching, **found}
    if type == "s3":
        if not given["s3_bucket_name"]:
            raise InvalidRequest('Cache(type="s3") needs s3_bucket_name.')
        path = (given["s3_path"] or "").strip("/")
        location = f"s3://{given['s3_bucket_name']}" + (f"/{path}" if path else "")
        skipped = ("s3_bucket_name", "s3_path")
        return location, {
            name.removeprefix("s3_"): value
            for name, value in given.items()
            if name.startswith("s3_") and name not in skipped
        }
    if type == "disk":
        return os.fspath(given["disk_cache_dir"] or Path(DEFAULT_DISK_DIRECTORY).absolute()), {}
    return "", {}


def _redis_servers(
    given: Mapping[str, Any], extra: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """LOCATION and OPTIONS of the server or the cluster that the arguments or else the environment
    describe.
    """
    environment = os.environ.get
    if nodes := _startup_nodes(given, encrypted=bool(extra.get("ssl"))):
        rest = {name: value for name, value in extra.items() if name != "ssl"}
        password = given["password"] or environment("REDIS_PASSWORD")
        return ",".join(nodes), {"cluster": True, "password": password, **rest}
    names = ("host", "port", "password")
    found = {name: given[name] or environment(f"REDIS_{name.upper()}") for name in names}
    url = "" if given["host"] else environment("REDIS_URL", "")
    return url, {**({} if url else found), **extra}


def _startup_nodes(given: Mapping[str, Any], *, encrypted: bool) -> list[str]:
    nodes = given["redis_startup_nodes"]
    if given["host"]:
        if nodes:
            raise InvalidRequest("Cache takes a host or redis_startup_nodes, not both.")
        return []
    try:
        if nodes is None:
            nodes = json.loads(os.environ.get("REDIS_CLUSTER_NODES") or "[]")
        return [url_of(node["host"], node["port"], encrypted=encrypted) for node in nodes]
    except (KeyError, TypeError, ValueError):
        raise InvalidRequest(
            "redis_startup_nodes, or the environment's REDIS_CLUSTER_NODES, must be a list such as "
            '[{"host": "10.0.0.1", "port": 6379}].'
        ) from None


def _matching(given: Mapping[str, Any]) -> dict[str, Any]:
    model = given["redis_semantic_cache_embedding_model"]
    return {
        "embedder": {"BACKEND": "provider", "OPTIONS": {"model": model}},
        "similarity_threshold": given["similarity_threshold"],
    }


_caches: dict[str, Cache] = {}
_lock = threading.Lock()


def for_alias(alias: str) -> Cache | None:
    """The Cache of an alias of `settings.LLMCACHE`; None when the configuration's MODE is "off".

    Raises:
        InvalidRequest: there is no such alias; those that exist are listed.
    """
    cache = _caches.get(alias)
    if cache is not None:
        return cache
    if conf.config().mode == "off":
        return None
    with _lock:
        if alias not in _caches:
            _caches[alias] = Cache.over(backends.stores[alias])
        return _caches[alias]


def reset(*, setting: str, **kwargs: object) -> None:
    """Forget the caches of the settings' aliases when a test overrides what they were made from."""
    if setting in ("LLMCACHE", "LLMCACHE_CONFIG", "CACHES"):
        _caches.clear()


setting_changed.connect(reset, dispatch_uid="llmcache.caching.reset")
