"""The first door: `llmcache.completion(...)` and its siblings, in the shapes of the OpenAI API.

Every function takes the provider's parameters, known to us or not, and these of ours:

    cache: controls for this call, such as {"ttl": 60}; see `llmcache.controls`.
    caching: False bypasses the cache.
    using: the LLMCACHE alias to use in place of `llmcache.cache`.
    api_key, base_url, timeout, max_retries, extra_headers, extra_query: for the provider's client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcache import aclient, client, keys, plans, state
from llmcache.caching import Cache, for_alias
from llmcache.calls import build
from llmcache.exceptions import InvalidRequest
from llmcache.response import Response
from llmcache.state import Switched
from llmcache.upstreams import upstreams


def _run(kind: str, model: object, arguments: Mapping[str, Any]) -> Any:
    using = arguments.get("using")
    store = state.current() if using is None else for_alias(using)
    return client.run(build(kind, model, arguments), store)


async def _arun(kind: str, model: object, arguments: Mapping[str, Any]) -> Any:
    using = arguments.get("using")
    store = state.current() if using is None else for_alias(using)
    return await aclient.run(build(kind, model, arguments, is_async=True), store)


def completion(model: str, messages: list[Any] | None = None, **kwargs: Any) -> Any:
    """A chat completion: a Response or, with `stream=True`, a Stream of chunks.

    Raises:
        InvalidRequest: a wrong argument, control or alias.
        NotCached: `only-if-cached` was asked for and nothing is cached.
        UpstreamError: the provider failed; the subclass tells how.
    """
    kwargs["messages"] = messages
    return _run("completion", model, kwargs)


async def acompletion(model: str, messages: list[Any] | None = None, **kwargs: Any) -> Any:
    """As `completion`; with `stream=True` it gives an AsyncStream."""
    kwargs["messages"] = messages
    return await _arun("completion", model, kwargs)


def text_completion(model: str, prompt: Any = None, **kwargs: Any) -> Any:
    """A completion of a plain prompt: a Response, or a Stream with `stream=True`. Raises as
    `completion`."""
    kwargs["prompt"] = prompt
    return _run("text_completion", model, kwargs)


async def atext_completion(model: str, prompt: Any = None, **kwargs: Any) -> Any:
    """As `text_completion`; with `stream=True` it gives an AsyncStream."""
    kwargs["prompt"] = prompt
    return await _arun("text_completion", model, kwargs)


def responses(model: str, input: Any = None, **kwargs: Any) -> Any:
    """A call of the Responses API: a Response, or a Stream with `stream=True`. Raises as
    `completion`."""
    kwargs["input"] = input
    return _run("responses", model, kwargs)


async def aresponses(model: str, input: Any = None, **kwargs: Any) -> Any:
    """As `responses`; with `stream=True` it gives an AsyncStream."""
    kwargs["input"] = input
    return await _arun("responses", model, kwargs)


def messages(model: str, messages: list[Any] | None = None, **kwargs: Any) -> Any:
    """A call of Anthropic's Messages API: a Response, or a Stream of its events with
    `stream=True`. Raises as `completion`."""
    kwargs["messages"] = messages
    return _run("messages", model, kwargs)


async def amessages(model: str, messages: list[Any] | None = None, **kwargs: Any) -> Any:
    """As `messages`; with `stream=True` it gives an AsyncStream."""
    kwargs["messages"] = messages
    return await _arun("messages", model, kwargs)


def embedding(model: str, input: Any = None, **kwargs: Any) -> Response:
    """Embeddings of a text or of a list of texts (or of token ids), each item cached by itself.

    `response.cache.items` is (items from the cache, items in all). Raises as `completion`.
    """
    kwargs["input"] = input
    result: Response = _run("embedding", model, kwargs)
    return result


async def aembedding(model: str, input: Any = None, **kwargs: Any) -> Response:
    """As `embedding`."""
    kwargs["input"] = input
    result: Response = await _arun("embedding", model, kwargs)
    return result


def transcription(model: str, file: Any = None, **kwargs: Any) -> Response:
    """The text of an audio file, keyed by the file's bytes.

    Args:
        file: bytes, a path, an open file, a Django file, or a (name, content[, type]) tuple.

    Raises as `completion`.
    """
    kwargs["file"] = file
    result: Response = _run("transcription", model, kwargs)
    return result


async def atranscription(model: str, file: Any = None, **kwargs: Any) -> Response:
    """As `transcription`."""
    kwargs["file"] = file
    result: Response = await _arun("transcription", model, kwargs)
    return result


def enable_cache(type: str | None = None, **kwargs: Any) -> Switched:
    """Put a cache in force: `Cache(type, **kwargs)` or, without arguments, the settings' "default".

    Also a context manager, which holds for its body in this thread or task only.
    """
    if type is None and not kwargs:
        return Switched(for_alias("default"))
    return Switched(Cache(type or "local", **kwargs))


def disable_cache() -> Switched:
    """Switch caching off. Also a context manager, as `enable_cache`."""
    return Switched(None)


def update_cache(**kwargs: Any) -> Switched:
    """Replace the cache in force by one made with these arguments changed. Also a context manager.

    Of a store that the settings describe, `ttl`, `namespace`, `supported_call_types` and `mode` can
    be changed: the entries stay where they are.

    Raises:
        InvalidRequest: caching is off, so there is nothing to change; or a wrong argument.
    """
    cache = state.current()
    if cache is None:
        raise InvalidRequest("The cache is off; call enable_cache() first.")
    return Switched(cache.with_arguments(kwargs))


def explain_key(
    model: str, *, kind: str = "completion", using: str | None = None, **kwargs: Any
) -> dict[str, Any]:
    """What the key of a call is made of, by name, and the `digest` that results.

    Args:
        kind: "completion", "text_completion", "responses", "messages", "embedding" or
            "transcription".
        using: the LLMCACHE alias; otherwise the cache in force.
        kwargs: the call's other arguments.

    Raises:
        Uncacheable: the call has no canonical form, so it would bypass the cache.
        InvalidRequest: as `completion`, or caching is off.
    """
    store = state.current() if using is None else for_alias(using)
    if store is None:
        raise InvalidRequest("The cache is off; call enable_cache() first.")
    call = build(kind, model, kwargs)
    material = plans.material(call, store, upstreams.route(call.model))
    return {**material, "digest": keys.digest_of(material)}


def diff_keys(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Where two results of `explain_key` differ: why one call missed where the other hit."""
    return {path: values for path, values in keys.diff(first, second).items() if path != "digest"}
