"""Mistakes of the kinds that people make in kernels, each as an edit of a kernel's text.

A module here for each op or routine, named after it, and one for the matrix products that several
ops share, holds a list `FAULTS`; nothing else is to be
done for ``tests/cuda/test_zoo.py`` to plant each of them and see that it is caught.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minialex.check import Verdict, routines
from minialex.check.case import Inputs
from minialex.check.cases.routines import LARGE
from minialex.check.kinds import Kind
from minialex.check.verdict import worst


@dataclass(frozen=True)
class Fault:
    """A mistake in a kernel, and how it shows.

    Parameters
    ----------
    name : str
        What is wrong, unique among the faults of the op.
    file, old, new : str
        `old`, which stands exactly once in the kernel file `file`, becomes `new`.
    op, implementation : str
        The op or routine that the mistake is in, and one of its implementations that runs it.
    error : str
        What kind of `EmulationError` it is caught by; by wrong numbers where it is empty.
    dtype : str
        The type in which it is looked for.
    mode : str
        How the kernels are emulated: ``"fast"`` or ``"checked"``.
    layout : callable, optional
        How inputs lie in memory, where the mistake shows there alone; see ``suite.check``.
    check : callable, optional
        Raises AssertionError on wrong numbers, as tests do. By default all cases of the op in
        ``minialex.check.cases``; routines that are not ops name a check of their own.
    """

    name: str
    file: str
    old: str
    new: str
    op: str
    implementation: str
    error: str = ""
    dtype: str = "float32"
    mode: str = "checked"
    layout: Callable[[Inputs], Inputs] | None = None
    check: Callable[[], None] | None = None

    def __str__(self) -> str:
        return f"{self.op} {self.implementation}: {self.name}"


@functools.cache
def _check_of(routine: str) -> Callable[[], None]:
    """Return the check of a routine that is no op: all its small cases, in float32."""
    return functools.partial(_check_small_cases, routine)


def _check_small_cases(name: str) -> None:
    one = routines.RoutineImplementation(routines.routines()[name], "kernel", np.dtype(np.float32))
    for case in routines.cases_of(Kind.VALUES, one):
        if str(LARGE) not in case.name:
            found = routines.compared(one, case, one.results(case))
            assert worst([f.verdict for f in found]) is Verdict.PASS, found


def routine_fault(
    routine: str, name: str, old: str, new: str, error: str = "", *, file: str = ""
) -> Fault:
    """Return a mistake in the kernel of a routine that is no op, or in a file that it includes."""
    check = _check_of(routine)
    return Fault(name, file or f"{routine}.cu", old, new, routine, "kernel", error, check=check)


def drawn(faults: list[Fault]) -> list[Fault]:
    """Return the tenth of `faults` that the suite plants; ``tests/campaigns`` plants the others."""
    return [fault for fault in faults if zlib.crc32(str(fault).encode()) % 10 == 0]


def faults() -> list[Fault]:
    """Return the faults of all modules here."""
    names = [f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)]
    return [fault for name in names for fault in importlib.import_module(name).FAULTS]
