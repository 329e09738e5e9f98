"""The pages' runner itself: what is wrong on a page does not pass."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.docs import commands, statements
from tests.docs.blocks import PAGES, ROOT, Block, blocks
from tests.docs.stage import Stage, settings_of


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def run(code: str, runner: asyncio.Runner) -> dict[str, Any]:
    names: dict[str, Any] = {}
    statements.run(code, names, runner, "page.md", 10)
    return names


@pytest.mark.parametrize(
    "code",
    [
        '1 + 1  # 2\n"a".upper()  # "A"',
        "1 + 1  # 2: as it should be",
        "[1, 2]  # [1, 2]",
        "2 / 3  # 0.67",
        "1 + 1  # some number",
        "1 + 1",
        "async def two():\n    return 2\n\n\nawait two()  # 2",
    ],
)
def test_what_is_as_the_comment_says_passes(code: str, runner: asyncio.Runner) -> None:
    run(code, runner)


@pytest.mark.parametrize(
    "code",
    [
        "1 + 1  # 3",
        "1 + 1  # True",
        '"a"  # "b", and more',
        "2 / 3  # 0.7",
        "async def two():\n    return 2\n\n\nawait two()  # 3",
    ],
)
def test_what_is_not_fails_and_names_the_line(code: str, runner: asyncio.Runner) -> None:
    last = 10 + code.count("\n")
    with pytest.raises(AssertionError, match=f"page.md: line {last} says"):
        run(code, runner)


def test_code_that_raises_fails(runner: asyncio.Runner) -> None:
    with pytest.raises(NameError):
        run("nobody_has_defined_this", runner)


@pytest.mark.parametrize(
    "line",
    [
        "make no-such-target",
        'pip install "django-llmcache[no-such-extra]"',
        "python manage.py llmcache_stats --no-such-option",
        "python manage.py no_such_command",
        "rm -r everything",
    ],
)
def test_commands_that_are_not_there_fail(line: str) -> None:
    with pytest.raises(Exception, match=r"no|unrecognized|no_such"):
        commands.run(line)


def test_settings_that_the_checks_refuse_fail(tmp_path: Path) -> None:
    code = 'LLMCACHE_CONFIG = {"NO_SUCH_KEY": 1}\n'
    with Stage(tmp_path, {}).lit() as stage, pytest.raises(AssertionError):
        stage.play(Block("page", 1, "python", "", code, ""))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("A = 1\nB = [..., 2]", {"A", "B"}),
        ("import os\n\nA = os.sep", {"A"}),
        ("INSTALLED_APPS += []", {"INSTALLED_APPS"}),
        ("A = 1\nprint(A)", set()),
        ("a = 1", set()),
    ],
)
def test_settings_are_told_from_other_code(code: str, found: set[str]) -> None:
    assert settings_of(code) == found


def test_every_fence_of_every_page_is_seen() -> None:
    for page, path in PAGES.items():
        lines = path.read_text().splitlines()
        fences = [line.strip() for line in lines if line.strip().startswith("```")]
        opened = [fence for fence in fences if fence != "```"]
        code = [name for name in opened if name[3:4] != "{" or name.startswith("```{code-block}")]
        assert len(fences) == 2 * len(opened), page
        assert len(blocks(page)) == sum(name != "```text" for name in code), page


def test_drawings_are_whole_and_say_what_they_show() -> None:
    for path in (ROOT / "docs" / "pictures").glob("*.svg"):
        drawing = ElementTree.parse(path).getroot()
        named = {child.tag.rpartition("}")[2] for child in drawing}
        assert {"title", "desc", "style"} <= named
        assert re.search(r"prefers-color-scheme: ?dark", path.read_text())
