"""Which kernels each implementation may launch, found by following its code.

From the functions of an implementation the search goes on to every function, constant and closure
of this package that they name, and collects the `Kernel` objects that it meets. Nothing is run, so
a kernel is found whatever shapes it is for; the implementations' own tests show that it is
launched.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from minialex.autograd import LATE_ROUTINES, ROUTINES, Implementation
from minialex.cuda import Kernel


class Use(NamedTuple):
    """A routine and one of its implementations, and whether that is the default on a GPU."""

    routine: str
    implementation: str
    is_default: bool


LAUNCHING = "minialex.ops", "minialex.optim", "minialex.data", "minialex.train"
"""The packages whose code decides how kernels are launched."""


def kernels_of(implementation: Any) -> set[tuple[str, str]]:
    """Return file and name of every kernel that `implementation` may launch."""
    found = _reached(implementation)
    return {(str(one.file), one.name) for one in found if isinstance(one, Kernel)}


def modules_of(implementation: Any) -> set[str]:
    """Return the modules of the ops, optimizers, ... whose functions `implementation` may call."""
    found = _reached(implementation)
    names = {one.__module__ for one in found if isinstance(one, types.FunctionType)}
    return {name for name in names if name.startswith(tuple(f"{one}." for one in LAUNCHING))}


def _reached(implementation: Any) -> list[Any]:
    """Return every function, constant and closure that `implementation` leads to."""
    seen: dict[int, Any] = {}
    todo = [implementation]
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            # kept, so that no other object takes over its id
            seen[id(one)] = one
            todo.extend(_named_by(one))
    return list(seen.values())


def uses() -> dict[tuple[str, str], list[Use]]:
    """Return, for file and name of every kernel in use, the implementations that launch it."""
    for module in LATE_ROUTINES.values():
        importlib.import_module(module)
    found: dict[tuple[str, str], list[Use]] = {}
    for routine in ROUTINES.values():
        for name, implementation in routine.implementations.items():
            for kernel in kernels_of(implementation):
                found.setdefault(kernel, []).append(Use(routine.name, name, name == routine.kernel))
    return {kernel: sorted(there) for kernel, there in found.items()}


def default_kernels() -> set[tuple[str, str]]:
    """Return file and name of every kernel of a default implementation."""
    return {kernel for kernel, there in uses().items() if any(use.is_default for use in there)}


def _named_by(one: Any) -> Iterator[Any]:
    """Yield what `one` leads to directly."""
    if isinstance(one, functools.partial):
        yield from (one.func, *one.args, *one.keywords.values())
    elif isinstance(one, types.MethodType):
        yield from (one.__func__, one.__self__)
    elif isinstance(one, types.FunctionType):
        if _ours(one.__module__):
            yield from _of_function(one)
    elif isinstance(one, tuple | list | set | frozenset):
        yield from one
    elif isinstance(one, dict):
        yield from one.values()
    elif inspect.isclass(one):
        if _ours(one.__module__):
            yield from vars(one).values()
    elif isinstance(one, Implementation) or (is_dataclass(one) and _ours(type(one).__module__)):
        yield from (getattr(one, field.name) for field in fields(one))


def _of_function(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        yield cell.cell_contents
    yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    names = set(_names(function.__code__))
    there = [function.__globals__[name] for name in names & set(function.__globals__)]
    yield from there
    for module in there:
        if isinstance(module, types.ModuleType) and _ours(module.__name__):
            yield from (vars(module)[name] for name in names & set(vars(module)))


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code, and the functions written inside it, refer to."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _ours(module: str | None) -> bool:
    # autograd's own functions choose among all implementations, so from there all are found
    ours, rest = (module or "").startswith("minialex."), (module or "").removeprefix("minialex.")
    return ours and rest.partition(".")[0] != "autograd"
