"""The page about testing: its files are written, its commands are run."""

from __future__ import annotations

import json
import re
import shlex

from llmcache.testing import __all__ as names
from llmcache.testing.player import ALIASES, MODES
from tests.servers.provider import Provider, answer, delta, events, stream
from tests.testing.conftest import ROOT, Project

PAGE = (ROOT / "docs" / "testing.md").read_text()
CHOICE = {
    "index": 0,
    "message": {"role": "assistant", "content": "The capital of France is Paris."},
    "finish_reason": "stop",
}
MANAGE = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_file_and_command_of_the_page_works(project: Project, provider: Provider) -> None:
    whole = answer({"choices": [CHOICE]})
    chunks = stream(events(delta("Paris"), delta(finish_reason="stop")))
    provider.script(
        lambda handler: (chunks if provider.requests[-1].json.get("stream") else whole)(handler)
    )
    project.write("manage.py", MANAGE)
    project.write("shop/__init__.py", "")
    project.write("tests/__init__.py", "")
    for block in blocks("python"):
        name = re.match(r"# (\S+\.py)\n", block)
        assert name is not None
        project.write(name[1], block)
    (ini,) = blocks("ini")
    project.write("pytest.ini", ini + "asyncio_mode = auto\naddopts = --strict-markers\n")
    commands = [line for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 5
    asked = []
    for command in commands:
        words = shlex.split(command)
        environment = dict([words.pop(0).split("=")]) if "=" in words[0] else {}
        arguments = words[1:] if words[0] == "python" else ["-m", *words]
        before = len(provider.requests)
        done = project.run(*arguments, **environment)
        assert done.returncode == 0, (command, done.stdout)
        asked.append(len(provider.requests) - before)
    assert asked == [5, 0, 2, 0, 0]
    (shown,) = blocks("json")
    recorded = project.directory / "tests/cassettes/test_answers/test_the_capital.json"
    assert recorded.read_text() == shown


def test_the_failure_is_shown_as_it_is(project: Project, provider: Provider) -> None:
    provider.script(answer({"choices": [CHOICE]}))
    project.write("shop/__init__.py", "")
    for block in blocks("python")[:2]:
        name = block.splitlines()[0].removeprefix("# ")
        project.write(name, block)
    test = "tests/test_answers.py"
    assert project.pytest("--llmcache-record=record", test).returncode == 0
    text = (project.directory / test).read_text()
    project.write(test, text.replace("France", "Spain"))
    done = project.pytest(f"{test}::test_the_capital")
    said = "\n".join(
        line[1:].removeprefix("   ").removeprefix(" llmcache.testing.problems.UnexpectedLiveCall: ")
        for line in done.stdout.splitlines()
        if line.startswith("E ")
    )
    (shown,) = blocks("text")
    for line in filter(None, shown.splitlines()):
        expected = line.strip().replace("cassette tests", f"cassette {project.directory}/tests")
        assert expected in said.replace("\n", "\n "), done.stdout


def test_every_mode_and_name_is_on_the_page() -> None:
    for mode in (*MODES, *ALIASES):
        assert f"`{mode}`" in PAGE
    hidden = {"CassetteBlock", "CassetteError", "UnusedRecordings", "UpstreamCalls"}
    assert {name for name in names if name not in PAGE} <= hidden | {"block_live_calls"}


def test_the_json_on_the_page_is_json() -> None:
    assert [json.loads(block)["format"] for block in blocks("json")] == [1]
