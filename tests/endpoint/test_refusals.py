"""What the endpoint refuses, and how it says so; nothing that comes in breaks it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from llmcache.endpoint import holders
from llmcache.exceptions import UpstreamUnreachable
from llmcache.models import VirtualKey
from llmcache.upstreams.fake import FakeUpstream
from llmcache.virtual_keys import Holder
from tests.endpoint.conftest import CHAT, Caller


def error(response: Any) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    return found


@pytest.mark.parametrize("token", ["", "llmc-wrong", "Bearer"])
@pytest.mark.django_db(transaction=True)
def test_nobody_comes_in_without_a_key(caller: Caller, upstream: FakeUpstream, token: str) -> None:
    found = caller.post("v1/chat/completions", CHAT, token)
    assert found.status_code == 401
    assert error(found)["type"] == "authentication_error"
    assert upstream.call_count == 0


def test_a_key_that_is_stopped_or_over_opens_nothing(
    caller: Caller, key: Callable[..., str]
) -> None:
    over = key("over", expires_at=timezone.now() - timedelta(seconds=1))
    stopped = key("stopped", is_active=False)
    for token in (over, stopped):
        assert caller.post("v1/chat/completions", CHAT, token).status_code == 401


def test_a_key_that_is_stopped_later_opens_nothing_after_the_flush_interval(
    caller: Caller, key: Callable[..., str]
) -> None:
    with override_settings(LLMCACHE_CONFIG={"FLUSH_INTERVAL": 0.05}):
        token = key()
        assert caller.post("v1/chat/completions", CHAT, token).status_code == 200
        VirtualKey.objects.update(is_active=False)
        time.sleep(0.1)
        assert caller.post("v1/chat/completions", CHAT, token).status_code == 401


def test_a_hit_makes_no_query(
    caller: Caller, key: Callable[..., str], django_assert_num_queries: Any
) -> None:
    token = key()
    with override_settings(LLMCACHE_CONFIG={"FLUSH_INTERVAL": 60}):
        caller.post("v1/chat/completions", CHAT, token)
        with django_assert_num_queries(0):
            found = caller.post("v1/chat/completions", CHAT, token)
    assert found["X-LLMCache-Outcome"] == "hit"


def test_keys_are_kept_as_hashes_and_used_is_noted(caller: Caller, key: Callable[..., str]) -> None:
    token = key()
    caller.post("v1/chat/completions", CHAT, token)
    row = VirtualKey.objects.get()
    assert token not in str(VirtualKey.objects.values().get())
    assert token.startswith(row.shown)
    assert row.last_used is not None


def test_models_that_a_key_lacks_are_not_found(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream
) -> None:
    token = key(allowed_models=["gpt-*"])
    found = caller.post("v1/chat/completions", CHAT, token)
    assert found.status_code == 404
    assert error(found)["code"] == "model_not_found"
    allowed = caller.post("v1/chat/completions", {**CHAT, "model": "gpt-1"}, token)
    assert allowed.status_code == 200


REFUSED: list[tuple[Any, int, str]] = [
    (b"{", 400, "not JSON"),
    (b"[]", 400, "must be a JSON object"),
    (b"\xff\xfe", 400, "not JSON"),
    (b"[" * 5000, 400, "not JSON"),
    ({"messages": []}, 400, "'model'"),
    ({"model": "m"}, 400, "'messages'"),
    ({**CHAT, "stream": "yes"}, 400, "stream"),
    ({**CHAT, "api_key": "x"}, 400, "'api_key' cannot be set"),
    ({**CHAT, "base_url": "http://evil.example"}, 400, "'base_url' cannot be set"),
    ({**CHAT, "api_base": "http://evil.example"}, 400, "'api_base' cannot be set"),
    ({**CHAT, "extra_headers": {}}, 400, "cannot be set"),
    ({**CHAT, "using": "other"}, 400, "cannot be set"),
    ({**CHAT, "cache": {"scope": "key:1"}}, 403, "'scope'"),
    ({**CHAT, "cache": {"key": "x"}}, 403, "'key'"),
    ({**CHAT, "cache": {"namespace": "x"}}, 403, "'namespace'"),
    ({**CHAT, "cache": {"tttl": 1}}, 400, "Did you mean 'ttl'"),
    ({**CHAT, "cache": []}, 400, "must be an object"),
    ({**CHAT, "cache": {"ttl": -1}}, 400, "not negative"),
]


@pytest.mark.parametrize(("body", "status", "words"), REFUSED, ids=str)
def test_what_is_wrong_is_said(
    caller: Caller, key: Callable[..., str], body: Any, status: int, words: str
) -> None:
    found = caller.post("v1/chat/completions", body, key())
    assert found.status_code == status
    assert words in error(found)["message"]


def test_controls_that_a_key_has_are_followed(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream
) -> None:
    token = key(allowed_controls=["namespace", "no-cache", "ttl"])
    caller.post("v1/chat/completions", CHAT, token)
    caller.post("v1/chat/completions", {**CHAT, "cache": {"namespace": "n"}}, token)
    caller.post("v1/chat/completions", CHAT, token, headers={"Cache-Control": "no-cache"})
    caller.post("v1/chat/completions", CHAT, token, headers={"Cache-Control": "max-age=0"})
    assert upstream.call_count == 3


def test_only_if_cached(caller: Caller, key: Callable[..., str]) -> None:
    token = key()
    said = {"Cache-Control": "only-if-cached"}
    found = caller.post("v1/chat/completions", CHAT, token, headers=said)
    assert found.status_code == 504
    assert error(found)["code"] == "not_cached"
    assert found["X-Should-Retry"] == "false"


def test_bodies_over_the_limit_are_refused(caller: Caller, key: Callable[..., str]) -> None:
    with override_settings(LLMCACHE_CONFIG={"ENDPOINT_MAX_BODY": 100}):
        found = caller.post("v1/chat/completions", {**CHAT, "user": "x" * 100}, key())
    assert found.status_code == 413


def test_bodies_over_djangos_own_limit_are_read(caller: Caller, key: Callable[..., str]) -> None:
    long = [{"role": "user", "content": "x" * 3_000_000}]
    found = caller.post("v1/chat/completions", {**CHAT, "messages": long}, key())
    assert found.status_code == 200


def test_other_types_methods_and_paths(caller: Caller, key: Callable[..., str]) -> None:
    token = key()
    text = caller.post("v1/chat/completions", b"x", token, content_type="text/plain")
    assert text.status_code == 415
    wrong = caller.get("v1/chat/completions", token)
    assert (wrong.status_code, wrong["Allow"]) == (405, "POST")
    unknown = caller.post("v1/images/generations", {}, token)
    assert (unknown.status_code, error(unknown)["code"]) == (404, "unknown_url")


def test_browsers_of_other_sites_may_not_ask_unless_named(
    caller: Caller, key: Callable[..., str]
) -> None:
    token = key()
    headers = {"Origin": "https://app.example.com"}
    plain = caller.post("v1/chat/completions", CHAT, token, headers=headers)
    assert "Access-Control-Allow-Origin" not in plain
    assert caller.send("OPTIONS", "v1/chat/completions", headers=headers).status_code == 405
    allowed = {"ENDPOINT_ALLOWED_ORIGINS": ["https://app.example.com"]}
    with override_settings(LLMCACHE_CONFIG=allowed):
        preflight = caller.send("OPTIONS", "v1/chat/completions", headers=headers)
        assert preflight.status_code == 204
        assert preflight["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert "authorization" in preflight["Access-Control-Allow-Headers"]
        other = caller.post("v1/models", CHAT, token, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other
        assert "Origin" in other["Vary"]


def test_a_provider_that_is_away_is_not_told_about(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream
) -> None:
    upstream.fail = UpstreamUnreachable("connect to 10.0.0.7:443 with sk-secret failed")
    found = caller.post("v1/chat/completions", CHAT, key())
    assert found.status_code == 502
    assert b"10.0.0.7" not in found.content
    assert b"secret" not in found.content


def test_what_breaks_inside_is_a_500_without_details(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream, caplog: Any
) -> None:
    upstream.fail = LookupError("the inside of the site")
    found = caller.post("v1/chat/completions", CHAT, key())
    assert found.status_code == 500
    assert b"inside" not in found.content
    assert "the inside of the site" in caplog.text


def team(request: Any) -> Holder | None:
    name = request.headers.get("X-Team")
    return Holder(name=name, scope=f"team:{name}") if name else None


async def ateam(request: Any) -> Holder | None:
    return team(request)


@pytest.mark.django_db(transaction=True)
def test_a_site_can_say_itself_who_calls(caller: Caller) -> None:
    rule = ateam if caller.is_async else team
    with override_settings(LLMCACHE_CONFIG={"ENDPOINT_AUTH": rule}):
        assert caller.post("v1/chat/completions", CHAT).status_code == 401
        found = [
            caller.post("v1/chat/completions", CHAT, headers={"X-Team": name})
            for name in ("a", "b", "a")
        ]
    assert [one["X-LLMCache-Outcome"] for one in found] == ["miss", "miss", "hit"]


@contextmanager
def no_keys() -> Iterator[None]:
    """A database that cannot tell who has which key."""
    with connection.schema_editor() as editor:
        editor.alter_db_table(VirtualKey, "llmcache_virtualkey", "elsewhere")
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(VirtualKey, "elsewhere", "llmcache_virtualkey")


def test_keys_that_cannot_be_looked_up_are_a_503(caller: Caller, key: Callable[..., str]) -> None:
    token = key()
    with no_keys():
        holders.forget()
        assert caller.post("v1/chat/completions", CHAT, token).status_code == 503


SOON = {"LLMCACHE_CONFIG": {"FLUSH_INTERVAL": 0.01}}


def asked_again(caller: Caller, token: str) -> int:
    """The status of a request, once what is known of keys has to be looked up anew."""
    time.sleep(0.02)
    status: int = caller.post("v1/chat/completions", CHAT, token).status_code
    return status


@override_settings(**SOON)
def test_a_key_that_was_good_stays_so_while_the_database_is_away(
    caller: Caller, key: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = key()
    assert asked_again(caller, token) == 200
    with no_keys():
        assert [asked_again(caller, token) for _ in range(3)] == [200, 200, 200]
        assert asked_again(caller, "llmc-unheard-of") == 503
        monkeypatch.setattr(holders, "_OUTAGE", 0.01)
        assert asked_again(caller, token) == 503  # by then it may be revoked


@override_settings(**SOON)
def test_a_key_that_is_revoked_is_not_good_when_the_database_goes_away(
    caller: Caller, key: Callable[..., str]
) -> None:
    token = key()
    assert asked_again(caller, token) == 200
    VirtualKey.objects.update(is_active=False)
    assert asked_again(caller, token) == 401
    with no_keys():
        assert asked_again(caller, token) == 503


TRIGGER = "CREATE TRIGGER read_only BEFORE UPDATE ON llmcache_virtualkey "
READ_ONLY = {
    "sqlite": (TRIGGER + "BEGIN SELECT RAISE(FAIL, 'read-only'); END", "DROP TRIGGER read_only"),
    "mysql": (
        TRIGGER + "FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'read-only'",
        "DROP TRIGGER read_only",
    ),
    "postgresql": (
        "CREATE FUNCTION read_only() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN RAISE EXCEPTION 'read-only'; END $$; "
        + TRIGGER
        + "FOR EACH ROW EXECUTE FUNCTION read_only()",
        "DROP FUNCTION read_only CASCADE",
    ),
}


def test_a_database_that_cannot_be_written_lets_keys_in(
    caller: Caller, key: Callable[..., str]
) -> None:
    token = key()
    make, drop = READ_ONLY[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(make)
        try:
            assert caller.post("v1/chat/completions", CHAT, token).status_code == 200
        finally:
            cursor.execute(drop)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from(
        ["model", "messages", "stream", "cache", "metadata", "n", "tools", "temperature", "input"]
    ),
    ANYTHING,
)


@pytest.mark.parametrize("path", ["chat/completions", "responses", "messages", "embeddings"])
def test_nothing_that_is_sent_breaks_it(
    path: str, key: Callable[..., str], upstream: FakeUpstream
) -> None:
    token = key()
    upstream.responses = lambda request: "x"

    @hypothesis_settings(max_examples=60, deadline=None)
    @given(fields=FIELDS)
    def fuzz(fields: dict[str, Any]) -> None:
        caller = Caller(False)
        found = caller.post(f"v1/{path}", orjson.dumps(fields), token)
        caller.close()
        assert found.status_code in (200, 400, 403, 404), found.content

    fuzz()
