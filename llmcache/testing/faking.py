"""Answers without a network and without a cassette: what the test says, and to the rest an echo."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmcache.conf import ProviderSettings
from llmcache.exceptions import UpstreamError
from llmcache.testing.counting import UpstreamCalls
from llmcache.testing.layers import Layer, push, remove
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest
from llmcache.upstreams.failures import from_status
from llmcache.upstreams.fake import FakeUpstream

Answer = str | int | UpstreamError | Callable[[UpstreamRequest], str]
"""A text; an HTTP status or an error to fail with; or a function of the request to a text."""


class FakeAnswers(Layer):
    """Stands in for every provider of LLMCACHE_PROVIDERS. Put it in with `with`.

    Args:
        answers: from a prompt's text, the last message's, to its Answer.
        default: the Answer to other prompts; None for one that quotes them.

    Attributes:
        answers, default: may be changed between calls.
        calls: those that the cache did not answer; `calls.assert_count(1)`.
    """

    is_source = True

    def __init__(
        self, answers: Mapping[str, Answer] | None = None, default: Answer | None = None
    ) -> None:
        self.answers: dict[str, Answer] = dict(answers or {})
        self.default = default
        self.calls = UpstreamCalls()

    def __enter__(self) -> FakeAnswers:
        push(self)
        push(self.calls)
        return self

    def __exit__(self, *exception: object) -> None:
        remove(self.calls)
        remove(self)

    def stand_in(self, upstream: BaseUpstream) -> BaseUpstream:
        return _Fake(upstream, self)


class _Fake(FakeUpstream):
    """One provider's stand-in: the same identity, so that keys are those of the provider."""

    def __init__(self, real: BaseUpstream, told: FakeAnswers) -> None:
        super().__init__(ProviderSettings(name=real.name))
        self._real = real
        self._told = told

    def identity(self, base_url: str | None = None) -> str:
        return self._real.identity(base_url)

    def _reply(self, request: UpstreamRequest, prompt: str) -> str:
        answer = self._told.answers.get(prompt, self._told.default)
        if answer is None:
            return super()._reply(request, prompt)
        if isinstance(answer, UpstreamError):
            raise answer
        if isinstance(answer, int):
            text = f"asked to fail with {answer}"
            raise from_status(answer, text, request_id="", provider=self.name)
        return answer(request) if callable(answer) else answer
