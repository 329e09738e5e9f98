"""What of a prompt the index may keep: nothing, a preview or all of it, as STORE_PROMPTS says.

A key's material is kept as JSON in any case, so that staff can see what a key is made of. Unless
STORE_PROMPTS is "full", each part of it that is a prompt is replaced by its size and a hash. REDACT
is applied to every text of a prompt before anything of it is kept; where it fails, nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

import orjson
from django.utils.module_loading import import_string

from llmcache import conf, events
from llmcache.text import PREVIEW_LENGTH, clean

PROMPTS: Final = frozenset(
    {
        "arguments",
        "body",
        "input",
        "instructions",
        "key",
        "messages",
        "prediction",
        "prompt",
        "query",
        "suffix",
        "system",
    }
)
"""The parameters whose values are the users' own words."""
_LONGEST_MATERIAL: Final = 1_000_000
_LONGEST_DATA: Final = 512  # characters of an image or a sound that is part of a message

Redact = Callable[[str], str]


def described(material: bytes) -> tuple[str, str]:
    """The preview of a prompt and the material to show, both as the settings allow.

    Args:
        material: canonical JSON of a key's material.
    """
    parsed = orjson.loads(material)
    config = conf.config()
    if config.store_prompts == "none":
        return "", _written(_hidden(parsed))
    try:
        allowed = _redacted(parsed, _redactor(config.redact))
    except Exception:
        events.warn_once("redact_error", "REDACT failed; nothing of the prompt is kept")
        return "", _written(_hidden(parsed))
    preview = clean(" ".join(_preview(allowed).split()), PREVIEW_LENGTH)
    whole = config.store_prompts == "full"
    shown = _written(allowed) if whole else ""
    if not whole or len(shown) > _LONGEST_MATERIAL:
        shown = _written(_hidden(parsed))
    return preview, shown


def kept(text: str) -> tuple[str, bool]:
    """What of one prompt's text may be kept, and whether that is all of it."""
    config = conf.config()
    if config.store_prompts == "none":
        return "", False
    try:
        allowed = _redactor(config.redact)(text)
    except Exception:
        events.warn_once("redact_error", "REDACT failed; nothing of the prompt is kept")
        return "", False
    length = _LONGEST_MATERIAL if config.store_prompts == "full" else PREVIEW_LENGTH
    cleaned = clean(allowed, length)
    return cleaned, cleaned == text


def redacted(params: dict[str, Any]) -> dict[str, Any]:
    """A call's parameters with REDACT applied to every text of a prompt, and long data in it, such
    as an image, replaced by its hash."""
    material = _redacted({"params": params}, _redactor(conf.config().redact))
    found: dict[str, Any] = material["params"]
    return found


def _written(material: object) -> str:
    return clean(orjson.dumps(material).decode())


def _redactor(redact: str | Redact | None) -> Redact:
    if redact is None:
        return lambda text: text
    return import_string(redact) if isinstance(redact, str) else redact


def _redacted(material: dict[str, Any], redact: Redact) -> dict[str, Any]:
    result = dict(material)
    params = result.get("params")
    if isinstance(params, dict):
        result["params"] = {
            name: _each_text(value, redact) if name in PROMPTS else value
            for name, value in params.items()
        }
    for name in ("item", "key"):
        if name in result:
            result[name] = _each_text(result[name], redact)
    return result


def _each_text(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        if len(value) > _LONGEST_DATA and value.startswith("data:"):
            return _digest_of(value, "data")
        return redact(value)
    if isinstance(value, list):
        return [_each_text(part, redact) for part in value]
    if isinstance(value, dict):
        return {
            name: _digest_of(part, "data")
            if name == "data" and isinstance(part, str) and len(part) > _LONGEST_DATA
            else part
            if name in ("role", "type")
            else _each_text(part, redact)
            for name, part in value.items()
        }
    return value


def _hidden(material: dict[str, Any]) -> dict[str, Any]:
    """The material with a size and a hash in place of each prompt."""
    result = dict(material)
    params = result.get("params")
    if isinstance(params, dict):
        result["params"] = {
            name: _digest_of(value, "prompt") if name in PROMPTS else value
            for name, value in params.items()
        }
    for name in ("item", "key"):
        if name in result:
            result[name] = _digest_of(result[name], "prompt")
    return result


def _digest_of(value: Any, what: str) -> str:
    raw = value.encode("utf-8", "replace") if isinstance(value, str) else orjson.dumps(value)
    return f"<{what}: {len(raw)} bytes, sha256 {sha256(raw).hexdigest()[:16]}>"


def _preview(material: Mapping[str, Any]) -> str:
    """The last thing that was said to the model, as text."""
    params = material.get("params")
    if not isinstance(params, dict):
        return str(material.get("key", ""))
    for name in ("messages", "input", "prompt"):
        value = params.get(name)
        if value:
            return _text(value)
    for name in ("key", "body", "arguments", "query"):
        value = params.get(name)
        if value:
            inner = _preview({"params": value}) if isinstance(value, dict) else _text(value)
            return inner or orjson.dumps(value).decode()
    return str(material.get("item", ""))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _text(value.get("content") or value.get("text") or "")
    if isinstance(value, list):
        if value and isinstance(value[0], dict) and "role" in value[0]:
            said = [part for part in value if isinstance(part, dict)]
            users = [part for part in said if part.get("role") == "user"]
            return _text((users or said)[-1])
        return " ".join(_text(part) for part in value if isinstance(part, (str, dict)))
    return ""
