"""Loads a solution in Python: a few functions in a file of their own.

Imports are refused but for NumPy and a few modules of Python's, so that calling the package's own
ops is no solution. That is no sandbox: a file that is written to cheat, or to do harm, can.
"""

from __future__ import annotations

import ast
import traceback
import types
from collections.abc import Iterator, Sequence

from minialex.study.puzzles.puzzle import SolutionError
from minialex.wording import enumerated

ALLOWED = "numpy", "math", "itertools", "functools", "collections", "operator", "typing"
"""What a solution may import."""

REFUSED = "__import__", "eval", "exec", "compile", "open", "input", "breakpoint"
"""Functions of Python's that a solution has no use for."""

FILE = "your file"
"""What messages call it."""


MAX_MESSAGE = 300
"""So many characters are told of what an exception says."""


class SolutionRaisedError(Exception):
    """A function of a solution raised; the message says what, and in which line."""


def load(text: str, functions: Sequence[str]) -> types.SimpleNamespace:
    """Run a solution and return its functions of these names.

    Raises
    ------
    SolutionError
        If it does not compile, uses what is refused, raises, or lacks one of them.
    """
    try:
        tree = ast.parse(text, FILE)
        # of a null byte, or of nesting too deep, this says more
        code = compile(tree, FILE, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # a null byte has no line
        number = error.lineno if isinstance(error, SyntaxError) else None
        line = f", line {number}" if number else ""
        raise SolutionError(f"{FILE} is no Python{line}: {_message(error)}") from None
    for number, what in _refused(tree):
        raise SolutionError(
            f"line {number} of {FILE} uses {what}: write it out with NumPy; what may be imported: "
            f"{enumerated(ALLOWED)}"
        )
    space: dict[str, object] = {"__name__": "solution"}
    try:
        exec(code, space)
    except Exception as error:
        raise SolutionError(described(error)) from None
    for name in functions:
        if not callable(space.get(name)):
            raise SolutionError(f"{FILE} defines no function {name}: keep the one it began with")
    return types.SimpleNamespace(**{name: space[name] for name in functions})


def _message(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


def _refused(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line of what is refused, and what it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ["." * node.level + (node.module or "")]
        else:
            if isinstance(node, ast.Name) and node.id in REFUSED:
                yield node.lineno, node.id
            continue
        for module in modules:
            if module.partition(".")[0] not in (*ALLOWED, "__future__"):
                yield node.lineno, module


def described(error: BaseException) -> str:
    """Return what was raised, and in which line of the solution."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == FILE]
    where = f" in line {lines[-1]}" if lines else ""
    try:
        message = " ".join(str(error).split())[:MAX_MESSAGE]
    except Exception:
        message = ""
    return f"{FILE} raised {type(error).__name__}{where}" + (f": {message}" if message else "")
