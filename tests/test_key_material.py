"""Of what a key is made, part by part: the caller's own key, items of a list, files, values of
other types, and what `diff_keys` says of two.
"""

from __future__ import annotations

import datetime as dt
import io
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import pydantic
import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile

from llmcache import explain_key, keys

WHOLE = {
    "schema": 1,
    "kind": "embedding",
    "model": "m",
    "provider": "p",
    "version": 3,
    "params": {"input": ["a", "b"], "dimensions": 8},
    "namespace": "n",
    "scope": "s",
}


class Turn(pydantic.BaseModel):
    role: str = "user"
    content: str
    at: dt.date | None = None
    weight: float = 1.0


def test_the_callers_own_key_stands_for_the_question_and_for_nothing_else() -> None:
    assert keys.own_key({**WHOLE, "headers": {"x": "y"}}, "greeting") == {
        "schema": 1,
        "kind": "embedding",
        "version": 3,
        "namespace": "n",
        "scope": "s",
        "key": "greeting",
    }
    assert keys.own_key({"kind": "completion"}, "k") == {"kind": "completion", "key": "k"}


def test_each_own_key_of_the_caller_has_a_key_of_its_own() -> None:
    first, second = (
        explain_key("m", messages=[], cache={"key": name}) for name in ("hello", "goodbye")
    )
    assert (first["key"], second["key"]) == ("hello", "goodbye")
    assert first["digest"] != second["digest"]


def test_a_transcriptions_parameters_stand_beside_its_files_hash() -> None:
    asked = {"kind": "transcription", "file": b"RIFF", "language": "en"}
    material = explain_key("whisper-1", **asked)
    assert material["params"] == {"language": "en"}
    assert material["file"] == sha256(b"RIFF").hexdigest()
    assert explain_key("whisper-1", **{**asked, "language": "de"})["digest"] != material["digest"]


def test_headers_and_query_that_can_change_an_answer_are_parts_of_their_own() -> None:
    material = explain_key(
        "m", messages=[], extra_headers={"X-Tier": "1", "User-Agent": "x"}, extra_query={"v": "2"}
    )
    assert material["headers"] == {"x-tier": sha256(b'"1"').hexdigest()}
    assert material["query"] == {"v": sha256(b'"2"').hexdigest()}


def test_an_item_of_a_list_has_the_key_of_the_item_alone() -> None:
    alone = {**WHOLE, "params": {"dimensions": 8, "input": "b"}}
    assert keys.item_material(WHOLE, "b") == alone
    assert keys.item_digests(WHOLE, ["a", "b"])[1] == keys.digest_of(alone)
    assert WHOLE["params"] == {"input": ["a", "b"], "dimensions": 8}


def test_under_the_callers_own_key_each_item_of_a_list_has_another() -> None:
    own = keys.own_key(WHOLE, "all of it")
    assert keys.item_material(own, "b") == {**own, "item": "b"}
    digests = keys.item_digests(own, ["a", "b", "a"])
    assert digests[0] == digests[2] != digests[1]
    assert digests[0] == keys.digest_of({**own, "item": "a"})


@pytest.mark.parametrize("mapping", [OrderedDict, MappingProxyType])
def test_a_mapping_of_another_type_is_the_dict_of_the_same_items(mapping: Any) -> None:
    assert keys.canonical({"a": mapping({"b": 1})}) == b'{"a":{"b":1}}'
    with pytest.raises(keys.Uncacheable, match="nan"):
        keys.canonical({"a": mapping({"b": [float("nan")]})})


def test_of_a_model_what_was_set_travels_in_its_form_of_json() -> None:
    turn = Turn(content="hello", at=dt.date(2026, 1, 2))
    assert keys.canonical({"a": turn}) == b'{"a":{"at":"2026-01-02","content":"hello"}}'
    assert keys.wire_default(turn) == {"content": "hello", "at": "2026-01-02"}
    named = Turn(role="user", content="hello")
    assert keys.wire_default(named) == {"role": "user", "content": "hello"}


def test_a_model_that_holds_no_number_is_uncacheable() -> None:
    class Dumped:
        def model_dump(self, **form: Any) -> dict[str, float]:
            return {"weight": float("inf")}

    with pytest.raises(keys.Uncacheable, match="inf"):
        keys.canonical({"a": Dumped()})


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "builtins.object"),
        (Path, "builtins.type"),
        (io.BytesIO(), "_io.BytesIO"),
    ],
)
def test_what_has_no_json_form_is_named(value: object, name: str) -> None:
    with pytest.raises(keys.Uncacheable, match=f"as JSON: {name} is not JSON$"):
        keys.canonical({"a": value})
    with pytest.raises(TypeError, match=f"^{name} is not JSON$"):
        keys.wire_default(value)


def test_headers_and_queries_of_any_type_are_hashed_as_their_text() -> None:
    assert keys._hidden("a") == sha256(b'"a"').hexdigest()
    assert keys._hidden(Path("a")) == keys._hidden("a") != keys._hidden(Path("b"))


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_file_is_its_content_whatever_holds_it(size: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    path = tmp_path / "speech.mp3"
    path.write_bytes(content)
    holders: list[Any] = [
        *(content, bytearray(content), memoryview(content), path, str(path)),
        *(io.BytesIO(content), ("a.mp3", content), ("a.mp3", io.BytesIO(content), "audio/mpeg")),
        *(ContentFile(content), SimpleUploadedFile("b.mp3", content)),
    ]
    assert {keys.file_digest(holder) for holder in holders} == {sha256(content).hexdigest()}


def test_a_large_file_is_read_in_parts() -> None:
    class Large(io.BytesIO):
        asked: list[int | None]

        def read(self, size: int | None = None) -> bytes:
            self.asked.append(size)
            return super().read(size)

    file = Large(bytes((1 << 20) + 5))
    file.asked = []
    keys.file_digest(file)
    assert file.asked == [1 << 20] * 3


def test_a_djangos_file_that_cannot_tell_is_read_by_what_it_wraps() -> None:
    class Wrapper:
        """As a file of a storage: it has parts, and the open file."""

        def __init__(self, content: bytes) -> None:
            self.file = io.BytesIO(content)

        def chunks(self) -> Any:
            raise AssertionError("parts cannot be put back")

    file = Wrapper(b"content")
    file.file.seek(3)
    assert keys.file_digest(file) == sha256(b"content").hexdigest()
    assert file.file.tell() == 3


def test_a_file_that_cannot_be_read_twice_is_uncacheable_and_says_why() -> None:
    class Pipe(io.RawIOBase):
        def tell(self) -> int:
            raise OSError("not a place to go back to")

    with pytest.raises(keys.Uncacheable, match="read twice: not a place to go back to"):
        keys.file_digest(Pipe())


def test_diff_names_parts_that_one_side_lacks_and_types_that_differ() -> None:
    first = {"a": 1, "b": {"c": [1, 2]}, "only": 1, "list": [1], "type": 1, "kind": {"d": 1}}
    second = {"a": 1, "b": {"c": [1, 3]}, "other": 2, "list": [1, 2], "type": "1", "kind": [1]}
    assert keys.diff(first, second) == {
        "b.c[1]": (2, 3),
        "only": (1, None),
        "other": (None, 2),
        "list": ([1], [1, 2]),
        "type": (1, "1"),
        "kind": ({"d": 1}, [1]),
    }


def test_diff_compares_what_is_sent_and_not_what_holds_it() -> None:
    assert keys.diff({"a": Turn(content="x")}, {"a": {"content": "x"}}) == {}
    assert keys.diff({"a": (1, 2)}, {"a": [1, 2]}) == {}


def test_plain_material_is_hashed_as_its_whole_json() -> None:
    asked = ("completion", "m", "p", "n", "s", 3, {"messages": ['a "params":{} b'], "seed": 1})
    for namespace, scope in (("n", "s"), (None, "s"), ("n", None), (None, None)):
        args = (*asked[:3], namespace, scope, *asked[5:])
        whole = {"schema": 1, "kind": "completion", "model": "m", "provider": "p", "version": 3}
        whole |= {"params": asked[6]}
        whole |= {} if namespace is None else {"namespace": namespace}
        whole |= {} if scope is None else {"scope": scope}
        expected = sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()
        assert keys.plain_digest(*args) == expected == keys.digest_of(whole)
