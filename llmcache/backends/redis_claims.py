"""Claims in Redis: each step one script over one key, so that no two clients can both succeed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from llmcache.backends.base import CLAIM, BaseBackend
from llmcache.backends.exchanges import Exchanges
from llmcache.backends.redis_wire import milliseconds

if TYPE_CHECKING:
    from llmcache.backends.redis_cluster import ClusterConnections
    from llmcache.backends.redis_connections import Connections

_CLAIM: Final = f"""
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, {len(CLAIM)}) == '{CLAIM.decode()}' then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""
_RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_END: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class RedisClaims(BaseBackend):
    """The claims of the stores in Redis; a subclass sets `connections`."""

    connections: Connections | ClusterConnections
    supports_claims = True

    @cached_property
    def _exchanges(self) -> Exchanges:
        return Exchanges(self.connections.bound, self.connections.most)

    def _claim_key(self, name: str) -> str:
        return self.make_key(f"{name}-claim")

    def _script(self, script: str, name: str, *arguments: Any) -> Any:
        primary: Any = self.connections.primary
        return primary.eval(script, 1, self._claim_key(name), *arguments)

    async def _ascript(self, script: str, name: str, *arguments: Any) -> Any:
        async with self._exchanges.one():
            primary: Any = await self.connections.aprimary()
            return await primary.eval(script, 1, self._claim_key(name), *arguments)

    def claim(self, name: str, token: bytes, ttl: float) -> bytes:
        return bytes(self._script(_CLAIM, name, token, milliseconds(ttl)))

    def renew_claim(self, name: str, token: bytes, ttl: float) -> bool:
        return bool(self._script(_RENEW, name, token, milliseconds(ttl)))

    def end_claim(self, name: str, token: bytes, note: bytes | None, ttl: float) -> None:
        self._script(_END, name, token, note or b"", milliseconds(ttl))

    def claimed(self, name: str) -> bytes | None:
        primary: Any = self.connections.primary  # a replica may not have heard of the claim yet
        held: bytes | None = primary.get(self._claim_key(name))
        return held

    def post(self, slot: str, data: bytes, ttl: float) -> None:
        self.connections.primary.set(self.make_key(slot), data, px=milliseconds(ttl))

    def posted(self, slot: str) -> bytes | None:
        primary: Any = self.connections.primary
        data: bytes | None = primary.get(self.make_key(slot))
        return data

    async def aclaim(self, name: str, token: bytes, ttl: float) -> bytes:
        return bytes(await self._ascript(_CLAIM, name, token, milliseconds(ttl)))

    async def aend_claim(self, name: str, token: bytes, note: bytes | None, ttl: float) -> None:
        await self._ascript(_END, name, token, note or b"", milliseconds(ttl))

    async def aclaimed(self, name: str) -> bytes | None:
        async with self._exchanges.one():
            primary: Any = await self.connections.aprimary()
            held: bytes | None = await primary.get(self._claim_key(name))
            return held

    async def apost(self, slot: str, data: bytes, ttl: float) -> None:
        async with self._exchanges.one():
            primary: Any = await self.connections.aprimary()
            await primary.set(self.make_key(slot), data, px=milliseconds(ttl))

    async def aposted(self, slot: str) -> bytes | None:
        async with self._exchanges.one():
            primary: Any = await self.connections.aprimary()
            data: bytes | None = await primary.get(self.make_key(slot))
            return data
