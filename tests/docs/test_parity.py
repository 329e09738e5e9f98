"""The page that compares features: what it says of this package is proved by tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest

from tests.docs.blocks import PAGES, ROOT

TEXT: Final = PAGES["parity"].read_text()
MARKS: Final = {"yes", "partly", "no", "–", "not found"}
OURS: Final = {"yes", "partly"}
_MATRIX: Final = re.compile(r"^```{table}\n:class: parity\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOTE: Final = re.compile(r"^- ((?:\*\*.+?\*\*(?:, )?)+): ((?:.+\n)(?:  .+\n)*)", re.MULTILINE)
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def section(heading: str) -> str:
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(table: str) -> list[list[str]]:
    """The cells of each line of the first table, its head first and without the line below."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells[0], *cells[2:]]


MATRICES: Final = [rows(found) for found in _MATRIX.findall(TEXT)]
HEAD: Final = MATRICES[0][0]
FEATURES: Final = [
    (row[0], dict(zip(HEAD[1:], row[1:], strict=True))) for _, *body in MATRICES for row in body
]
PROOFS: Final[dict[str, str]] = {row[0]: row[1] for row in rows(section("The tests"))[1:]}
PROVED: Final = [name for name, cells in FEATURES if cells["here"] in OURS]
NAMED: Final = sorted({found for cell in PROOFS.values() for found in _TEST.findall(cell)})


def notes() -> dict[str, str]:
    """What is noted of each row."""
    found: dict[str, str] = {}
    for names, text in _NOTE.findall(TEXT):
        for name in re.findall(r"\*\*(.+?)\*\*", names):
            found[name] = f"{found.get(name, '')} {text}"
    return found


def defined(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from defined(node.body, f"{prefix}{node.name}::")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name


@cache
def defined_in(file: str) -> set[str]:
    names = defined(ast.parse((ROOT / file).read_text()).body)
    return {name for name in names if name.rpartition("::")[2].startswith("test_")}


def test_every_table_has_the_same_columns_and_no_other_marks() -> None:
    assert len(MATRICES) == TEXT.count("```{table}") > 5
    assert [matrix[0] for matrix in MATRICES] == [HEAD] * len(MATRICES)
    assert HEAD[:2] == ["", "here"] and len(HEAD) > 8
    assert {mark for _, cells in FEATURES for mark in cells.values()} == MARKS


def test_no_feature_stands_twice() -> None:
    names = [name for name, _ in FEATURES]
    assert len(names) == len(set(names)) > 50


def test_what_we_have_is_proved_and_nothing_else() -> None:
    assert list(PROOFS) == PROVED
    assert [name for name, cell in PROOFS.items() if not _TEST.search(cell)] == []
    assert "".join(_TEST.sub("", cell) for cell in PROOFS.values()).replace("<br>", "") == ""


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_named_test_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert name in defined_in(file)


def test_a_test_that_is_not_there_is_noticed() -> None:
    file = "tests/docs/test_parity.py"
    assert "test_no_feature_stands_twice" in defined_in(file)
    assert not {"test_of_nothing", "section", "TestControls::test_of_nothing"} & defined_in(file)
    assert "TestControls::test_no_store_does_not_write_but_still_reads" in defined_in(
        "tests/test_completion.py"
    )


def test_a_note_says_how_far_each_partly_goes() -> None:
    noted = notes()
    partly = [(row, who) for row, cells in FEATURES for who in cells if cells[who] == "partly"]
    assert [(row, who) for row, who in partly if who not in noted.get(row, "")] == []
    assert noted.keys() <= {row for row, _ in FEATURES}


@pytest.mark.parametrize("peer", HEAD[2:])
def test_every_other_names_its_sources(peer: str) -> None:
    sources = {name: cells for name, *cells in rows(section("Sources"))[1:]}
    read, licence, where = sources[peer]
    assert re.search(r"\d", read) and licence
    assert len(re.findall(r"\[[^\]]+\]\(https://[^)\s]+\)", where)) > 1


def test_the_page_is_found_from_the_first_pages() -> None:
    assert "\nparity\n" in PAGES["index"].read_text()
    assert "(docs/parity.md)" in PAGES["README"].read_text()
