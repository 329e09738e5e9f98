"""Every block of code in docs/ and in the README is run, page by page, from the top."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, blocks
from tests.docs.scenes import SCENES
from tests.docs.stage import Stage
from tests.servers.provider import Provider

ELSEWHERE = {
    "howto_celery": "tests/docs/test_projects.py",
    "howto_servers": "tests/docs/test_projects.py",
    "quickstart": "tests/docs/test_quickstart.py",
    "testing": "tests/testing/test_documentation.py",
}
"""Pages that are a whole project: a test of their own does what they say."""
LANGUAGES_ELSEWHERE = {("scaling", "sql"): "tests/ledger/test_partitions.py"}
"""Blocks that need a server of their own, and the test that gives it to them."""
WITHOUT_TRANSACTION = {"endpoint", "evicting"}
"""Pages whose code reaches the database from other threads."""
NOT_RUN = {"from_litellm": 1}
"""How many blocks of a page no test runs; the page says beside each why."""


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    page: str,
    tmp_path: Path,
    speaking: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    for name, path in (("OPENAI", ""), ("ANTHROPIC", "/v1")):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-of-the-page")
        monkeypatch.setenv(f"{name}_BASE_URL", speaking.base_url.removesuffix(path))
    stage = Stage(tmp_path, _places(request, PAGES[page].read_text(), tmp_path, monkeypatch))
    with stage.lit():
        stage.names.update(SCENES.get(page, lambda stage: {})(stage))
        yield stage


def _places(
    request: pytest.FixtureRequest, text: str, directory: Path, patch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Patterns of the addresses in a page, and what is at hand for them."""
    places = {r"/var/cache": f"{directory}/var"}
    if "redis" in text.lower():
        server = request.getfixturevalue("redis_server")
        places[r"redis://[\w.-]+(:\d+)?"] = server.url
        places[r"\b6379\b"] = str(server.port)
        patch.setenv("REDIS_HOST", "127.0.0.1")
        patch.setenv("REDIS_PORT", str(server.port))
        patch.setenv("REDIS_PASSWORD", "")
    if "s3://" in text or "s3_bucket_name" in text:
        server = request.getfixturevalue("s3_server")
        places[r"\bmy-bucket\b"] = server.bucket
        patch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint_url)
        patch.setenv("AWS_ACCESS_KEY_ID", server.options["aws_access_key_id"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", server.options["aws_secret_access_key"])
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    if "https://example.com" in text:
        places["https://example.com"] = request.getfixturevalue("live_server").url
    return places


def runnable(page: str) -> list[Block]:
    return [
        block
        for block in blocks(page)
        if not block.why_not and (page, block.language) not in LANGUAGES_ELSEWHERE
    ]


def cases() -> list[Any]:
    """The pages; a transaction around each is undone much sooner than tables are emptied."""
    return [
        pytest.param(page, marks=pytest.mark.django_db(transaction=page in WITHOUT_TRANSACTION))
        for page in PAGES
        if page not in ELSEWHERE and runnable(page)
    ]


@pytest.mark.parametrize("page", cases())
def test_the_page_does_what_it_says(page: str, stage: Stage) -> None:
    stage.lay_out(runnable(page))
    for block in runnable(page):
        stage.play(block)


def test_what_is_run_elsewhere_has_tests_there() -> None:
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / test).read_text()
    for (page, language), test in LANGUAGES_ELSEWHERE.items():
        text = (ROOT / test).read_text()
        assert f"{page}.md" in text and f"```{language}" in text


def test_hardly_any_block_is_not_run() -> None:
    found = {page: sum(bool(block.why_not) for block in blocks(page)) for page in PAGES}
    assert {page: number for page, number in found.items() if number} == NOT_RUN
