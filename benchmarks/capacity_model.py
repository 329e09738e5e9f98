"""What so many calls a day need, by what one of them costs: the formulas of docs/scaling.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """A site, in numbers of the reader's own.

    Attributes:
        calls: a day. hits: the share that the cache answers. peak: how many times the mean the
            busiest minutes are.
        processes: that call. flush: FLUSH_INTERVAL. buffer: BUFFER_SIZE.
        ttl: days that an entry lives. retention: RETENTION_DAYS.
        log_hits: LOG_SAMPLE of hits. log_misses: of all other calls. hit_sample: HIT_SAMPLE.
    """

    calls: float = 1e9
    hits: float = 0.9
    peak: float = 3.0
    processes: float = 500
    flush: float = 2.0
    buffer: float = 10_000
    ttl: float = 1.0
    retention: float = 30.0
    log_hits: float = 1.0
    log_misses: float = 1.0
    hit_sample: float = 1.0


@dataclass(frozen=True)
class Costs:
    """What one of each takes: microseconds of one processor, bytes, and batches a second."""

    hit_cpu_us: float
    miss_cpu_us: float
    redis_hit_us: float
    redis_miss_us: float
    entry_bytes: float
    answer_bytes: float
    call_row_bytes: float
    entry_row_bytes: float
    record_us: float
    record_db_us: float
    call_row_us: float
    call_row_db_us: float
    entry_row_us: float
    entry_row_db_us: float
    hit_row_us: float
    hit_row_db_us: float
    record_bytes: float
    batches_a_second: float


def needs(site: Site, costs: Costs) -> Iterator[tuple[str, float, str]]:
    """What is needed of each part: its name, how much, and by what formula."""
    second = site.calls / 86_400
    busiest = second * site.peak
    hits, misses = busiest * site.hits, busiest * (1 - site.hits)
    entries = site.calls * (1 - site.hits) * site.ttl
    yield "calls a second, mean", second, "calls / 86,400"
    yield "calls a second, at the peak", busiest, "mean x peak"
    cores = (hits * costs.hit_cpu_us + misses * costs.miss_cpu_us) / 1e6
    yield (
        "cores of web servers, for the cache",
        cores,
        "hits/s x hit_cpu + misses/s x miss_cpu",
    )
    cores = (hits * costs.redis_hit_us + misses * costs.redis_miss_us) / 1e6
    yield "Redis: cores busy", cores, "hits/s x redis_hit + misses/s x redis_miss"
    yield (
        "Redis: GB of entries",
        entries * costs.entry_bytes / 1e9,
        "misses/day x ttl x entry_bytes",
    )
    traffic = busiest * costs.answer_bytes * 8 / 1e9
    yield "Redis: Gbit/s", traffic, "calls/s x answer_bytes x 8"
    logged = site.calls * (site.hits * site.log_hits + (1 - site.hits) * site.log_misses)
    yield "log: rows a day", logged, "hits/day x LOG_SAMPLE + other/day x theirs"
    size = logged * site.retention * costs.call_row_bytes / 1e9
    yield "log: GB", size, "rows a day x RETENTION_DAYS x call_row_bytes"
    yield "index: rows", entries, "misses/day x ttl"
    yield "index: GB", entries * costs.entry_row_bytes / 1e9, "rows x entry_row_bytes"
    yield "index: rows written and deleted a second", 2 * misses, "2 x misses/s"
    counted = hits * site.hit_sample
    yield "index: hits counted a second", counted, "hits/s x HIT_SAMPLE"
    rows = {"record": busiest, "call_row": logged / site.calls * busiest}
    rows |= {"entry_row": 2 * misses, "hit_row": counted}
    for who, ending in (("recorders", "us"), ("database", "db_us")):
        cores = sum(n * getattr(costs, f"{name}_{ending}") for name, n in rows.items()) / 1e6
        formula = f"records/s x record_{ending} + rows/s of each kind x its _{ending}"
        yield f"{who}: cores busy", cores, formula
    flushes = site.processes / site.flush
    yield "batches a second", flushes, "processes / FLUSH_INTERVAL"
    share = flushes / costs.batches_a_second
    yield "of what one database took here", share, "batches / batches_a_second"
    each = busiest / site.processes
    yield "calls a second of one process", each, "calls/s / processes"
    lasts = site.buffer / each
    yield (
        "seconds that a database may be away",
        lasts,
        "BUFFER_SIZE / calls/s of one process",
    )
    memory = site.buffer * costs.record_bytes / 1e6
    yield "MB of a full buffer", memory, "BUFFER_SIZE x record_bytes"
