"""A provider's error is told to other processes, and kept in cassettes, as what it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmcache import claims, error_json
from llmcache.exceptions import BadRequest, RateLimited, UpstreamError


class OwnError(RateLimited):
    """Of a project's own upstream."""


@pytest.mark.parametrize("kind", error_json.CLASSES.values())
def test_every_class_comes_back(kind: type[UpstreamError]) -> None:
    made = kind("no", status=418, request_id="r", body={"a": [1]}, provider="p")
    again = error_json.from_json(json.loads(json.dumps(error_json.as_json(made))))
    assert type(again) is kind
    assert again.__dict__ == made.__dict__


def test_a_projects_own_class_comes_back_as_the_nearest_of_ours() -> None:
    again = claims.error_in(claims.told(OwnError("no", retry_after=3)))
    assert type(again) is RateLimited
    assert (again.message, again.retry_after) == ("no", 3)


@pytest.mark.parametrize("body", ["\ud800", {("a", 1): 2}], ids=["surrogate", "odd-key"])
def test_a_body_without_a_json_form_is_left_out(body: Any) -> None:
    again = error_json.from_json(error_json.as_json(BadRequest("no", status=400, body=body)))
    assert (str(again), again.body) == ("no (status 400)", None)


@pytest.mark.parametrize(
    "said", [{}, {"error": "RateLimited"}, {"error": {"class": "Exception"}}, {"error": {}}]
)
def test_what_cannot_be_read_is_no_error(said: dict[str, Any]) -> None:
    assert claims.error_in(said) is None
