"""Vectors travel with their entries to a worker, as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmcache import jobs, task_queue
from llmcache.backends.semantic.base import Vector
from tests.matching.conftest import Site
from tests.matching.test_serving import SIMILAR, ask

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was queued for a worker, as it travels."""
    site({"WRITER": "celery"})
    queued: list[dict[str, Any]] = []

    def send(queue: str, task: str, **arguments: Any) -> bool:
        assert task == "write_items"
        queued.append(json.loads(json.dumps(arguments)))
        return True

    monkeypatch.setattr(task_queue, "send", send)
    return queued


def test_a_worker_stores_the_vector_with_the_entry(door: Any, worker: list[dict[str, Any]]) -> None:
    first = ask(door)
    assert not ask(door, SIMILAR, cache={"no-store": True}).cache.hit
    jobs.write_items(**worker[0])
    again = ask(door, SIMILAR)
    assert again.id == first.id


def test_a_job_done_twice_changes_nothing(door: Any, worker: list[dict[str, Any]]) -> None:
    first = ask(door)
    jobs.write_items(**worker[0])
    jobs.write_items(**worker[0])
    assert ask(door, SIMILAR).id == first.id


def test_a_late_job_brings_no_vector_back(door: Any, worker: list[dict[str, Any]]) -> None:
    ask(door, cache={"ttl": 0.05})
    door.sleep(0.1)
    jobs.write_items(**worker[0])
    assert not ask(door, SIMILAR, cache={"no-store": True}).cache.hit


def test_a_vector_comes_out_of_json_as_it_went_in() -> None:
    vector = Vector(
        digest="ab", partition="cd", space="s:2", prompt="é🦜", data=b"\x00\xff" * 4, expires=1.5
    )
    assert Vector.from_json(json.loads(json.dumps(vector.as_json()))) == vector
