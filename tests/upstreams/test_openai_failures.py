"""The OpenAI-compatible upstream when things go wrong: retries, errors, silence, secrets."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcache.exceptions import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    PermissionRefused,
    RateLimited,
    ServerFailed,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from llmcache.upstreams import retry
from tests.servers.ports import free_port
from tests.servers.provider import CHAT, Provider, answer, drop, hang, refusal, truncated
from tests.upstreams.test_openai import Driver, request, upstream

SECRET = "sk-very-secret"


# --- retries ---


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
def test_a_passing_failure_is_tried_again(driver: Driver, provider: Provider, status: int) -> None:
    provider.script(refusal(status), refusal(status), answer())
    assert driver.call(upstream(provider), request()) == CHAT
    assert len(provider.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_wrong_request_is_not_tried_again(
    driver: Driver, provider: Provider, status: int
) -> None:
    provider.script(refusal(status), answer())
    with pytest.raises(UpstreamError):
        driver.call(upstream(provider), request())
    assert len(provider.requests) == 1


def test_retries_end(driver: Driver, provider: Provider) -> None:
    provider.script(refusal(500))
    with pytest.raises(ServerFailed):
        driver.call(upstream(provider, max_retries=1), request())
    assert len(provider.requests) == 2
    with pytest.raises(ServerFailed):
        driver.call(upstream(provider), request(max_retries=0))
    assert len(provider.requests) == 3


def test_the_provider_has_the_last_word_on_retries(driver: Driver, provider: Provider) -> None:
    provider.script(refusal(500, {"x-should-retry": "false"}))
    with pytest.raises(ServerFailed):
        driver.call(upstream(provider), request())
    assert len(provider.requests) == 1
    provider.script(refusal(400, {"x-should-retry": "true"}), answer())
    assert driver.call(upstream(provider), request()) == CHAT


def test_a_long_wait_that_is_asked_for_is_left_to_the_caller(
    driver: Driver, provider: Provider
) -> None:
    provider.script(answer({}, 429, {"Retry-After": "3600"}))
    with pytest.raises(RateLimited) as caught:
        driver.call(upstream(provider), request())
    assert caught.value.retry_after == 3600
    assert len(provider.requests) == 1


def test_a_connection_that_is_dropped_is_tried_again(driver: Driver, provider: Provider) -> None:
    provider.script(drop, answer())
    assert driver.call(upstream(provider), request()) == CHAT


def test_an_answer_that_breaks_off_is_tried_again(driver: Driver, provider: Provider) -> None:
    provider.script(truncated, answer())
    assert driver.call(upstream(provider), request()) == CHAT
    provider.script(truncated)
    with pytest.raises(UpstreamUnreachable):
        driver.call(upstream(provider, max_retries=0), request())


def test_a_stream_is_tried_again_before_it_begins(driver: Driver, provider: Provider) -> None:
    provider.script(refusal(503))
    with pytest.raises(ServerFailed):
        driver.stream(upstream(provider), request())
    assert len(provider.requests) == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "nan", "retry-after": "3"}, 3.0),
        ({"retry-after": "Wed, 21 Oct 99999999999999 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_what_the_provider_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry.asked_wait(headers) == seconds


@pytest.mark.parametrize("zone", [UTC, None])
def test_a_date_to_wait_for(zone: Any) -> None:
    moment = (datetime.now(UTC) + timedelta(seconds=30)).replace(tzinfo=zone)
    asked = retry.asked_wait({"retry-after": format_datetime(moment)})
    assert asked is not None
    assert 25 < asked <= 30


@given(st.text(max_size=40))
def test_no_value_of_the_header_is_an_error(value: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        asked = retry.asked_wait({name: value})
        assert asked is None or asked >= 0


def test_waits_grow_and_stay_within_bounds() -> None:
    for attempt in range(1, 12):
        longest = min(0.5 * 2 ** (attempt - 1), 8.0)
        wait = retry.wait_before(attempt)
        assert wait is not None
        assert longest * 0.75 <= wait <= longest
    assert retry.wait_before(1, 60.0) == 60.0
    assert retry.wait_before(1, 60.1) is None
    assert len({retry.wait_before(1) for _ in range(10)}) > 1


# --- errors ---


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, AuthenticationFailed),
        (403, PermissionRefused),
        (404, NotFound),
        (413, BadRequest),
        (422, BadRequest),
        (429, RateLimited),
        (500, ServerFailed),
        (503, ServerFailed),
    ],
)
def test_a_status_has_its_exception(
    driver: Driver, provider: Provider, status: int, kind: type[UpstreamError]
) -> None:
    provider.script(refusal(status))
    with pytest.raises(UpstreamError) as caught:
        driver.call(upstream(provider, max_retries=0), request())
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.request_id, error.provider) == (status, "req_1", "default")
    assert error.message == f"refused with {status}"
    assert error.body == {"error": {"message": f"refused with {status}", "type": "test"}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "no such model"}}', "no such model"),
        (b'{"error": "no such model"}', "no such model"),
        (b'[{"error": {"message": "no such model"}}]', "no such model"),
        (b'{"detail": [{"msg": "field required", "loc": ["body"]}]}', "field required"),
        (b'{"message": "no such model", "code": 5}', "no such model"),
        (b'{"code": 5}', '{"code": 5}'),
        (b"no such model\n", "no such model"),
        (b"", "no message"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_providers_own_message_is_found(
    driver: Driver, provider: Provider, body: bytes, message: str
) -> None:
    provider.script(answer(body, 400, content_type="text/plain"))
    with pytest.raises(BadRequest) as caught:
        driver.call(upstream(provider), request())
    assert caught.value.message == message


def test_a_page_of_html_is_cut_short(driver: Driver, provider: Provider) -> None:
    provider.script(answer(b"<html>" + b"busy " * 10_000, 400, content_type="text/html"))
    with pytest.raises(BadRequest) as caught:
        driver.call(upstream(provider), request())
    assert len(str(caught.value)) < 600


def test_a_server_that_is_not_there_is_unreachable(driver: Driver, provider: Provider) -> None:
    made = upstream(provider, base_url=f"http://127.0.0.1:{free_port()}", max_retries=0)
    with pytest.raises(UpstreamUnreachable) as caught:
        driver.call(made, request())
    assert caught.value.status is None
    assert type(caught.value) is UpstreamUnreachable


def test_silence_is_a_timeout(driver: Driver, provider: Provider) -> None:
    provider.script(hang)
    with pytest.raises(UpstreamTimeout, match="no answer in time"):
        driver.call(upstream(provider, timeout=0.2, max_retries=0), request())
    with pytest.raises(UpstreamTimeout):
        driver.call(upstream(provider), request(timeout=0.2, max_retries=0))
    with pytest.raises(UpstreamTimeout):
        driver.stream(upstream(provider, timeout=0.2, max_retries=0), request())


# --- what a traceback ends with, for whoever sets it up ---


def test_nobody_there_names_the_address_without_credentials(
    driver: Driver, provider: Provider
) -> None:
    port = free_port()
    made = upstream(provider, base_url=f"http://ada:{SECRET}@127.0.0.1:{port}/v1", max_retries=0)
    with pytest.raises(UpstreamUnreachable) as caught:
        driver.call(made, request())
    (note,) = caught.value.__notes__
    assert f"http://127.0.0.1:{port}," in note and "['OPTIONS']['base_url']" in note
    assert str(port) not in str(caught.value)  # which an endpoint passes on


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_key_env": "NO_SUCH_KEY"}, "set NO_SUCH_KEY in the environment"),
        ({"api_key_env": None}, "name one in 'api_key_env'"),
    ],
)
def test_a_refusal_without_a_key_says_what_to_set(
    driver: Driver, provider: Provider, options: dict[str, Any], said: str
) -> None:
    provider.script(refusal(401))
    with pytest.raises(AuthenticationFailed) as caught:
        driver.call(upstream(provider, api_key=None, **options), request())
    assert caught.value.__notes__ == [f"No API key was sent: {said}."]


def test_a_refusal_of_a_key_that_was_sent_does_not(driver: Driver, provider: Provider) -> None:
    provider.script(refusal(401))
    header = request(extra_headers={"Authorization": "Basic abc"})
    for options, asked in (({"api_key": SECRET}, request()), ({"api_key_env": None}, header)):
        with pytest.raises(AuthenticationFailed) as caught:
            driver.call(upstream(provider, **options), asked)
        assert not hasattr(caught.value, "__notes__")


# --- secrets ---


def shown(error: BaseException) -> str:
    """Everything that a log or an error page may show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def test_a_key_that_the_provider_echoes_is_hidden(driver: Driver, provider: Provider) -> None:
    echo = {"error": {"message": f"wrong key {SECRET}"}}
    provider.script(answer(echo, 401))
    with pytest.raises(AuthenticationFailed) as caught:
        driver.call(upstream(provider, api_key=SECRET), request())
    assert SECRET not in shown(caught.value)
    assert caught.value.message == "wrong key [hidden]"


@pytest.mark.parametrize("flaw", ["\u2026", "\x00", "\r\nX-Injected: 1"])
def test_a_key_that_is_no_header_is_an_error_that_hides_it(
    driver: Driver, provider: Provider, flaw: str
) -> None:
    made = upstream(provider, api_key=f"{SECRET}{flaw}{SECRET}")
    with pytest.raises(BadRequest) as caught:
        driver.call(made, request())
    assert SECRET not in shown(caught.value)
    assert provider.requests == []


def test_an_upstream_shows_no_key(provider: Provider) -> None:
    made = upstream(provider, api_key=SECRET)
    assert SECRET not in repr(made) + repr(made.settings) + repr(request(api_key=SECRET))
