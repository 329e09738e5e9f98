"""`llmcache_stats`: what the cache did and saved."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone

from llmcache import stats
from llmcache.management.running import Running, WrongUsage
from llmcache.stats import Figures

_COLUMNS: Final = ("requests", "hits", "hit rate", "tokens saved", "money saved", "time saved")


class Command(Running):
    help = (
        "Show how many calls there were, how many the cache answered, and what that saved. Money "
        "is in the currency of the price table, less what lookups cost; times are UTC."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days", type=float, default=7, help="how far to look back (default: %(default)s)"
        )
        parser.add_argument("--alias", default="", help="only this store")
        parser.add_argument("--model", default="", help="only this model")
        parser.add_argument("--namespace", default="", help="only this namespace")
        parser.add_argument("--by", choices=stats.GROUPS, help="a row for each of these")
        parser.add_argument(
            "--limit", type=int, default=20, help="most rows with --by (default: %(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def run(self, options: dict[str, Any]) -> None:
        if not 0 < options["days"] <= 36_500:
            raise WrongUsage(f"--days must be a number above 0, not {options['days']:g}.")
        if options["limit"] < 1:
            raise WrongUsage(f"--limit must be an integer from 1 up, not {options['limit']}.")
        filters = {name: options[name] for name in ("alias", "model", "namespace")}
        rows = stats.selected(timezone.now() - timedelta(days=options["days"]), **filters)
        summary, latencies = stats.summary(rows), stats.latencies(rows)
        group = options["by"]
        groups = stats.by(rows, group, options["limit"]) if group else []
        if options["json"]:
            self.say(
                json.dumps(
                    {
                        "days": options["days"],
                        **_as_json(summary),
                        "latencies": asdict(latencies),
                        **(
                            {"by": {name: _as_json(part) for name, part in groups}} if group else {}
                        ),
                    }
                )
            )
            return
        if not summary.requests and not summary.lost:
            self.say("No calls are recorded for this time.")
            return
        self._show(summary)
        for name in ("hit", "miss"):
            p50, p95 = (getattr(latencies, f"{name}_p{part}") for part in (50, 95))
            if p50 is not None:
                text = f"p50 {_seconds(p50)}, p95 {_seconds(p95)}"
                self.say(f"{f'latency of a {name}':<20} {text}")
        if group:
            self._show_groups(group, groups)

    def _show(self, figures: Figures) -> None:
        rate = "-" if figures.hit_rate is None else f"{figures.hit_rate:.1%}"
        facts = {
            "requests": f"{figures.requests:,}",
            "hits": f"{figures.hits:,} ({rate} of those that asked the cache)",
            "misses": f"{figures.misses:,}",
            "bypasses": f"{figures.bypasses:,}",
            "failures": f"{figures.failures:,}",
            "tokens paid for": f"{figures.tokens:,}",
            "tokens saved": f"{figures.saved_tokens:,}",
            "money paid": f"{figures.cost:,.4f}",
            "money saved": f"{figures.net_saved:,.4f}",
            "time saved": _seconds(figures.saved_seconds),
        }
        if figures.unpriced:
            facts["without a price"] = f"{figures.unpriced:,} calls; their money is not counted"
        if figures.lost:
            facts["lost records"] = f"{figures.lost:,}; raise BUFFER_SIZE or see to the database"
        for name, text in facts.items():
            self.say(f"{name:<20} {text}")

    def _show_groups(self, group: str, groups: list[tuple[str, Figures]]) -> None:
        table = [(group, *_COLUMNS)]
        for name, figures in groups:
            rate = "-" if figures.hit_rate is None else f"{figures.hit_rate:.1%}"
            table.append(
                (
                    name or "(none)",
                    f"{figures.requests:,}",
                    f"{figures.hits:,}",
                    rate,
                    f"{figures.saved_tokens:,}",
                    f"{figures.net_saved:,.4f}",
                    _seconds(figures.saved_seconds),
                )
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        self.say("")
        for first, *rest in table:
            cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
            self.say("  ".join([f"{first:<{widths[0]}}", *cells]))


def _as_json(figures: Figures) -> dict[str, Any]:
    return {**asdict(figures), "hit_rate": figures.hit_rate, "net_saved": figures.net_saved}


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:,.1f} ms"
    if seconds < 120:
        return f"{seconds:,.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:,.1f} min" if minutes < 120 else f"{hours:,.1f} h"
