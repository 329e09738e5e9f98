"""Which calls got past the cache: counted, listed, and asserted on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import overload

from llmcache.testing.asked import Asked, asked_of
from llmcache.testing.layers import Layer, StandIn, push, remove
from llmcache.testing.problems import CassetteError
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest


class UpstreamCalls(Layer, Sequence[Asked]):
    """The calls that the cache did not answer, in order, live and replayed ones alike.

    Each has `kind`, `model`, `provider`, `stream` and `params`. Put it in with `with`.
    """

    def __init__(self) -> None:
        self._made: list[Asked] = []

    def __enter__(self) -> UpstreamCalls:
        push(self)
        return self

    def __exit__(self, *exception: object) -> None:
        remove(self)

    @overload
    def __getitem__(self, place: int) -> Asked: ...
    @overload
    def __getitem__(self, place: slice) -> list[Asked]: ...
    def __getitem__(self, place: int | slice) -> Asked | list[Asked]:
        return self._made[place]

    def __len__(self) -> int:
        return len(self._made)

    def __repr__(self) -> str:
        return f"<UpstreamCalls: {len(self)}>"

    def clear(self) -> None:
        """Begin to count anew."""
        self._made.clear()

    def assert_count(self, number: int) -> None:
        """Fail unless there were so many calls; the message lists them.

        Raises:
            AssertionError: there were more or fewer.
        """
        made = list(self._made)
        if len(made) != number:
            lines = [f"  {place}: {asked}" for place, asked in enumerate(made, 1)]
            raise AssertionError(
                "\n".join([f"{number} upstream calls expected, {len(made)} made:", *lines])
                if made
                else f"{number} upstream calls expected, none made."
            )

    def stand_in(self, upstream: BaseUpstream) -> BaseUpstream:
        return _Counting(upstream, self)

    def note(self, upstream: BaseUpstream, request: UpstreamRequest, stream: bool) -> None:
        """Count a call."""
        try:
            asked = asked_of(upstream, request, stream=stream)
        except CassetteError as error:  # counted all the same: the provider may well take it
            asked = Asked(request.kind, request.model, upstream.name, stream, {"": str(error)})
        self._made.append(asked)


class _Counting(StandIn):
    def __init__(self, upstream: BaseUpstream, calls: UpstreamCalls) -> None:
        super().__init__(upstream)
        self._calls = calls

    def call(self, request: UpstreamRequest) -> bytes:
        self._calls.note(self.real, request, False)
        return self.real.call(request)

    async def acall(self, request: UpstreamRequest) -> bytes:
        self._calls.note(self.real, request, False)
        return await self.real.acall(request)

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        self._calls.note(self.real, request, True)
        return self.real.stream(request)

    def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        self._calls.note(self.real, request, True)
        return self.real.astream(request)


@contextmanager
def assert_upstream_calls(number: int) -> Iterator[UpstreamCalls]:
    """Fail unless the block makes so many calls that the cache does not answer.

    Raises:
        AssertionError: it made more or fewer; the message lists them.
    """
    with UpstreamCalls() as calls:
        yield calls
    calls.assert_count(number)
