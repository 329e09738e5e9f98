"""The endpoint does what its own description says, whatever is sent to it."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, given, settings
from schemathesis import checks as known
from schemathesis.specs.openapi import checks as of_openapi

from llmcache import urls
from llmcache.endpoint import openapi
from tests.endpoint.conftest import Caller

CHECKS = [
    known.not_a_server_error,
    of_openapi.content_type_conformance,
    of_openapi.response_schema_conformance,
    of_openapi.status_code_conformance,
    of_openapi.unsupported_method,
]
NOT_CALLS = {"openapi.json"}


def test_it_describes_every_path_and_none_besides() -> None:
    routes = {str(pattern.pattern) for pattern in urls.urlpatterns[:-1]}
    described = {
        path[1:].replace("{model}", "<path:model>") for path in openapi.document()["paths"]
    }
    assert described == routes - NOT_CALLS


@pytest.mark.parametrize("path", ["nothing", "v1/models/a%0Ab", "%0A", "v1/models/a%0A"])
@pytest.mark.parametrize("is_async", [False, True], ids=["wsgi", "asgi"])
def test_any_other_path_is_an_error_that_sdks_can_read(key: Any, is_async: bool, path: str) -> None:
    answer = Caller(is_async).send("GET", path, token=key())
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")


@pytest.mark.parametrize("is_async", [False, True], ids=["wsgi", "asgi"])
def test_it_is_served_to_who_has_a_key_and_says_where_it_is(key: Any, is_async: bool) -> None:
    caller = Caller(is_async)
    assert caller.send("GET", "openapi.json").status_code == 401
    served = caller.send("GET", "openapi.json", token=key()).json()
    assert served["servers"] == [{"url": "/llm"}]
    assert served["openapi"] == "3.1.0"


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
@pytest.mark.parametrize("path", sorted(openapi.document()["paths"]))
def test_what_is_sent_gets_an_answer_that_is_described(key: Any, server: str, path: str) -> None:
    token = key(may_evict=True, may_flush=True, allowed_controls=["no-cache", "ttl"])
    headers = {"Authorization": f"Bearer {token}"}
    if server == "wsgi":
        schema = schemathesis.openapi.from_wsgi(
            "/llm/openapi.json", get_wsgi_application(), headers=headers
        )
    else:
        schema = schemathesis.openapi.from_asgi(
            "/llm/openapi.json", get_asgi_application(), headers=headers
        )
    (operation,) = (one.ok() for one in schema.include(path=path).get_all_operations())

    @settings(
        max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    run()
