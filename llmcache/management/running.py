"""What all of this package's commands share: exit codes, and an end by Ctrl-C that loses nothing.

Exit codes: 0 all went well, 1 something failed, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError

from llmcache import conf
from llmcache.exceptions import InvalidRequest
from llmcache.progress import Bar


class WrongUsage(CommandError):
    """The arguments cannot be understood together."""

    def __init__(self, text: str) -> None:
        super().__init__(text, returncode=2)


class Failed(CommandError):
    """Something failed; what went well before is kept."""


class Running(BaseCommand):
    """A command. Subclasses implement `run`, and say in `stopped` how far they have come."""

    stopped = "What was done so far is kept."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.run(options)
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {self.stopped}", returncode=130) from None
        except InvalidRequest as error:
            raise WrongUsage(str(error)) from error

    @abstractmethod
    def run(self, options: dict[str, Any]) -> None:
        """Do it.

        Raises:
            WrongUsage, Failed: as the exit code is to be.
        """

    def say(self, text: str) -> None:
        """One line of the result."""
        self.stdout.write(text)

    def bar(self, what: str, total: int | None = None) -> Bar:
        """A progress bar, if the result goes to a terminal."""
        inner = cast(TextIO, self.stdout._out)  # the wrapper ends every text with a new line
        return Bar(inner, what, total)

    def aliases(self, given: str | None) -> list[str]:
        """The alias that was given, or all.

        Raises:
            WrongUsage: there is none of that name.
        """
        known = list(conf.backends())
        if given is None:
            return known
        if given not in known:
            raise InvalidRequest.unknown("alias of LLMCACHE", given, known)
        return [given]


def counted(number: int, one: str, many: str = "") -> str:
    """A number and its noun: "1 entry", "1,200 entries"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(problems: Iterable[str]) -> str:
    """Problems, each on a line of its own."""
    return "".join(f"\n  {problem}" for problem in problems)
