"""A function in a provider's place: asked for an answer, it is called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from llmcache import events
from llmcache.exceptions import UpstreamError
from llmcache.functions.values import Forms, Unstorable, head_of_generator
from llmcache.own_code import OwnCode, refused
from llmcache.singleflight import Unshared
from llmcache.upstreams.base import UpstreamRequest


class FunctionCall(OwnCode):
    """One call of one function.

    Attributes:
        value: what the function has returned or, of a generator, yielded last.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        forms: Forms,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__()
        self.function, self.function_name, self.forms = function, name, forms
        self.args, self.kwargs = args, kwargs
        self.value: Any = None

    @property
    def _is_generator(self) -> bool:
        return self.plan is not None and self.plan.call.stream

    def start(self) -> Any:
        """The function's result, or whatever it gives in place of one."""
        return self.function(*self.args, **self.kwargs)

    def call(self, request: UpstreamRequest) -> bytes:
        with self.running():
            try:
                if self._is_generator:  # asked again in the background: nobody reads its values
                    return b"\n".join(self.stream(request))
                value = self.start()
            except UpstreamError:
                raise  # an old answer may serve; who asks the same gets the same error
            except Exception as error:
                raise Unshared(error) from None
            self.value = value
            return self._payload(value)

    async def acall(self, request: UpstreamRequest) -> bytes:
        with self.running():
            try:
                if self._is_generator:  # asked again in the background: nobody reads its values
                    return b"\n".join([line async for line in self.astream(request)])
                value = await self.start()
            except UpstreamError:
                raise
            except Exception as error:
                raise Unshared(error) from None
            self.value = value
            return self._payload(value)

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        yield head_of_generator()
        generator = self.start()
        try:
            while True:
                try:
                    self.value = next(generator)
                except StopIteration as end:
                    if end.value is not None:
                        self._tell("it returns a value besides those that it yields: yield it")
                    return
                yield self._line(self.value)
        finally:
            generator.close()

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        yield head_of_generator()
        generator = self.start()
        try:
            async for value in generator:
                self.value = value
                yield self._line(value)
        finally:
            await generator.aclose()

    def _payload(self, value: Any) -> bytes:
        try:
            return self.forms.payload(value)
        except Unstorable as reason:
            self._tell(str(reason))
            return refused(str(reason))

    def _line(self, value: Any) -> bytes:
        try:
            return self.forms.line(value)
        except Unstorable as reason:
            self._tell(str(reason))
            return b""

    def _tell(self, reason: str) -> None:
        events.warn_once(
            "function_refused", "%s: a result is not stored: %s.", self.function_name, reason
        )
        if self._is_generator:
            self.refuse(reason)
