"""How many lines of code an implementation has: what a reader of it has to read.

Counted from the source, without blank lines, comments and docstrings. From an implementation's
functions every name they use is followed, as long as it is defined in `PACKAGES`; of a kernel the
whole ``.cu`` file counts. Threads, memory and the launch layer, which all ops share, do not.
"""

from __future__ import annotations

import ast
import functools
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import minialex
from minialex.autograd import Implementation
from minialex.cuda import Kernel, kernel_folder

PACKAGES = "minialex.ops", "minialex.optim", "minialex.data.prepare"
PACKAGE_FOLDER = Path(minialex.__file__).parent
CU_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
NOT_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER, tokenize.ENCODING,
}  # fmt: skip


def source_lines(implementation: Any) -> int:
    """Return the lines of code of an `Implementation`, or of an optimizer's update function.

    0 where it is defined outside of `PACKAGES`.
    """
    seen: set[int] = set()
    lines: set[tuple[Path, int]] = set()
    to_visit = [implementation]
    while to_visit:
        value = to_visit.pop()
        if id(value) not in seen:
            seen.add(id(value))
            lines |= _own_lines(value)
            to_visit += _uses(value)
    return len(lines)


def _inside(value: Any) -> bool:
    """Return whether a function, a class or a module is defined in `PACKAGES`."""
    name = value.__name__ if isinstance(value, ModuleType) else value.__module__
    return any(name == package or name.startswith(f"{package}.") for package in PACKAGES)


def _own_lines(value: Any) -> set[tuple[Path, int]]:
    """Return the lines, as (file, number), on which a function, class or kernel stands."""
    if isinstance(value, Kernel):
        path = kernel_folder() / value.file
        return {(path, n) for n in _cu_code_lines(path)}
    if not (isinstance(value, FunctionType | type) and _inside(value)):
        return set()
    # of the code itself: a function that wraps another one would be taken for that one
    defined = value.__code__ if isinstance(value, FunctionType) else value
    path = Path(inspect.getfile(defined))
    if PACKAGE_FOLDER not in path.parents:
        # generated, as a dataclass's methods are
        return set()
    source, first = inspect.getsourcelines(defined)
    return {(path, n) for n in range(first, first + len(source)) if n in _code_lines(path)}


def _uses(value: Any) -> Iterator[Any]:
    """Yield what a value refers to: for a function, the globals that it names, and its closure."""
    if isinstance(value, Implementation):
        yield from (value.forward, value.backward)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif inspect.ismethod(value):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, FunctionType):
        yield from _function_uses(value)
    elif isinstance(value, type) and _inside(value):
        yield from (*value.__bases__, *vars(value).values())
    elif isinstance(value, property):
        yield from (f for f in (value.fget, value.fset) if f is not None)
    elif hasattr(value, "__wrapped__"):
        yield value.__wrapped__
    elif _inside(type(value)):
        yield from (type(value), *getattr(value, "__dict__", {}).values())


def _function_uses(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        yield cell.cell_contents
    if not _inside(function):
        return
    yield from function.__defaults__ or ()
    names = set(_names(function.__code__))
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            # patches.im2col: the module, and the attributes that the function names as well
            yield from (vars(value)[n] for n in names & vars(value).keys() if _inside(value))
        else:
            yield value


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that a function and those defined in it look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


@functools.cache
def _code_lines(path: Path) -> frozenset[int]:
    """Return the numbers of a Python file's lines that hold code."""
    text = path.read_text(encoding="utf-8")
    numbers: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            numbers.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            numbers.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return frozenset(numbers)


@functools.cache
def _cu_code_lines(path: Path) -> frozenset[int]:
    """Return the numbers of a CUDA file's lines that hold code."""
    text = CU_COMMENT.sub(lambda m: "\n" * m[0].count("\n"), path.read_text(encoding="utf-8"))
    return frozenset(n for n, line in enumerate(text.splitlines(), 1) if line.strip())
