"""The file: what stands in it, what never does, and that texts come back exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import llmcache
from llmcache.exceptions import AuthenticationFailed
from llmcache.testing import CassetteError, UnexpectedLiveCall, use_cassette
from llmcache.testing.cassette import Interaction, body_of, parsed, read, write
from llmcache.testing.places import cassette_of
from tests.servers.provider import CHAT, Provider, answer, delta, events, stream
from tests.testing.conftest import KEY, asked

REQUEST = {"kind": "completion", "model": "m", "provider": "default", "stream": False, "params": {}}


def test_the_file_reads_as_this(site: Provider, path: Path) -> None:
    body = {"choices": [{"message": {"content": "Hello!"}}], "usage": {"total_tokens": 2}}
    site.script(answer(body), stream(events(delta("Hi"), delta(finish_reason="stop"))))
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked(temperature=0.5))
        list(llmcache.completion(**asked("é"), stream=True))
    assert (
        path.read_text()
        == """{
  "format": 1,
  "interactions": [
    {
      "request": {
        "kind": "completion",
        "model": "m",
        "provider": "default",
        "stream": false,
        "params": {
          "messages": [
            {
              "content": "hi",
              "role": "user"
            }
          ],
          "temperature": 0.5
        }
      },
      "answer": {
        "choices": [
          {
            "message": {
              "content": "Hello!"
            }
          }
        ],
        "usage": {
          "total_tokens": 2
        }
      }
    },
    {
      "request": {
        "kind": "completion",
        "model": "m",
        "provider": "default",
        "stream": true,
        "params": {
          "messages": [
            {
              "content": "é",
              "role": "user"
            }
          ]
        }
      },
      "chunks": [
        CHUNKS
      ]
    }
  ]
}
""".replace(
            "CHUNKS",
            ",\n        ".join(json.dumps(made) for made in (delta("Hi"), delta("", "stop"))),
        )
    )


def test_recording_the_same_twice_gives_the_same_bytes(site: Provider, tmp_path: Path) -> None:
    made = []
    for name in ("a.json", "b.json"):
        with use_cassette(tmp_path / name, mode="record"):
            llmcache.completion(**asked(top_p=0.5, stop=["x"]))
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),  # lone surrogates included
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@example(value="\ud83d", chunks=None)
@example(value=None, chunks=[{"\udc00": 1}])
@given(value=JSON, chunks=st.none() | st.lists(JSON, max_size=3))
def test_any_json_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, value: Any, chunks: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    made = Interaction(dict(REQUEST), answer=None if chunks else value, chunks=chunks or None)
    write(path, [made, made])
    assert read(path) == [made, made]
    assert parsed(body_of(value)) == value


@pytest.mark.parametrize("text", ["\x00", "\u2028", "😀", "e\u0301", "\\ud83d", '"\n\t'])
def test_texts_come_back_exactly(site: Provider, path: Path, text: str) -> None:
    choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": text}}
    site.script(answer({**CHAT, "choices": [choice]}))
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked(text))
    with use_cassette(path):
        assert llmcache.completion(**asked(text)).choices[0].message.content == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<<<<<<< HEAD", "is not JSON"),
        ('{"format": 2, "interactions": []}', "has the format 2; this version of llmcache reads 1"),
        ("[]", "has the format None"),
        ('{"format": 1}', "not complete"),
        ('{"format": 1, "interactions": [{"request": {}}]}', "not complete"),
        ('{"format": 1, "interactions": [7]}', "not complete"),
    ],
)
def test_a_file_that_is_no_cassette_is_refused_by_name(path: Path, text: str, told: str) -> None:
    path.write_text(text)
    with pytest.raises(CassetteError, match=told) as caught, use_cassette(path):
        pass
    assert str(path) in str(caught.value)


def test_no_credential_is_ever_written(
    site: Provider, settings: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        name: f"{name}-0123456789"
        for name in ("key", "own", "organ", "proj", "header", "auth", "query", "pass", "environ")
    }
    url = site.base_url.replace("http://", f"http://someone:{secrets['pass']}@")
    options = {
        "base_url": url,
        "api_key": secrets["key"],
        "organization": secrets["organ"],
        "project": secrets["proj"],
        "default_headers": {"X-Api-Key": secrets["header"]},
        "max_retries": 0,
    }
    settings.LLMCACHE_PROVIDERS = {"default": {"OPTIONS": options}}
    monkeypatch.setenv("OTHER_API_KEY", secrets["environ"])
    told = "you sent " + " ".join(secrets.values())
    site.script(
        answer({**CHAT, "note": told}),
        answer({"error": {"message": told, "param": {told: told}}}, 401),
        stream(events({**delta("x"), "note": told}, delta(finish_reason="stop"))),
    )
    transport = {
        "api_key": secrets["own"],
        "extra_headers": {"Authorization": f"Bearer {secrets['auth']}", "X-Plain": "plain"},
        "extra_query": {"access_token": secrets["query"]},
    }
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked(told), **transport)
        with pytest.raises(AuthenticationFailed):
            llmcache.completion(**asked("again"), **transport)
        list(llmcache.completion(**asked("third"), **transport, stream=True))
    data = path.read_bytes()
    assert {name for name, value in secrets.items() if value.encode() in data} == set()
    assert b"you sent [hidden]" in data
    with use_cassette(path):
        llmcache.completion(**asked(told), **transport)
    assert len(site.requests) == 3


def test_a_key_from_the_environment_is_hidden_whatever_its_variable_is_called(
    site: Provider, settings: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAY_IN", "way-in-0123456789")
    options = {"base_url": site.base_url, "api_key_env": "WAY_IN"}
    settings.LLMCACHE_PROVIDERS = {"default": {"OPTIONS": options}}
    site.script(answer({**CHAT, "note": "you sent way-in-0123456789"}))
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked())
    assert b"you sent [hidden]" in path.read_bytes()


def test_a_failure_shows_no_credential_either(site: Provider, path: Path) -> None:
    with pytest.raises(UnexpectedLiveCall) as caught, use_cassette(path):
        llmcache.completion(**asked(f"my key is {KEY}"))
    assert "my key is [hidden]" in str(caught.value)


def test_no_traceback_shows_the_key(site: Provider, path: Path) -> None:
    with pytest.raises(UnexpectedLiveCall) as caught, use_cassette(path):
        llmcache.completion(**asked())
    frames = [frame for frame in caught.traceback if "llmcache/testing" in str(frame.path)]
    assert len(frames) > 1
    assert KEY not in "".join(repr(frame.frame.f_locals) for frame in frames)


def hide_names(text: str) -> str:
    return text.replace("Ada", "[name]").replace("Bob", "[name]")


def test_redact_applies_to_what_is_written_and_matching_still_tells_texts_apart(
    site: Provider, settings: Any, path: Path
) -> None:
    settings.LLMCACHE_CONFIG = {"REDACT": hide_names}
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked("I am Ada"))
    assert "Ada" not in path.read_text()
    assert "I am [name]" in path.read_text()
    with use_cassette(path):
        llmcache.completion(**asked("I am Ada"))
    told = pytest.raises(UnexpectedLiveCall, match="only where texts are redacted")
    with told as caught, use_cassette(path):
        llmcache.completion(**asked("I am Bob"))
    assert "Bob" not in str(caught.value)
    with use_cassette(path, match_on=["params.messages"]):
        llmcache.completion(**asked("I am Bob"))
    assert len(site.requests) == 1


def test_where_redact_fails_nothing_is_asked_or_written(
    site: Provider, settings: Any, path: Path
) -> None:
    settings.LLMCACHE_CONFIG = {"REDACT": lambda text: text / 2}
    with pytest.raises(CassetteError, match="REDACT failed"), use_cassette(path, mode="record"):
        llmcache.completion(**asked())
    assert site.requests == []
    assert not path.exists()


def test_long_data_in_a_message_is_kept_by_its_hash(site: Provider, path: Path) -> None:
    pictures = [f"data:image/png;base64,{letter * 2000}" for letter in "ab"]

    def ask(picture: str) -> None:
        part = {"type": "image_url", "image_url": {"url": picture}}
        llmcache.completion(model="m", messages=[{"role": "user", "content": [part]}])

    with use_cassette(path, mode="record"):
        ask(pictures[0])
    assert "aaaa" not in path.read_text()
    with use_cassette(path):
        ask(pictures[0])
    with pytest.raises(UnexpectedLiveCall), use_cassette(path):
        ask(pictures[1])


def test_filters_change_what_is_written_and_what_matches(site: Provider, path: Path) -> None:
    def without_user(request: dict[str, Any]) -> dict[str, Any]:
        del request["params"]["user"]
        return request

    def without_id(made: dict[str, Any]) -> dict[str, Any]:
        return {**made, "id": "an id"}

    with use_cassette(path, mode="record", filter_request=without_user, filter_answer=without_id):
        assert llmcache.completion(**asked(user="Ada")).id == "chatcmpl-1"
    assert "Ada" not in path.read_text()
    with use_cassette(path, filter_request=without_user):
        assert llmcache.completion(**asked(user="Bob")).id == "an id"
    told = "filter_request must return what is to be written, not None"
    filtered = use_cassette(path, filter_request=lambda request: None)
    with pytest.raises(CassetteError, match=told), filtered:
        llmcache.completion(**asked())
    assert len(site.requests) == 1


def test_match_on_names_what_must_be_equal(site: Provider, path: Path) -> None:
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked(temperature=0.1, stop=["a", "b"]))
    parts = ["kind", "params.messages", "params.stop[1]"]
    with use_cassette(path, match_on=parts):
        llmcache.completion(**{**asked(temperature=0.9, stop=["x", "b"]), "model": "other"})
    for other in (asked("other"), asked(stop=["a", "x"]), asked()):
        with pytest.raises(UnexpectedLiveCall), use_cassette(path, match_on=parts):
            llmcache.completion(**{**other, "model": "other"})


@pytest.mark.parametrize(("one", "other"), [(1, True), ("1", 1), (None, 0), ([], {})])
def test_values_of_different_types_are_different(
    site: Provider, path: Path, one: object, other: object
) -> None:
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked(logit_bias={"a": one}))
    with pytest.raises(UnexpectedLiveCall), use_cassette(path):
        llmcache.completion(**asked(logit_bias={"a": other}))


def test_the_nearest_recording_is_shown_where_it_differs(site: Provider, path: Path) -> None:
    start = "word " * 100
    said = [{"role": "user", "content": f"{start}one"}, {"role": "assistant", "content": "Yes."}]
    with use_cassette(path, mode="record"):
        llmcache.completion(**asked("a quite different question"))
        llmcache.completion(model="m", messages=said, temperature=0.1)
    with pytest.raises(UnexpectedLiveCall) as caught, use_cassette(path):
        more = [{"role": "user", "content": f"{start}two"}, said[1], {"role": "user"}]
        llmcache.completion(model="n", messages=more)
    told = str(caught.value)
    assert "The nearest of 2 recorded is number 2, unused" in told
    assert "  model: 'm' -> 'n'" in told
    assert "  params.messages[0].content: '…" in told
    assert "word one' -> '…" in told
    assert "  params.messages[2]: (none) -> {'role': 'user'}" in told
    assert "  params.temperature: 0.1 -> (none)" in told
    assert max(map(len, told.splitlines())) < 250


def test_default_names_are_apart_for_all_tests_and_fit_every_file_system() -> None:
    names = ["test_a", "test_b[x/y]", "test_b[x:y]", "T.test_ü", "test_" + "x" * 300]
    found = [cassette_of("/site/tests/test_it.py", name) for name in names]
    assert str(found[0]) == "/site/tests/cassettes/test_it/test_a.json"
    assert len(set(found)) == len(names)
    assert all(len(path.name) < 150 for path in found)
    assert not set("[]/:") & set("".join(path.name for path in found))
