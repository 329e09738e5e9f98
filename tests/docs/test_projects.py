"""The pages about Celery and about web servers: their projects are built, started and used."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.docs.project import Project
from tests.servers.provider import Provider
from tests.servers.redis import RedisServer


@pytest.fixture
def project(tmp_path: Path, speaking: Provider) -> Project:
    made = Project(tmp_path, speaking)
    made.environment |= {"OPENAI_API_KEY": "sk-of-the-page"}
    return made


def spoken_to(project: Project) -> None:
    """Let the project's default provider be the local one."""
    with (project.directory / "mysite/settings.py").open("a") as settings:
        options = {"base_url": project.provider.base_url}
        settings.write(f"LLMCACHE_PROVIDERS = {{'default': {{'OPTIONS': {options!r}}}}}\n")


def counts(project: Project) -> list[int]:
    """How many calls and entries are recorded."""
    with closing(sqlite3.connect(project.directory / "db.sqlite3")) as database:
        tables = ("llmcache_call", "llmcache_entry")
        return [database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in tables]


def until(right: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not right():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_celery_stores_and_records_what_the_page_asks(
    project: Project, redis_server: RedisServer
) -> None:
    project.places["redis://127.0.0.1:6379/0"] = f"{redis_server.url}/0"
    said: list[str] = []

    with ExitStack() as stack:
        log = project.directory / "celery.log"

        def work(line: str) -> None:
            with (project.directory / "mysite/settings.py").open("a") as settings:
                settings.write(f"CELERY_TASK_DEFAULT_QUEUE = {uuid.uuid4().hex!r}\n")
            spoken_to(project)
            stack.enter_context(project.running(line, listens=False))

        def ask(line: str) -> None:
            said.append(project.do(line).splitlines()[-1])
            until(lambda: counts(project)[1] == 1)
            said.append(project.do(line).splitlines()[-1])
            until(lambda: counts(project) == [2, 1])

        project.follow("howto_celery", {"celery ": work, "python manage.py shell": ask})
    assert said == ["miss True", "hit False"]
    assert b"llmcache.write_items" in log.read_bytes()


def test_gunicorn_and_uvicorn_serve_and_write_to_the_end(project: Project) -> None:
    def ask(path: str) -> str:
        question = {"q": "Why is the sky blue?"}
        answer = httpx.get(f"http://127.0.0.1:{project.port}/{path}", params=question, timeout=30)
        assert answer.status_code == 200
        return answer.text

    def gunicorn(line: str) -> None:
        spoken_to(project)
        with project.running(line, f"--bind=127.0.0.1:{project.port}"):
            assert [ask("ask") for _ in range(2)] == ['{"outcome": "miss"}', '{"outcome": "hit"}']
        assert counts(project) == [2, 1]

    def uvicorn(line: str) -> None:
        with project.running(line, f"--port={project.port}"):
            assert ask("aask") == "You said: Why is the sky blue?"
        assert counts(project) == [3, 1]

    project.follow("howto_servers", {"gunicorn ": gunicorn, "uvicorn ": uvicorn})
    assert len(project.provider.requests) == 1
