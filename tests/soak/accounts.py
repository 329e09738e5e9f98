"""The soak's accounts: what clients saw, what the site told, what the ledger has and what the
provider was asked must be one and the same story."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from llmcache.outcome import BYPASS, COALESCED, ERROR, FAILED, HIT, MISS, STALE
from tests.soak import journal, load
from tests.soak.chaos import Done
from tests.soak.journal import Line
from tests.soak.load import Asked
from tests.soak.parts import Parts
from tests.soak.questions import FAILING

OUTCOMES: Final = (HIT, STALE, COALESCED, MISS, BYPASS, ERROR, FAILED)
UNWRITTEN: Final = 5.0
"""Seconds: records that a killed process had made so shortly before may be lost with it."""
AFTERWARDS: Final = 8.0
"""Seconds after a part is back until nobody suffers from its absence any more."""
CARRIER_GONE: Final = "the process that read the stream for all is gone"
_ONE_EACH: Final = {MISS, BYPASS, ERROR}
_LEDGER: Final = """
import json
import django
django.setup()
from django.db.models import Count, Sum
from llmcache.models import Call, HourlyStat
from llmcache.recorder import LEFT
calls = Call.objects.values_list("outcome").annotate(Count("pk"))
sums = dict(HourlyStat.objects.values_list("outcome").annotate(Sum("calls")))
left = dict(calls.filter(reason=LEFT))
print(json.dumps({"rows": dict(calls), "left": left, "sums": sums}))
"""


@dataclass
class Accounts:
    """All that was written down.

    Attributes:
        lines: what each process of the site told, by its id.
        rows, sums: calls by outcome, in the ledger's log and in its figures.
        left_rows: those of the rows that are of streams left before their end.
        provider: what the provider was asked: name of the question, model, status.
    """

    asked: list[Asked]
    done: list[Done]
    lines: dict[int, list[Line]]
    killed: dict[int, float]
    provider: list[dict[str, Any]]
    rows: dict[str, int]
    left_rows: dict[str, int]
    sums: dict[str, int]
    told: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for line in self.all_lines():
            self.told[line.name].append(line.outcome)
        for request in self.provider:
            self.calls[request["name"]].append(request["status"])

    def all_lines(self) -> Iterator[Line]:
        for lines in self.lines.values():
            yield from lines

    # --- figures ---

    @property
    def events(self) -> Counter[str]:
        """Calls by outcome, as the site told of them."""
        return Counter(line.outcome for line in self.all_lines())

    @property
    def lost(self) -> tuple[int, int]:
        """Records that the site's processes say they have dropped: of calls, and of entries."""
        lost = [max((line.lost for line in lines), default=0) for lines in self.lines.values()]
        entries = [
            max((line.unindexed for line in lines), default=0) for lines in self.lines.values()
        ]
        return sum(lost) - sum(entries), sum(entries)

    @property
    def left(self) -> int:
        """Streams that clients left before their end, as nobody else is told of them."""
        return sum(a.end == load.LEFT and a.question.name not in self.told for a in self.asked)

    @property
    def at_risk(self) -> int:
        """Calls whose records killed processes may have had no time to write."""
        told = sum(
            line.at > at - UNWRITTEN
            for process, at in self.killed.items()
            for line in self.lines.get(process, ())
        )
        kills = set(self.killed.values())
        left = (a.began for a in self.asked if a.end == load.LEFT)
        return told + sum(any(0 < at - began < UNWRITTEN for at in kills) for began in left)

    # --- checks ---

    def problems(self) -> list[str]:
        """Everything that should not be."""
        checks = (self._answers, self._errors, self._outcomes, self._ledger, self._upstream)
        return [problem for check in checks for problem in check()]

    def _answers(self) -> Iterator[str]:
        for asked in self.asked:
            if asked.wrong:
                yield f"wrong answer to {asked.question}: {asked.wrong}"
            if asked.end == load.ANSWERED and asked.question.model in ("refused", "broken", "cut"):
                yield f"an answer where there is none: {asked}"

    def _errors(self) -> Iterator[str]:
        for asked in self.asked:
            if asked.end == load.FAILED and not self._is_the_providers(asked):
                yield f"an error that the provider has no part in: {asked}"
            if asked.end == load.CUT and not self._may_be_cut(asked):
                yield f"a connection that was cut: {asked}"

    def _is_the_providers(self, asked: Asked) -> bool:
        model, said = asked.question.model, asked.said
        if model == "cut":
            return any(word in said for word in ("in the stream", "StreamBroken", "unreachable"))
        if model in FAILING and f"refused with {FAILING[model]}" in said:
            return True
        # What carried the stream from another process is gone, and with it the rest.
        return CARRIER_GONE in said and self._near(asked, "redis", "gunicorn")

    def _may_be_cut(self, asked: Asked) -> bool:
        near = self._near(asked, "gunicorn", cuts=True)
        return "timed out" not in asked.said and not asked.question.asynchronous and near

    def _near(self, asked: Asked, *parts: str, cuts: bool = False) -> bool:
        """Whether something was done to one of these parts while it was asked, or just before."""
        return any(
            done.act.part in parts
            and done.act.cuts >= cuts
            and done.began <= asked.began + asked.took
            and asked.began <= done.ended + AFTERWARDS
            for done in self.done
        )

    def _outcomes(self) -> Iterator[str]:
        """Each answer is one call with the outcome that its headers name."""
        for asked in self.asked:
            if asked.end not in (load.ANSWERED, load.FAILED) or asked.question.door == "page":
                continue
            expected = asked.outcome if asked.end == load.ANSWERED else FAILED
            found = list(self.told[asked.question.name])
            if asked.outcome == STALE:  # a worker renews it under the same name
                found = [outcome for outcome in found if outcome not in (MISS, FAILED)]
            if found != [expected]:
                yield f"the site told {found} of {asked}"

    def _ledger(self) -> Iterator[str]:
        """What was told is in the ledger, or counted as dropped, or was lost with its process."""
        events, (lost_calls, lost_entries) = self.events, self.lost
        for outcome in OUTCOMES:
            rows = self.rows.get(outcome, 0) - self.left_rows.get(outcome, 0)
            if rows > events[outcome]:
                yield f"{rows} rows of {events[outcome]} calls with {outcome!r}"
            if self.rows.get(outcome, 0) != self.sums.get(outcome, 0):
                yield f"rows and figures of {outcome!r} differ: {self.rows} {self.sums}"
        missing = sum(events.values()) + self.left - sum(self.rows.values()) - lost_calls
        if not 0 <= missing <= self.at_risk:
            yield f"{missing} calls are neither in the ledger nor dropped; {self.at_risk} may be"
        counted = self.sums.get("lost", 0)
        if not 0 <= lost_calls + lost_entries - counted <= self.at_risk:
            yield f"{counted} dropped records are counted, of {lost_calls} and {lost_entries}"

    def _upstream(self) -> Iterator[str]:
        """The provider was asked once for what was not cached, and not for what was."""
        for asked in self.asked:
            if asked.end != load.ANSWERED:
                continue
            answers = sum(status == 200 for status in self.calls[asked.question.name])
            if asked.outcome in _ONE_EACH and answers != 1:
                yield f"the provider answered {answers} times to {asked}"
            if asked.outcome in (HIT, COALESCED) and answers:
                yield f"the provider was asked for what was cached: {asked}"
        names = {asked.question.name for asked in self.asked}
        if strangers := set(self.calls) - names:
            yield f"{len(strangers)} requests of the provider's belong to nobody"

    def by_reason(self) -> Counter[str]:
        """The provider's requests by what came of the question that they belong to."""
        ends = {
            asked.question.name: asked.outcome if asked.end == load.ANSWERED else asked.end
            for asked in self.asked
        }
        sums: Counter[str] = Counter()
        for name, statuses in self.calls.items():
            sums[ends.get(name, "nobody")] += len(statuses)
        return sums


def gather(parts: Parts, asked: list[Asked], done: list[Done]) -> Accounts:
    """The accounts of a site whose web servers and workers have ended in good order."""
    ledger = json.loads(parts.run(_LEDGER))
    lines = (parts.folder / "provider").read_text().splitlines()
    return Accounts(
        asked,
        done,
        journal.read(parts.journal),
        parts.killed,
        [json.loads(line) for line in lines],
        ledger["rows"],
        ledger["left"],
        ledger["sums"],
    )
