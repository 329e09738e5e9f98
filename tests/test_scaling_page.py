"""The page on scaling names tasks that there are, and its numbers are those of its formulas."""

from __future__ import annotations

from typing import Any

from benchmarks.capacity_model import Costs, Site, needs
from llmcache.tasks import TASKS
from tests.docs.blocks import PAGES, blocks

PAGE = PAGES["scaling"].read_text()


def test_queues_and_schedules_name_tasks_that_there_are() -> None:
    (block,) = (each.code for each in blocks("scaling") if "CELERY_TASK_ROUTES" in each.code)
    shown: dict[str, Any] = {}
    exec(block, shown)
    known = {task.name for task in TASKS.values()}
    routed = [name for name in shown["CELERY_TASK_ROUTES"] if not name.endswith("*")]
    assert {*routed, *(one["task"] for one in shown["CELERY_BEAT_SCHEDULE"].values())} <= known


COSTS = Costs(
    hit_cpu_us=80,
    miss_cpu_us=500,
    redis_hit_us=20,
    redis_miss_us=140,
    entry_bytes=2250,
    answer_bytes=1940,
    call_row_bytes=400,
    entry_row_bytes=1400,
    record_us=8,
    record_db_us=0.5,
    call_row_us=4,
    call_row_db_us=17,
    entry_row_us=100,
    entry_row_db_us=43,
    hit_row_us=25,
    hit_row_db_us=97,
    record_bytes=520,
    batches_a_second=230,
)
"""The page's first table."""


def test_the_pages_numbers_are_those_of_its_formulas() -> None:
    sampled = Site(log_hits=0.001, log_misses=0.01, hit_sample=0.01, flush=10.0)
    plain, less = (
        {what: value for what, value, _ in needs(site, COSTS)} for site in (Site(), sampled)
    )

    def both(what: str, shape: str) -> str:
        return " | ".join(shape.format(numbers[what]) for numbers in (plain, less))

    shown = PAGE.replace("**", "")
    rows = (
        f"{plain['calls a second, mean']:,.0f}; {plain['calls a second, at the peak']:,.0f} | the",
        both("cores of web servers, for the cache", "{:.1f}"),
        both("Redis: cores busy", "{:.1f}"),
        both("Redis: GB of entries", "{:.0f} GB"),
        both("Redis: Gbit/s", "{:.1f} Gbit/s"),
        " | ".join(f"{n['log: rows a day'] / 1e6:,.4g} million" for n in (plain, less)),
        f"{plain['log: GB'] / 1e3:.1f} TB | {less['log: GB']:.0f} GB",
        both("index: GB", "{:.0f} GB"),
        both("index: rows written and deleted a second", "{:,.0f}"),
        both("index: hits counted a second", "{:,.0f}"),
        both("database: cores busy", "{:.1f}"),
        both("recorders: cores busy", "{:.1f}"),
        both("batches a second", "{:.0f}"),
    )
    assert [row for row in rows if f"| {row} " not in shown] == []
