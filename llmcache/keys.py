"""From a call to its key: canonical JSON, hashed.

Two calls share a key exactly when the same provider would get the same question in the same cache
space. So the material is all that is sent, unknown parameters included, but for a list of what
cannot change the answer (`calls.UNKEYED`, `calls.TRANSPORT`). Canonical JSON keeps `1` and `"1"`
apart and makes the order of arguments and of dict keys irrelevant.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from django.utils.functional import Promise

from llmcache.exceptions import LLMCacheError

if TYPE_CHECKING:  # calls know of upstreams, which write bodies as keys are written
    from llmcache.calls import Call

SCHEMA: Final = 1
_SORTED: Final = orjson.OPT_SORT_KEYS
_SORTED_ANY_KEYS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS

# Headers that identify the caller, the client or the trace, never the question.
SAFE_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "api-key",
        "authorization",
        "b3",
        "baggage",
        "elastic-apm-traceparent",
        "idempotency-key",
        "openai-organization",
        "openai-project",
        "sentry-trace",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-amzn-trace-id",
        "x-api-key",
        "x-client-request-id",
        "x-cloud-trace-context",
        "x-request-id",
    }
)
SAFE_PREFIXES: Final = ("x-b3-", "x-datadog-", "x-stainless-")  # of tracers, and of the SDKs


class Uncacheable(LLMCacheError):
    """The call has no canonical form, so it bypasses the cache; the text says why."""


def wire_default(value: object) -> Any:
    """What orjson cannot serialise by itself, as it travels to the provider.

    Used for the key and for the request's body alike, so that both always agree.
    """
    if isinstance(value, type):
        make_schema = getattr(value, "model_json_schema", None)
        if make_schema is not None:
            return _schema(value)
    elif isinstance(value, Promise):
        return str(value)
    elif isinstance(value, Mapping):
        plain = dict(value)
        refuse_not_finite(plain.values())
        return plain
    else:
        dump = getattr(value, "model_dump", None)
        if dump is not None:
            dumped = dump(mode="json", exclude_unset=True)
            refuse_not_finite([dumped])
            return dumped
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is not JSON")


@lru_cache(maxsize=256)
def _schema(model_class: Any) -> Any:
    return model_class.model_json_schema()


def canonical(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON of a call's material, or of its parameters alone.

    Raises:
        Uncacheable: something in it has no JSON form, or is NaN or infinite.
    """
    data = canonical_again(value)
    refuse_not_finite(value.values())
    return data


def canonical_again(value: Mapping[str, Any]) -> bytes:
    """As `canonical`, of what has had a digest, and so neither NaN nor an infinity in it."""
    try:
        try:
            return orjson.dumps(value, default=wire_default, option=_SORTED)
        except TypeError:  # slower, and only needed for dicts such as logit_bias={50256: -100}
            return orjson.dumps(value, default=wire_default, option=_SORTED_ANY_KEYS)
    except (TypeError, ValueError, RecursionError) as error:
        cause = error.__cause__ or error
        raise Uncacheable(f"the request cannot be written as JSON: {cause}") from error


_HARMLESS: Final = frozenset({bool, type(None)})


def refuse_not_finite(values: Iterable[Any]) -> None:
    """orjson writes NaN and the infinities as null, which would make them one with None.

    Args:
        values: a list's items or a dict's values; what is in them is walked too.
    """
    for value in values:
        kind = type(value)
        if kind is str or kind is int:  # the most usual first: each hit comes by here
            continue
        if kind is dict:
            refuse_not_finite(value.values())
        elif kind is list:
            refuse_not_finite(value)
        elif kind not in _HARMLESS:
            _refuse_if_not_finite(value)


def _refuse_if_not_finite(value: Any) -> None:
    if isinstance(value, float):
        if not isfinite(value):
            raise Uncacheable(f"it contains {value}, which is not JSON")
    elif isinstance(value, dict):
        refuse_not_finite(value.values())
    elif isinstance(value, (list, tuple)):
        refuse_not_finite(value)


def material(
    call: Call, *, model: str, provider: str, namespace: str | None, scope: str | None, version: int
) -> dict[str, Any]:
    """All that a call's key depends on, by name.

    Args:
        model: the model's name at its provider.
        provider: the provider's identity, base_url included.
        version: VERSION of the alias.
    """
    params = call.params
    result = _asked(call.kind, model, provider, namespace, scope, version, params)
    if call.kind == "transcription":
        result["params"] = {name: value for name, value in params.items() if name != "file"}
        result["file"] = file_digest(params["file"])
    if call.transport:
        _add_transport(result, call.transport)
    if call.controls.key is not None:
        return own_key(result, call.controls.key)
    return result


def _asked(
    kind: str,
    model: str,
    provider: str,
    namespace: str | None,
    scope: str | None,
    version: int,
    params: dict[str, Any],
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": kind,
        "model": model,
        "provider": provider,
        "version": version,
        "params": params,
    }
    if namespace is not None:
        result["namespace"] = namespace
    if scope is not None:
        result["scope"] = scope
    return result


def is_plain(call: Call) -> bool:
    """Whether a call's material has nothing but what `plain_digest` takes."""
    controls = call.controls
    return (
        not call.transport
        and controls.key is None
        and controls.bucket is None
        and call.kind not in _OTHERWISE
    )


_OTHERWISE: Final = frozenset({"embedding", "transcription"})  # by the item, by the file's content


def plain_digest(
    kind: str,
    model: str,
    provider: str,
    namespace: str | None,
    scope: str | None,
    version: int,
    params: dict[str, Any],
) -> str:
    """`digest_of` the `material` of a plain call, whose parameters alone are written anew.

    Raises:
        Uncacheable: as `canonical`.
    """
    begun, rest = _frame(kind, model, provider, namespace, scope, version)
    hasher = begun.copy()
    hasher.update(canonical(params))
    hasher.update(rest)
    digest: str = hasher.hexdigest()
    return digest


@lru_cache(maxsize=4096)  # scopes can be many; what falls out costs some microseconds
def _frame(
    kind: str, model: str, provider: str, namespace: str | None, scope: str | None, version: int
) -> tuple[Any, bytes]:
    """Of canonical JSON of a plain call's material: the hash of what comes before its parameters,
    and what comes after them.
    """
    whole = canonical(_asked(kind, model, provider, namespace, scope, version, {}))
    before, name, after = whole.partition(b'"params":')  # in texts, quotation marks are escaped
    return sha256(before + name), after.removeprefix(b"{}")


def _add_transport(result: dict[str, Any], transport: Mapping[str, Any]) -> None:
    headers = asking_headers(transport.get("extra_headers") or {})
    if headers:
        result["headers"] = {name: _hidden(value) for name, value in headers.items()}
    query = transport.get("extra_query")
    if query:
        result["query"] = {name: _hidden(value) for name, value in query.items()}


def asking_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that can change an answer, by their names in lower case."""
    lowered = {name.lower(): value for name, value in headers.items()}
    return {
        name: value
        for name, value in lowered.items()
        if name not in SAFE_HEADERS and not name.startswith(SAFE_PREFIXES)
    }


def _hidden(value: object) -> str:
    """Headers and query may hold secrets: the material shows only a hash of them."""
    return sha256(orjson.dumps(value, default=str)).hexdigest()


def own_key(result: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The material when the user's own key stands for the request's parameters."""
    kept = ("schema", "kind", "version", "namespace", "scope")
    return {name: result[name] for name in kept if name in result} | {"key": key}


def digest_of(material: Mapping[str, Any]) -> str:
    """sha256 of the canonical material, 64 hexadecimal characters.

    Raises:
        Uncacheable: as `canonical`.
    """
    return sha256(canonical(material)).hexdigest()


def item_digests(material: Mapping[str, Any], items: Iterable[object]) -> list[str]:
    """One digest per item of an embedding call's input, as if each had been asked for alone."""
    return [digest_of(item_material(material, item)) for item in items]


def item_material(material: Mapping[str, Any], item: object) -> dict[str, Any]:
    """The material of one item of an embedding call's input, as if it had been asked for alone."""
    if "params" in material:
        return {**material, "params": {**material["params"], "input": item}}
    # The caller's own key stands for the whole list: each item still needs its own.
    return {**material, "item": item}


def file_digest(file: Any) -> str:
    """sha256 of a file's content: bytes, a path, an open file, a Django file or a (name, content)
    pair.

    Names, types and the position of an open file make no difference; the position is put back.

    Raises:
        Uncacheable: the content cannot be read twice.
    """
    if isinstance(file, tuple):
        return file_digest(file[1])
    if isinstance(file, (bytes, bytearray, memoryview)):
        return sha256(file).hexdigest()
    if isinstance(file, (str, os.PathLike)):
        with Path(file).open("rb") as opened:
            return _hash_blocks(opened.read)
    if callable(getattr(file, "chunks", None)):  # django.core.files.File
        file = file.file
    try:
        start = file.tell()
        file.seek(0)
        try:
            return _hash_blocks(file.read)
        finally:
            file.seek(start)
    except (AttributeError, OSError) as error:
        raise Uncacheable(f"the file cannot be read twice: {error}") from error


def _hash_blocks(read: Callable[[int], bytes]) -> str:
    hasher = sha256()
    while block := read(1 << 20):
        hasher.update(block)
    return hasher.hexdigest()


def diff(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Where two calls' material differs: path to (value in the first, value in the second).

    A path reads as `params.messages[0].content`; a part that one side lacks is None there.
    """
    found: dict[str, tuple[Any, Any]] = {}
    _diff(_plain(first), _plain(second), "", found)
    return found


def _plain(material: Mapping[str, Any]) -> Any:
    return orjson.loads(canonical(material))


def _diff(first: Any, second: Any, path: str, found: dict[str, tuple[Any, Any]]) -> None:
    if type(first) is type(second) and isinstance(first, dict):
        for name in sorted(first.keys() | second.keys()):
            place = f"{path}.{name}" if path else name
            _diff(first.get(name), second.get(name), place, found)
    elif type(first) is type(second) and isinstance(first, list) and len(first) == len(second):
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            _diff(one, other, f"{path}[{index}]", found)
    elif type(first) is not type(second) or first != second:
        found[path] = (first, second)
