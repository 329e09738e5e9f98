"""`llmcache_evict`: removes entries, from all processes."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any, Final

from llmcache import maintenance
from llmcache.management.running import Failed, Running, WrongUsage, counted, listed
from llmcache.models import Entry

_DIGEST_LENGTH: Final = 64


class Command(Running):
    help = (
        "Remove the entries that have one thing in common, or all of a store. Other processes drop "
        "what they hold in their own memory within FLUSH_INTERVAL. Pinned entries go too."
    )
    stopped = "What is removed so far stays removed; the same command goes on from there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--digest", help="the entry of this digest, or of one that begins so")
        what.add_argument("--tag", help="entries with this tag")
        what.add_argument("--namespace", help="entries of this namespace")
        what.add_argument("--scope", help="entries of this scope")
        what.add_argument("--model", help="entries of this model")
        what.add_argument(
            "--all", action="store_true", help="all entries, those included the index does not know"
        )
        parser.add_argument("--alias", help="only in this store (default: in every store)")
        parser.add_argument("--reason", default="", help="for the log of evictions")
        parser.add_argument("--dry-run", action="store_true", help="only say how many there are")
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="do not ask for confirmation",
        )

    def run(self, options: dict[str, Any]) -> None:
        aliases = self.aliases(options["alias"])
        criterion, value = self._criterion(options)
        where = f" in {options['alias']}" if options["alias"] else ""
        known = self._known(criterion, value, options["alias"])
        named = "all entries" if criterion == "all" else f"entries with {criterion} {value!r}"
        number = f"{named}{where}: the index knows of {counted(known, 'entry', 'entries')}"
        if options["dry_run"]:
            self.say(f"Would remove {number}.")
            return
        if options["interactive"]:
            answer = input(f"Remove {number}. Are you sure? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                self.say("Nothing was removed.")
                return
        log = {"reason": options["reason"], "by": _me()}
        done = maintenance.Evicted()
        if criterion == "all":
            with self.bar("entries", known) as bar:
                for alias in aliases:
                    part = maintenance.clear(alias, progress=bar.advance, **log)
                    done.removed += part.removed
                    done.failed += part.failed
                    done.problems |= part.problems
        else:
            done = maintenance.evict(**{criterion: value}, alias=options["alias"], **log)
        self.say(f"Removed {counted(done.removed, 'entry', 'entries')}.")
        if done.failed:
            problems = (f"{alias}: {said}" for alias, said in done.problems.items())
            raise Failed(f"{counted(done.failed, 'entry', 'entries')} stayed:{listed(problems)}")

    def _criterion(self, options: dict[str, Any]) -> tuple[str, str]:
        if options["all"]:
            return "all", ""
        for name in maintenance.CRITERIA:
            value = options[name]
            if value is None:
                continue
            if not value:
                raise WrongUsage(f"--{name} must not be empty.")
            return name, self._whole_digest(value) if name == "digest" else value
        raise WrongUsage(
            "Say what to remove: --digest, --tag, --namespace, --scope, --model, --all"
        )

    def _whole_digest(self, beginning: str) -> str:
        if len(beginning) == _DIGEST_LENGTH:
            return beginning
        found = Entry.objects.with_digest_prefix(beginning).values_list("digest", flat=True)
        digests = sorted(set(found[:100]))
        if len(digests) == 1:
            return digests[0]
        if not digests:
            raise WrongUsage(f"The index knows of no digest that begins with {beginning!r}.")
        raise WrongUsage(f"Several digests begin with {beginning!r}:{listed(digests[:10])}")

    def _known(self, criterion: str, value: str, alias: str | None) -> int:
        entries = Entry.objects.all()
        if criterion == "tag":
            entries = entries.tagged(value)
        elif criterion != "all":
            entries = entries.filter(**{criterion: value})
        return (entries.filter(alias=alias) if alias else entries).count()


def _me() -> str:
    try:
        return f"{getpass.getuser()} (llmcache_evict)"
    except (KeyError, OSError):  # a container's user need have no name
        return "llmcache_evict"
