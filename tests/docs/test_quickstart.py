"""quickstart.md in an empty directory: its commands are run and its files written, in its order."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.blocks import PAGES, blocks
from tests.docs.project import Project, signed_in, text_of
from tests.servers.provider import Provider

WHO = {"username": "ada", "password": "a long one"}
RUN = 'python manage.py shell --command "import ask"'


def test_the_page_leads_from_nothing_to_a_hit_in_the_admin(
    tmp_path: Path, speaking: Provider
) -> None:
    project = Project(tmp_path, speaking)
    said: list[list[str]] = []
    dashboard = ""

    def create(line: str) -> None:
        project.environment["DJANGO_SUPERUSER_PASSWORD"] = WHO["password"]
        project.do(f"{line} --no-input --username {WHO['username']} --email ada@example.com")

    def serve(line: str) -> None:
        nonlocal dashboard
        (address,) = re.findall(r"`http://127.0.0.1:8000(/\S+)`", PAGES["quickstart"].read_text())
        with project.running(line, "--noreload", str(project.port)):
            dashboard = look(f"http://127.0.0.1:{project.port}", address)

    project.follow(
        "quickstart",
        {
            RUN: lambda line: said.append(project.do(line).splitlines()),
            "python manage.py createsuperuser": create,
            "python manage.py runserver": serve,
        },
    )
    (first, second), asked = said, speaking.requests
    assert first[-1] == "miss False 0.0 s old"
    assert second[-1].startswith("hit True ")
    assert first[:-1] == second[:-1] != []
    assert [each.headers["authorization"] for each in asked] == ["Bearer sk-..."]
    assert "Requests 2" in dashboard and "Hit rate 50" in dashboard
    # The settings' last block is the one without a key.
    assert project.do(RUN).splitlines()[-1].startswith("miss ")
    assert len(asked) == 1 and len(blocks("quickstart")) == 7


def look(base: str, address: str) -> str:
    """The text of a page of the admin, after signing in."""
    with signed_in(base, **WHO) as browser:
        page = browser.get(address)
    assert page.status_code == 200
    return text_of(page.text)
