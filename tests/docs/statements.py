"""Python as a page shows it: run statement by statement, and held to the values in its comments.

    response.cache.outcome  # "hit"

is a statement whose value must be "hit". A comment that is no value of Python's is only read.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import tokenize
from typing import Any, Final

NOTHING: Final = object()


def run(code: str, names: dict[str, Any], runner: asyncio.Runner, place: str, line: int) -> None:
    """Run code in a namespace; what it awaits, on the runner's loop.

    Raises:
        AssertionError: a value is not what the comment beside it says.
    """
    comments = _comments(code)
    tree = ast.parse(code)
    for node in tree.body:
        last = node.end_lineno or 0
        promised = _promised(comments.get(last, "")) if isinstance(node, ast.Expr) else NOTHING
        ast.increment_lineno(node, line - 1)
        value = _run_one(node, names, runner, place)
        if promised is not NOTHING:
            where = f"{place}: line {last + line - 1} says {promised!r}, but it is {value!r}"
            assert _is(value, promised), where


def _run_one(node: ast.stmt, names: dict[str, Any], runner: asyncio.Runner, place: str) -> Any:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    if isinstance(node, ast.Expr):
        made = compile(ast.Expression(node.value), place, "eval", flags=flags)
    else:
        made = compile(ast.Module([node], []), place, "exec", flags=flags)
    value = eval(made, names)
    if made.co_flags & inspect.CO_COROUTINE:
        return runner.run(value)
    return value


def _comments(code: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _promised(comment: str) -> Any:
    """The value that a comment begins with, up to a colon or a comma."""
    for text in (comment, *(comment.partition(mark)[0] for mark in (": ", ", "))):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            continue
    return NOTHING


def _is(value: Any, promised: Any) -> bool:
    if isinstance(promised, float):
        return bool(abs(value - promised) < 0.01)
    return bool(value == promised) and isinstance(value, bool) == isinstance(promised, bool)
