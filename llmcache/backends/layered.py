"""Several stores as one: near and fast on top, large and lasting below.

A read goes down until a layer answers and leaves copies in the layers above. A write or delete goes
up from the lowest layer, so no reader can fetch from below what was just removed from above.
Entries lie under the layers' own prefixes: an alias that is a layer and is also used by itself
shows the same entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from django.core.checks import CheckMessage, Warning

from llmcache import conf
from llmcache.backends import checks
from llmcache.backends import layers as parts
from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.layers import Epochs, Layer, Walk
from llmcache.configuration import is_number, require
from llmcache.exceptions import UnsupportedOperation
from llmcache.options import Options

DEFAULT_LOCAL_TTL: Final = 5.0
DEFAULTS: Final[Mapping[str, Any]] = {"layers": (), "local_ttl": DEFAULT_LOCAL_TTL}


class LayeredBackend(BaseBackend):
    """Takes no LOCATION.

    OPTIONS:
        layers (list): aliases of LLMCACHE, from the fastest down.
        local_ttl (float or None): seconds at most that a layer in this process's memory keeps a
            copy, as it cannot know what other processes delete; None for no limit.

    A failing layer is logged and passed over, and left alone for a while when it keeps failing. An
    error is raised when every layer failed and, on a removal, when any did: it may still hold the
    entry.
    """

    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, settings: conf.BackendSettings) -> None:
        super().__init__(settings)
        self._take(parts.named(settings), Options(settings, DEFAULTS)["local_ttl"])

    @classmethod
    def over(
        cls,
        stores: Sequence[BaseBackend],
        *,
        local_ttl: float | None = DEFAULT_LOCAL_TTL,
        alias: str = "layered",
    ) -> LayeredBackend:
        """A layered store of stores that exist already, from the fastest down."""
        lowest = stores[-1].settings
        backend = cls.__new__(cls)
        BaseBackend.__init__(backend, conf.BackendSettings(alias=alias, timeout=lowest.timeout))
        backend._take(stores, local_ttl)
        return backend

    def _take(self, stores: Sequence[BaseBackend], local_ttl: Any) -> None:
        require(
            local_ttl is None or (is_number(local_ttl) and local_ttl > 0),
            f"{self.settings.setting}['OPTIONS']['local_ttl']",
            local_ttl,
            "a number of seconds above 0, or None for no limit",
        )
        self.process_local = all(store.process_local for store in stores)
        self.exact_ttl = all(store.exact_ttl for store in stores)
        self.supports_clear = all(store.supports_clear for store in stores)
        self.supports_iterate = stores[-1].supports_iterate
        self._layers = tuple(
            Layer(s, local_ttl if s.process_local and not self.process_local else None)
            for s in stores
        )
        self._upwards = self._layers[::-1]
        self._epochs = Epochs()

    @property
    def layers(self) -> tuple[BaseBackend, ...]:
        return tuple(layer.store for layer in self._layers)

    # --- sync ---

    def get(self, digest: str) -> bytes | None:
        found = self.get_with_layer(digest)
        return None if found is None else found[0]

    def get_with_layer(self, digest: str) -> tuple[bytes, str] | None:
        taken = {digest: self._epochs.of(digest)}
        walk = Walk(self._layers, "get")
        for layer in walk:
            data = None
            with walk:
                data = layer.store.get(digest)
            if data is not None:
                self._copy_up(walk.depth, {digest: data}, taken)
                return data, layer.name
        walk.judge()
        return None

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        missing = list(digests)
        taken = {digest: self._epochs.of(digest) for digest in missing}
        everything: dict[str, bytes] = {}
        walk = Walk(self._layers, "get")
        for layer in walk:
            found: dict[str, bytes] = {}
            with walk:
                found = layer.store.get_many(missing)
            self._copy_up(walk.depth, found, taken)
            everything |= found
            missing = [digest for digest in missing if digest not in found]
            if not missing:
                break
        walk.judge()
        return everything

    def present(self, digests: Iterable[str]) -> dict[str, bytes]:
        missing, failure = list(digests), None
        everything: dict[str, bytes] = {}
        for layer in self._layers:
            try:
                everything |= layer.store.present(missing)
            except Exception as error:
                failure = failure or error
            missing = [digest for digest in missing if digest not in everything]
        if missing and failure is not None:
            raise failure
        return everything

    def _copy_up(self, depth: int, found: dict[str, bytes], taken: dict[str, int]) -> None:
        walk = Walk(self._layers[:depth], "keep a copy", allowed=depth)
        for layer in walk:
            if items := layer.items(parts.copies(found, taken, self._epochs)):
                with walk:
                    layer.store.set_many(items)
                    if overtaken := parts.overtaken(items, taken, self._epochs):
                        layer.store.delete_many(overtaken)

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.set_many([Item(digest, data, ttl)])

    def set_many(self, items: Iterable[Item]) -> None:
        items = list(items)
        walk = Walk(self._upwards, "set")
        for layer in walk:
            with walk:
                layer.store.set_many(layer.items(items))
            self._epochs.change(item.digest for item in items)
        walk.judge()

    def delete(self, digest: str) -> bool:
        return bool(self.delete_many([digest]))

    def delete_many(self, digests: Iterable[str]) -> int:
        """Remove entries from every layer; the largest number that one layer had."""
        digests = list(digests)
        removed = 0
        walk = Walk(self._upwards, "delete", allowed=0)
        for layer in walk:
            with walk:
                removed = max(removed, layer.store.delete_many(digests))
            self._epochs.change(digests)
        walk.judge()
        return removed

    def touch(self, digest: str, ttl: float | None) -> bool:
        touched = False
        walk = Walk(self._upwards, "touch")
        for layer in walk:
            with walk:
                touched |= layer.store.touch(digest, layer.ttl(ttl))
            self._epochs.change([digest])
        walk.judge()
        return touched

    def replace(self, digest: str, old: bytes, data: bytes, ttl: float | None) -> bool:
        """As `set`, if the lowest layer has the old bytes. The copies above are removed: a read
        brings the new ones up.
        """
        *upper, lowest = self._layers
        if not lowest.store.replace(digest, old, data, lowest.ttl(ttl)):
            return False
        self._epochs.change([digest])
        walk = Walk(upper[::-1], "remove a copy", allowed=len(upper))
        for layer in walk:
            with walk:
                layer.store.delete(digest)
            self._epochs.change([digest])
        return True

    def clear(self) -> int:
        """Clear every layer; the largest number of entries that one layer had."""
        self._refuse_unless_clearable()
        removed = 0
        walk = Walk(self._upwards, "clear", allowed=0)
        for layer in walk:
            with walk:
                removed = max(removed, layer.store.clear())
            self._epochs.change_all()
        walk.judge()
        return removed

    def _refuse_unless_clearable(self) -> None:
        for layer in self._layers:
            if not layer.store.supports_clear:
                raise UnsupportedOperation(
                    f"LLMCACHE[{self.alias!r}] cannot clear only its own entries, because its "
                    f"layer {layer.name!r} cannot; raise that layer's VERSION instead."
                )

    def iterate(self) -> Iterator[str]:
        """The digests in any layer. An upper layer that cannot list is passed over: what it has,
        the lowest has too.
        """
        seen: set[str] = set()
        *upper, lowest = self._layers
        for layer in upper:
            if layer.store.supports_iterate:
                fresh = [digest for digest in layer.store.iterate() if digest not in seen]
                seen.update(fresh)
                yield from fresh
        yield from (digest for digest in lowest.store.iterate() if digest not in seen)

    def sweep(self, limit: int = 1000) -> int:
        """Sweep the layers one after the other, within one limit."""
        swept = 0
        for layer in self._upwards:
            if swept < limit:
                swept += layer.store.sweep(limit - swept)
        return swept

    def check(self) -> list[CheckMessage]:
        messages = checks.idle_timeouts(self)
        if self.settings.key_prefix:
            messages.append(
                Warning(
                    f"LLMCACHE[{self.alias!r}]['KEY_PREFIX'] has no effect on a layered store.",
                    hint="Set the KEY_PREFIX of its layers: entries lie under theirs.",
                    id="llmcache.W105",
                )
            )
        return messages

    def close(self) -> None:
        for layer in self._layers:
            layer.store.close()

    # --- async ---

    async def aget(self, digest: str) -> bytes | None:
        found = await self.aget_with_layer(digest)
        return None if found is None else found[0]

    async def aget_with_layer(self, digest: str) -> tuple[bytes, str] | None:
        taken = {digest: self._epochs.of(digest)}
        walk = Walk(self._layers, "get")
        for layer in walk:
            data = None
            with walk:
                data = await layer.store.aget(digest)
            if data is not None:
                await self._acopy_up(walk.depth, {digest: data}, taken)
                return data, layer.name
        walk.judge()
        return None

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        missing = list(digests)
        taken = {digest: self._epochs.of(digest) for digest in missing}
        everything: dict[str, bytes] = {}
        walk = Walk(self._layers, "get")
        for layer in walk:
            found: dict[str, bytes] = {}
            with walk:
                found = await layer.store.aget_many(missing)
            await self._acopy_up(walk.depth, found, taken)
            everything |= found
            missing = [digest for digest in missing if digest not in found]
            if not missing:
                break
        walk.judge()
        return everything

    async def _acopy_up(self, depth: int, found: dict[str, bytes], taken: dict[str, int]) -> None:
        walk = Walk(self._layers[:depth], "keep a copy", allowed=depth)
        for layer in walk:
            if items := layer.items(parts.copies(found, taken, self._epochs)):
                with walk:
                    await layer.store.aset_many(items)
                    if overtaken := parts.overtaken(items, taken, self._epochs):
                        await layer.store.adelete_many(overtaken)

    async def aset(self, digest: str, data: bytes, ttl: float | None) -> None:
        await self.aset_many([Item(digest, data, ttl)])

    async def aset_many(self, items: Iterable[Item]) -> None:
        items = list(items)
        walk = Walk(self._upwards, "set")
        for layer in walk:
            with walk:
                await layer.store.aset_many(layer.items(items))
            self._epochs.change(item.digest for item in items)
        walk.judge()

    async def adelete(self, digest: str) -> bool:
        return bool(await self.adelete_many([digest]))

    async def adelete_many(self, digests: Iterable[str]) -> int:
        digests = list(digests)
        removed = 0
        walk = Walk(self._upwards, "delete", allowed=0)
        for layer in walk:
            with walk:
                removed = max(removed, await layer.store.adelete_many(digests))
            self._epochs.change(digests)
        walk.judge()
        return removed

    async def atouch(self, digest: str, ttl: float | None) -> bool:
        touched = False
        walk = Walk(self._upwards, "touch")
        for layer in walk:
            with walk:
                touched |= await layer.store.atouch(digest, layer.ttl(ttl))
            self._epochs.change([digest])
        walk.judge()
        return touched

    async def aclear(self) -> int:
        self._refuse_unless_clearable()
        removed = 0
        walk = Walk(self._upwards, "clear", allowed=0)
        for layer in walk:
            with walk:
                removed = max(removed, await layer.store.aclear())
            self._epochs.change_all()
        walk.judge()
        return removed

    async def aclose(self) -> None:
        for layer in self._layers:
            await layer.store.aclose()
