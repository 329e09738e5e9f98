"""Peers fail in many ways; each gives a reason, and none ends the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peer
from benchmarks.contenders import Bench
from benchmarks.peer import Kind, Peer
from benchmarks.questions import question
from benchmarks.timing import Missing

Make = Callable[..., Peer]


def job(bench: Bench, how: str = "", path: str = "hit", store: str = "memory") -> dict[str, Any]:
    asked = {**question(100), "how": how}
    return {**bench.job(path, {"type": store}, asked), "times": 3}


def test_a_peer_answers_with_the_seconds_of_a_call(bench: Bench, tiny: Make) -> None:
    assert 0 < tiny().do(job(bench))["seconds"] < 1


def test_what_a_package_prints_is_no_answer(bench: Bench, tiny: Make) -> None:
    one = tiny()
    assert "seconds" in one.do(job(bench, "noisy"))
    assert "seconds" in one.do(job(bench))


@pytest.mark.parametrize(
    ("how", "reason"),
    [("broken", "ValueError: it broke"), ("wrong", "AssertionError: a wrong answer: 'something")],
)
def test_a_failure_is_told_and_the_next_job_done(
    how: str, reason: str, bench: Bench, tiny: Make
) -> None:
    one = tiny()
    with pytest.raises(Missing, match=reason):
        one.do(job(bench, how))
    assert "seconds" in one.do(job(bench))


def test_the_last_words_of_a_process_that_ends_are_the_reason(bench: Bench, tiny: Make) -> None:
    one = tiny()
    for _ in range(2):
        with pytest.raises(Missing, match="has ended with status 3: out of memory"):
            one.do(job(bench, "dying"))


def test_a_peer_that_hangs_is_ended(bench: Bench, tiny: Make) -> None:
    one = tiny(patience=2)
    one.do(job(bench))
    process = one._process
    assert process is not None
    with pytest.raises(Missing, match="no answer within 2 s"):
        one.do(job(bench, "hanging"))
    assert process.returncode is not None


@pytest.mark.parametrize(
    ("path", "store", "reason"),
    [
        ("hit", "s3", "it has no cache in S3"),
        ("replay", "memory", "it keeps no streams"),
        ("concurrent hits", "memory", "it has no async calls"),
        ("semantic hit", "memory", "it does not match by vectors"),
    ],
)
def test_what_a_peer_cannot_has_a_reason(
    path: str, store: str, reason: str, bench: Bench, tiny: Make, tmp_path: Path
) -> None:
    vectors = tmp_path / "vectors"
    vectors.write_bytes(bytes(16))
    asked = job(bench, path=path, store=store)
    asked["store"] |= {"stored": str(vectors), "searched": str(vectors), "dimensions": 2}
    with pytest.raises(Missing, match=reason):
        tiny().do(asked)


def test_a_peer_without_its_room_is_to_be_made(
    bench: Bench, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "ROOMS", tmp_path)
    with pytest.raises(Missing, match="not installed: `make peers`"):
        tiny(kind=Kind("tiny_peer.py", "tiny")).do(job(bench))


def test_what_pip_said_is_the_reason(
    bench: Bench, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "ROOMS", tmp_path)
    (tmp_path / "tiny.log").write_text("Looking\nERROR: No matching distribution for tiny\n")
    with pytest.raises(Missing, match="it did not install: ERROR: No matching distribution"):
        tiny(kind=Kind("tiny_peer.py", "tiny")).do(job(bench))


def test_every_peer_has_its_script_and_its_requirements() -> None:
    for kind in peer.PEERS.values():
        assert (peer.SCRIPTS / kind.script).is_file()
        assert not kind.room or (peer.SCRIPTS / f"{kind.room}.txt").is_file()
    rooms = {kind.room for kind in peer.PEERS.values()}
    assert {path.stem for path in peer.SCRIPTS.glob("*.txt")} <= rooms
