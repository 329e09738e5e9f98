"""The short form of the soak: every part once killed, hung or replaced under load."""

from __future__ import annotations

from tests.conftest import missing
from tests.servers.ports import Missing
from tests.soak.chaos import ROUND
from tests.soak.report import report
from tests.soak.running import run


def test_a_site_whose_parts_are_killed_answers_right_and_its_counts_add_up() -> None:
    try:
        result = run(18, clients=6, pause=0.8, longest=1.5)
    except (ImportError, Missing) as error:
        missing("A part of the soak", error)
    print(report(result))
    assert result.problems == []
    assert {done.act for done in result.accounts.done} == set(ROUND)
    assert result.accounts.rows.keys() >= {"hit", "stale", "miss", "bypass", "error", "failed"}
    assert len(result.accounts.asked) > 200
    assert len(result.load.evictions) > 3
