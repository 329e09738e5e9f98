"""Rows with real peers: who does not hit has no figure, and calls of the provider are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks import misses, timing
from benchmarks.contenders import Bench
from benchmarks.peer import OURS, Peer
from benchmarks.questions import question
from benchmarks.timing import calling

Make = Callable[..., Peer]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and short rounds."""
    monkeypatch.setattr(timing, "ROUNDS", 3)
    monkeypatch.setattr(timing, "BUDGET", 0.001)


def test_who_asks_the_provider_each_time_does_not_hit(bench: Bench, tiny: Make) -> None:
    own = {"ours": calling(int), "floor": calling(int)}
    for how, name in (("", "quick"), ("forgetful", "forgetful")):
        asked = {**question(100), "how": how}
        row_of = replace(bench, peers=[tiny(name)])
        row = row_of.race_hits("a hit", "", own, bench.job("hit", {"type": "memory"}, asked))
        if how:
            assert row.missing[name].startswith("no hits: it asked the provider")
            assert name not in row.rounds
        else:
            assert len(row.rounds[name]) == 3
            assert row.missing == {}


def test_a_peer_that_fails_leaves_the_others_their_figures(bench: Bench, tiny: Make) -> None:
    asked = {**question(100), "how": "dying"}
    row = replace(bench, peers=[tiny()]).race_hits(
        "a hit",
        "",
        {"ours": calling(int), "floor": calling(int)},
        bench.job("hit", {"type": "memory"}, asked),
    )
    assert set(row.rounds) == {"ours", "floor"}
    assert "out of memory" in row.missing["tiny"]


def test_the_older_litellm_is_in_the_rows_of_the_disk_alone(bench: Bench, tiny: Make) -> None:
    peers = [tiny("LiteLLM"), tiny("LiteLLM 1.108")]
    named = {
        store: [peer.name for peer in replace(bench, peers=peers).peers_of(store)]
        for store in ("disk", "redis")
    }
    assert named == {"disk": ["LiteLLM", "LiteLLM 1.108"], "redis": ["LiteLLM"]}


def test_calls_of_a_stampede_are_counted(
    bench: Bench, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(misses, "FEW", 1)
    bench.upstream.wait(1.0)  # long enough for all to have asked, on a busy machine too
    ours = tiny("ours", OURS)
    try:
        row = misses.stampede(
            bench, "at once", "threads", {"ours": [ours], "tiny": [tiny()]}, {"type": "memory"}
        )
    finally:
        bench.upstream.wait(0.0)
    assert row.calls == {"ours": [1], "tiny": [100]}
    assert row.seconds("one call") >= 1.0
