"""Django's RedisCache and the package django-redis: our bytes by Redis's own commands, under the
keys that the cache would use, over connections with our time limits.
"""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from llmcache import conf
from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.redis_commands import RedisCommands
from llmcache.packages import require_package

_PACKAGE_OPTIONS = {
    "SOCKET_TIMEOUT": "socket_timeout",
    "SOCKET_CONNECT_TIMEOUT": "socket_connect_timeout",
    "PASSWORD": "password",
    "USERNAME": "username",
}
_PACKAGE_CLIENT = "django_redis.client.DefaultClient"
_PACKAGE_FACTORY = "django_redis.pool.ConnectionFactory"
_PACKAGE_CLASSES = (
    _PACKAGE_FACTORY,
    _PACKAGE_CLIENT,
    "django_redis.client.default.DefaultClient",
    "django_redis.client.HerdClient",  # differs in what it does to values only
    "django_redis.client.herd.HerdClient",
)


class DjangoRedisBackend(RedisCommands, DjangoCacheBackend):
    """Over an alias of `django.core.cache.backends.redis.RedisCache`."""

    exact_ttl: bool = True
    supports_iterate: bool = True
    supports_clear: bool = True
    keyspace = DjangoCacheBackend.keyspace

    def __init__(self, settings: conf.BackendSettings) -> None:
        super().__init__(settings)
        require_package(settings.setting, "redis", "redis")
        from llmcache.backends.redis_connections import Connections

        timeout = conf.config().backend_timeout
        try:
            self.connections = Connections(self._urls(), timeout, **self._pool())
        except (ValueError, TypeError) as error:
            raise ImproperlyConfigured(
                f"CACHES[{self.cache_alias!r}] does not describe a Redis server: {error}"
            ) from error

    def _urls(self) -> list[str]:
        location = self.description.get("LOCATION", "")
        parts = re.split("[;,]", location) if isinstance(location, str) else location
        return [url.strip() for url in parts]

    def _pool(self) -> dict[str, Any]:
        given = dict(self.description.get("OPTIONS", {}))
        given.pop("serializer", None)
        chosen = _imported(given.pop("pool_class", None))
        parser = _imported(given.pop("parser_class", None))
        if parser is not None:
            given["parser_class"] = parser
        return {"options": given, **({} if chosen is None else {"pool_class": chosen})}


class DjangoRedisPackageBackend(DjangoRedisBackend):
    """Over an alias of `django_redis.cache.RedisCache` with its default client."""

    def _pool(self) -> dict[str, Any]:
        given = self.description.get("OPTIONS", {})
        factory = getattr(settings, "DJANGO_REDIS_CONNECTION_FACTORY", _PACKAGE_FACTORY)
        for name, default in (("CLIENT_CLASS", _PACKAGE_CLIENT), ("CONNECTION_FACTORY", factory)):
            chosen_class = str(given.get(name, default))
            if chosen_class not in _PACKAGE_CLASSES:
                raise ImproperlyConfigured(
                    f"CACHES[{self.cache_alias!r}] has the {name} {chosen_class}, which llmcache "
                    "cannot use; give it an alias of its own with django-redis's default, or "
                    "llmcache.backends.redis.RedisBackend."
                )
        chosen = dict(given.get("CONNECTION_POOL_KWARGS", {}))
        for name, ours in _PACKAGE_OPTIONS.items():
            if name in given:
                chosen[ours] = given[name]
        pool_class = _imported(given.get("CONNECTION_POOL_CLASS"))
        return {"options": chosen, **({} if pool_class is None else {"pool_class": pool_class})}


def _imported(value: Any) -> Any:
    return import_string(value) if isinstance(value, str) else value
