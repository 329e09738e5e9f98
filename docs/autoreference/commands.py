"""The management commands and their options, as their own parsers have them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from docs.autoreference.markdown import code, prose, table

_OF_ALL: Final = {
    action.dest for action in BaseCommand().create_parser("manage.py", "any")._actions
}
"""What every command of Django's has."""


def described(name: str) -> str:
    """A command: what it does, and each of its own arguments."""
    parts = []
    for words, told, parser in _parsers(name):
        parts.append(f"{code(words)}: {prose(told)}" if words else prose(told))
        if rows := [(_words(action), prose(_help(action))) for action in _own(parser)]:
            parts.append(table(("argument", "meaning"), rows))
    return "\n\n".join(parts)


def arguments(name: str) -> set[str]:
    """Every word by which an argument of a command is given."""
    actions = (action for *_, parser in _parsers(name) for action in _own(parser))
    return {word for action in actions for word in action.option_strings or [action.dest]}


def _parsers(name: str) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """The command's own parser with what it says of itself, then those of its verbs."""
    command = load_command_class("llmcache", name)
    parser = command.create_parser("manage.py", name)
    yield "", " ".join(command.help.split()), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for told in action._choices_actions:
                yield f"{name} {told.dest}", f"{told.help}.", action.choices[told.dest]


def _own(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions
        if action.dest not in _OF_ALL and not isinstance(action, argparse._SubParsersAction)
    ]


def _words(action: argparse.Action) -> str:
    words = ", ".join(map(code, action.option_strings)) or code(action.dest)
    if action.choices:
        return f"{words}: {', '.join(code(str(choice)) for choice in action.choices)}"
    return words


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": ""}
