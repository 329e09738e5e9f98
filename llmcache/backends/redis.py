"""A store in Redis that needs no alias in CACHES."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from llmcache import conf
from llmcache.backends import checks
from llmcache.backends.redis_commands import RedisCommands
from llmcache.backends.redis_urls import url_of
from llmcache.options import Options
from llmcache.packages import require_package

DEFAULTS: Final[dict[str, Any]] = {
    "host": None,
    "port": 6379,
    "db": 0,
    "cluster": False,
    "read_from_replicas": False,
    "username": None,
    "password": None,
    "ssl": False,
    "ssl_ca_certs": None,
    "ssl_certfile": None,
    "ssl_keyfile": None,
    "ssl_cert_reqs": None,
    "ssl_check_hostname": None,
    "socket_timeout": None,
    "socket_connect_timeout": None,
    "socket_keepalive": None,
    "health_check_interval": None,
    "client_name": None,
    "max_connections": None,
}
_IN_URL: Final = ("host", "port", "db", "ssl")
_OURS: Final = (*_IN_URL, "cluster", "read_from_replicas")


class RedisBackend(RedisCommands):
    """LOCATION: `redis://`, `rediss://` or `unix://`, several with commas between: the first is
    written to, the others are replicas to read from. Of a cluster, some of its nodes, that are
    asked for the others; keys are named there as they are on a single server.

    OPTIONS:
        host (str): in place of LOCATION; localhost if there is neither.
        port, db (int): of that host.
        ssl (bool): whether that host speaks TLS.
        cluster (bool): whether it is a Redis Cluster.
        read_from_replicas (bool): in a cluster, read entries from the replicas of their shard.
        username, password (str): for the server; better here than in the URL, which reports of
            errors show.
        ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs (str): as redis-py has them.
        ssl_check_hostname (bool): as redis-py has it.
        socket_timeout, socket_connect_timeout (float): seconds; BACKEND_TIMEOUT if not given.
        socket_keepalive (bool): as redis-py has it.
        health_check_interval (float): seconds of rest after which a connection is tried first.
        client_name (str): by which the server lists the connections.
        max_connections (int): of a process to a server.

    Raises:
        ImproperlyConfigured: the package redis is missing, or the settings make no sense.
    """

    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, settings: conf.BackendSettings) -> None:
        super().__init__(settings)
        given = Options(settings, DEFAULTS)
        require_package(settings.setting, "redis", "redis")
        for name in ("cluster", "read_from_replicas"):
            given.flag(name)
        extra = {k: value for k, value in given.items() if k not in _OURS and value is not None}
        try:
            self._connect(given, self._urls(given), conf.config().backend_timeout, extra)
        except (ValueError, TypeError) as error:
            raise ImproperlyConfigured(
                f"LLMCACHE[{self.alias!r}] does not describe a Redis server: {error}"
            ) from error

    def _connect(
        self, given: dict[str, Any], urls: list[str], timeout: float, extra: dict[str, Any]
    ) -> None:
        self.in_cluster: bool = given["cluster"]
        self.has_own_breakers = self.in_cluster
        replicas: bool = given["read_from_replicas"]
        if self.in_cluster:
            from llmcache.backends.redis_cluster import ClusterConnections

            self.connections = ClusterConnections(
                self.alias, urls, timeout, extra, read_from_replicas=replicas
            )
            return
        if replicas:
            raise ImproperlyConfigured(
                f"LLMCACHE[{self.alias!r}]['OPTIONS']['read_from_replicas'] is for a cluster; name "
                "the replicas of a single server in its LOCATION, after the server."
            )
        from llmcache.backends.redis_connections import Connections

        self.connections = Connections(urls, timeout, extra)

    def check(self) -> list[CheckMessage]:
        return [*super().check(), *checks.one_slot(self)] if self.in_cluster else super().check()

    def _urls(self, given: dict[str, Any]) -> list[str]:
        if self.settings.location:
            if also := [key for key in _IN_URL if key in self.settings.options]:
                raise ImproperlyConfigured(
                    f"LLMCACHE[{self.alias!r}] has both a LOCATION and OPTIONS[{also[0]!r}]; "
                    "keep one of them."
                )
            return [url.strip() for url in self.settings.location.split(",")]
        url = url_of(given["host"] or "localhost", given["port"], encrypted=bool(given["ssl"]))
        return [f"{url}/{int(given['db'])}"]
