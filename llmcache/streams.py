"""A recorded stream and the whole answer: two forms of one entry, each made from the other.

Pure functions over the provider formats: OpenAI's chat completions, completions and responses, and
by `llmcache.message_format` Anthropic's. What a view or a function has said has one form only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from llmcache import message_format
from llmcache.usage import Usage, reported

Json = dict[str, Any]
OWN_KINDS: Final = ("function", "view")
"""Calls of the site's own code, whose answers are no provider's format."""
_CHUNK_WORDS: Final = re.compile(r"\s*\S+(?:\s+\S+){0,7}\s*|\s+")
_CHUNK_OBJECTS: Final = {
    "completion": ("chat.completion", "chat.completion.chunk"),
    "text_completion": ("text_completion", "text_completion"),
}
# Padding against eavesdroppers who measure packets: no part of the answer.
USAGE_CHUNKS: Final = "usage_chunks"
"""In an entry's header: which of its recorded chunks `is_usage_chunk`."""
NO_ANSWER: Final = "no_answer"
"""In the header of a live stream's answer, which is stored nowhere: its events amount to none."""
_PADDING: Final = "obfuscation"


def is_usage_chunk(raw: bytes) -> bool:
    """Whether an event holds nothing but the stream's usage, as OpenAI sends it last if asked
    to.
    """
    if b'"usage"' not in raw or b'"choices"' not in raw:
        return False
    parsed = orjson.loads(raw)
    return isinstance(parsed, dict) and parsed.get("choices") == [] and bool(parsed.get("usage"))


def usage_chunks(chunks: Iterable[bytes]) -> list[int]:
    """Which of a stream's events `is_usage_chunk`: what USAGE_CHUNKS notes of a provider's."""
    return [place for place, chunk in enumerate(chunks) if is_usage_chunk(chunk)]


def assemble(kind: str, chunks: Sequence[bytes]) -> bytes:
    """The whole answer that a recorded stream amounts to, as the provider sends it unstreamed.

    Args:
        kind: a kind of call that can stream.
        chunks: each event's JSON, in order.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: the events are not of that format.
    """
    if kind in OWN_KINDS:
        return b"\n".join(chunks)
    parsed = [orjson.loads(chunk) for chunk in chunks]
    if not parsed:
        raise ValueError("an empty stream has no answer")
    if kind == "messages":
        return orjson.dumps(message_format.assemble(parsed))
    whole = _final_response(parsed) if kind == "responses" else _assemble_choices(kind, parsed)
    return orjson.dumps(whole)


def _final_response(events: Sequence[Json]) -> Json:
    for event in reversed(events):
        if event["type"] in ("response.completed", "response.incomplete", "response.failed"):
            response: Json = event["response"]
            return response
    raise ValueError("the stream has no final response")


def _assemble_choices(kind: str, chunks: Sequence[Json]) -> Json:
    whole: Json = {"object": _CHUNK_OBJECTS[kind][0]}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name not in ("choices", "object", "usage", _PADDING):
                _take(whole, name, value)
        if chunk.get("usage"):
            whole["usage"] = chunk["usage"]
        for part in chunk.get("choices") or ():
            choice = choices.setdefault(part.get("index", 0), _new_choice(kind, part))
            _add_part(kind, choice, part)
    whole["choices"] = [_finished(choices[index]) for index in sorted(choices)]
    leading: list[str] = [
        name for name in ("id", "object", "created", "model", "choices") if name in whole
    ]
    return {name: whole.pop(name) for name in leading} | whole


def _new_choice(kind: str, part: Json) -> Json:
    index = part.get("index", 0)
    if kind == "text_completion":
        return {"index": index, "text": "", "logprobs": None, "finish_reason": None}
    message = {"role": "assistant", "content": None}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": None}


def _add_part(kind: str, choice: Json, part: Json) -> None:
    for name, value in part.items():
        if name == "logprobs":
            choice["logprobs"] = _joined(choice["logprobs"], value)
        elif name == "text":
            choice["text"] += value or ""
        elif name not in ("index", "delta"):
            _take(choice, name, value)
    if kind == "completion":
        _add_delta(choice["message"], part.get("delta") or {})


def _take(target: Json, name: str, value: Any) -> None:
    """The last value that says something; a null only where nothing was said."""
    if value is not None or name not in target:
        target[name] = value


def _add_delta(message: Json, delta: Json) -> None:
    for name, value in delta.items():
        if name == "role":
            message["role"] = value or message["role"]
        elif name == "tool_calls" and value:
            message["tool_calls"] = message.get("tool_calls") or []
            _add_tool_calls(message["tool_calls"], value)
        elif name == "function_call" and value:
            message["function_call"] = _joined_function(message.get("function_call") or {}, value)
        else:
            message[name] = _joined(message.get(name), value)


def _add_tool_calls(calls: list[Json], parts: Iterable[Json]) -> None:
    """Merge deltas of tool calls. Each call keeps its `index` until `_finished` takes it off."""
    for position, part in enumerate(parts):
        call = _call_of(calls, part, position)
        for name, value in part.items():
            if name in ("id", "type"):
                call[name] = value or call.get(name)
            elif name == "function":
                call[name] = _joined_function(call.get(name) or {}, value or {})
            elif name != "index":
                call[name] = _joined(call.get(name), value)


def _call_of(calls: list[Json], part: Json, position: int) -> Json:
    """The call that a delta goes on with, or a new one.

    Some providers number every call 0, or none, and tell them apart by their ids alone.
    """
    index = part.get("index")
    index = position if index is None else index
    for call in reversed(calls):
        if call["index"] == index:
            if part.get("id") and call.get("id") and part["id"] != call["id"]:
                break
            return call
    calls.append({"index": index})
    return calls[-1]


def _joined_function(before: Json, more: Json) -> Json:
    """Arguments grow; a name comes whole, and some providers repeat it with every delta."""
    joined: Json = _joined(before, more)
    if before.get("name") and before["name"] == more.get("name"):
        joined["name"] = before["name"]
    return joined


def _joined(before: Any, more: Any) -> Any:
    """Texts and lists grow, objects grow member by member, anything else is replaced."""
    if before is None:
        return more
    if more is None:
        return before
    if isinstance(before, str) and isinstance(more, str):
        return before + more
    if isinstance(before, list) and isinstance(more, list):
        return before + more
    if isinstance(before, dict) and isinstance(more, dict):
        names = [*before, *(name for name in more if name not in before)]
        return {name: _joined(before.get(name), more.get(name)) for name in names}
    return more


def _finished(choice: Json) -> Json:
    calls = choice.get("message", {}).get("tool_calls")
    if calls:
        calls.sort(key=lambda call: call["index"])
        for call in calls:
            del call["index"]
    return choice


def split(kind: str, body: bytes) -> list[bytes]:
    """A stream that amounts to a whole answer, as the provider would have sent it.

    Args:
        kind: a kind of call that can stream.

    Returns:
        Each event's JSON, in order; of chat completions and completions the usage comes in a chunk
        of its own, without choices.
    """
    if kind in OWN_KINDS:
        return body.split(b"\n")
    whole = orjson.loads(body)
    events: Iterable[Json]
    if kind == "messages":
        events = message_format.split(whole, cut_text)
    else:
        events = _split_response(whole) if kind == "responses" else _split_choices(kind, whole)
    return [orjson.dumps(event) for event in events]


def _split_choices(kind: str, whole: Json) -> Iterable[Json]:
    known = ("object", "choices", "usage")
    common = {name: value for name, value in whole.items() if name not in known}
    common["object"] = _CHUNK_OBJECTS[kind][1]
    for choice in whole["choices"]:
        index = choice.get("index", 0)
        for part in _choice_parts(kind, choice):
            yield {**common, "choices": [{"index": index, "finish_reason": None, **part}]}
    if whole.get("usage"):
        yield {**common, "choices": [], "usage": whole["usage"]}


def _choice_parts(kind: str, choice: Json) -> Iterable[Json]:
    taken = ("index", "message", "text", "logprobs", "finish_reason")
    rest = {name: value for name, value in choice.items() if name not in taken}
    end = {"finish_reason": choice.get("finish_reason"), **rest}
    logprobs = {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
    if kind == "text_completion":
        for position, text in enumerate(cut_text(choice.get("text") or "")):
            yield {"text": text, **(logprobs if position == 0 else {})}
        yield {"text": "", **end}
        return
    message = choice["message"]
    content, calls = message.get("content"), message.get("tool_calls")
    first = {"role": message.get("role", "assistant"), "content": "" if content == "" else None}
    first |= {name: value for name, value in message.items() if name not in (*first, "tool_calls")}
    if "tool_calls" in message and not calls:
        first["tool_calls"] = calls
    yield {"delta": first, **logprobs}
    if isinstance(content, str):
        for text in cut_text(content):
            yield {"delta": {"content": text}}
    elif content is not None:
        yield {"delta": {"content": content}}
    for position, call in enumerate(calls or ()):
        yield {"delta": {"tool_calls": [{"index": position, **call}]}}
    yield {"delta": {}, **end}


def cut_text(text: str) -> list[str]:
    """A text in pieces of some eight words, which join to the text exactly."""
    return _CHUNK_WORDS.findall(text)


def _split_response(whole: Json) -> Iterable[Json]:
    number = 0

    def event(kind: str, **fields: Any) -> Json:
        nonlocal number
        number += 1
        return {"type": f"response.{kind}", "sequence_number": number - 1, **fields}

    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield event("created", response=begun)
    yield event("in_progress", response=begun)
    for index, item in enumerate(whole.get("output") or ()):
        yield event("output_item.added", output_index=index, item=_begun_item(item))
        place = {"item_id": item.get("id", ""), "output_index": index}
        for kind, fields in _item_events(item):
            yield event(kind, **place, **fields)
        yield event("output_item.done", output_index=index, item=item)
    ends = {"incomplete": "incomplete", "failed": "failed"}
    yield event(ends.get(whole.get("status", ""), "completed"), response=whole)


def _begun_item(item: Json) -> Json:
    begun = {**item, "status": "in_progress"}
    if item.get("type") == "message":
        begun["content"] = []
    elif item.get("type") == "function_call":
        begun["arguments"] = ""
    return begun


def _item_events(item: Json) -> Iterable[tuple[str, Json]]:
    if item.get("type") == "function_call":
        arguments = item.get("arguments", "")
        yield "function_call_arguments.delta", {"delta": arguments}
        yield "function_call_arguments.done", {"arguments": arguments, "name": item.get("name")}
    for index, part in enumerate(
        item.get("content") or () if item.get("type") == "message" else ()
    ):
        place: Json = {"content_index": index}
        field = "text" if part.get("type") == "output_text" else "refusal"
        kind = "output_text" if field == "text" else "refusal"
        text = part.get(field, "")
        empty = {**part, field: ""}
        yield "content_part.added", {**place, "part": empty}
        logprobs: Json = {"logprobs": []} if field == "text" else {}
        for piece in cut_text(text):
            yield f"{kind}.delta", {**place, "delta": piece, **logprobs}
        yield f"{kind}.done", {**place, field: text, **logprobs}
        yield "content_part.done", {**place, "part": part}


def usage_of(kind: str, body: Mapping[str, Any]) -> Usage:
    """The tokens that a whole answer reports; zeros where it reports none.

    Raises:
        ValueError, TypeError, AttributeError: what it reports is no usage.
    """
    usage = body.get("usage") or {}
    if kind == "messages" or "cache_read_input_tokens" in usage:
        return message_format.usage_of(usage)
    if kind == "responses" or "input_tokens" in usage:
        details = usage.get("input_tokens_details") or {}
        names = ("input_tokens", "output_tokens")
    else:
        details = usage.get("prompt_tokens_details") or {}
        names = ("prompt_tokens", "completion_tokens")
    given, made = (int(usage.get(name) or 0) for name in names)
    return reported(given, made, int(details.get("cached_tokens") or 0))


def finish_reasons(kind: str, body: Mapping[str, Any]) -> set[str]:
    """Why an answer ended, as chat completions say it: "stop", "length", "content_filter", ..."""
    if kind == "messages":
        return {message_format.finish_reason(body)}
    if kind == "responses":
        if body.get("status") != "incomplete":
            return {"stop"}
        reason = (body.get("incomplete_details") or {}).get("reason")
        return {"content_filter" if reason == "content_filter" else "length"}
    reasons = (choice.get("finish_reason") for choice in body.get("choices") or ())
    return {reason for reason in reasons if reason}
