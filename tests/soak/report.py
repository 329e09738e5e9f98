"""A run's result as text."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tests.soak import load
from tests.soak.accounts import OUTCOMES
from tests.soak.running import Result


def report(result: Result) -> str:
    """The accounts, the speeds, the processes and the verdict."""
    parts = (_clients(result), _calls(result), _provider(result), _speeds(result))
    rest = (_processes(result), _staff(result), _verdict(result))
    return "\n\n".join("\n".join(lines) for lines in (*parts, *rest))


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells])


def _clients(result: Result) -> Iterator[str]:
    ends = Counter(asked.end for asked in result.accounts.asked)
    wrong = sum(bool(asked.wrong) for asked in result.accounts.asked)
    yield f"Clients asked {len(result.accounts.asked)} times:"
    yield from _table(
        ("", "requests"),
        [
            ("answered", ends[load.ANSWERED]),
            ("  of these wrong", wrong),
            ("an error that the provider made on purpose", ends[load.FAILED]),
            ("left by the client after a stream's first event", ends[load.LEFT]),
            ("cut off with a killed web worker, and asked again", ends[load.CUT]),
        ],
    )


def _calls(result: Result) -> Iterator[str]:
    accounts = result.accounts
    heard = Counter(
        asked.outcome for asked in accounts.asked if asked.end == load.ANSWERED and asked.outcome
    )
    yield "Calls by outcome; the site's own are of pages' inner calls and of renewals too:"
    rows = [
        (
            outcome,
            heard[outcome],
            accounts.events[outcome],
            accounts.left_rows.get(outcome, 0),
            accounts.rows.get(outcome, 0),
            accounts.sums.get(outcome, 0),
        )
        for outcome in OUTCOMES
    ]
    sums = [sum(row[column] for row in rows) for column in range(1, 6)]  # type: ignore[misc]
    yield from _table(
        ("", "clients heard", "site told", "left, in rows", "rows in all", "figures"),
        [*rows, ("all", *sums)],
    )
    calls, entries = accounts.lost
    missing = sums[1] + accounts.left - sums[3]
    yield f"{accounts.left} streams were left, of which the site does not tell but the ledger does."
    yield f"{missing} calls are not in the ledger: {calls} dropped and counted, as the buffer was"
    yield f"full; {missing - calls} lost with processes that were killed ({accounts.at_risk} might"
    yield f"have been). {entries} notes of entries were dropped and counted too."


def _provider(result: Result) -> Iterator[str]:
    reasons = result.accounts.by_reason()
    yield "Requests that the provider got, by what came of the question that they were for:"
    rows = [(reason, number) for reason, number in reasons.most_common()]
    yield from _table(("", "requests"), [*rows, ("all", sum(reasons.values()))])


def _speeds(result: Result) -> Iterator[str]:
    by_outcome: defaultdict[str, list[float]] = defaultdict(list)
    for asked in result.accounts.asked:
        if asked.end == load.ANSWERED and not asked.question.stream:
            by_outcome[asked.outcome].append(asked.took * 1000)
    yield "Whole answers, in ms as clients saw it (the provider thinks for 50):"
    yield from _table(
        ("", "answers", "p50", "p99", "slowest"),
        [
            (
                outcome,
                len(times),
                f"{statistics.median(times):.0f}",
                f"{statistics.quantiles([*times, *times], n=100)[98]:.0f}",
                f"{max(times):.0f}",
            )
            for outcome, times in sorted(by_outcome.items())
        ],
    )


def _processes(result: Result) -> Iterator[str]:
    most_threads = max((course.most_threads for course in result.courses), default=0)
    most_files = max((course.most_files for course in result.courses), default=0)
    yield f"{len(result.courses)} processes, of which none had more than {most_threads} threads and"
    yield f"{most_files} open files. Those that lived for three minutes, in their second and last:"
    yield from _table(
        ("", "seconds", "MB", "threads", "files"),
        [
            (
                f"{course.part} {course.process}",
                f"{course.age:.0f}",
                f"{course.memory[0]:.1f} -> {course.memory[1]:.1f}",
                f"{course.threads[0]:g} -> {course.threads[1]:g}",
                f"{course.files[0]:g} -> {course.files[1]:g}",
            )
            for course in result.courses
            if course.is_long
        ],
    )


def _staff(result: Result) -> Iterator[str]:
    orders = Counter(status for _, status, _ in result.load.staff)
    waits = sorted(result.load.evictions)
    yield f"Staff's orders by status: {dict(sorted(orders.items()))}. Evicted answers were gone"
    yield f"after {waits[-1] if waits else 0:.1f} s at the most ({len(waits)} tried)."
    yield f"Unusual events in the web processes that lived to the end: {result.counts}"


def _verdict(result: Result) -> Iterator[str]:
    if not result.problems:
        yield "All is well."
        return
    yield f"{len(result.problems)} problems:"
    for problem in result.problems[:50]:
        yield f"- {problem}"
