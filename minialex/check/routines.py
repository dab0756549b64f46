"""What is checked of routines: implementations that agree, of what has no gradient.

Results are compared with those of the definition in ``minialex.reference``, in float64.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from minialex import cuda, reference
from minialex.arrays import CPU, Array, Device, to_numpy
from minialex.autograd import LATE_ROUTINES, OPS, ROUTINES, DeferredGradient, Routine
from minialex.check import comparison, guess, kinds
from minialex.check.case import Inputs, shifted
from minialex.check.case_findings import CaseFindings
from minialex.check.cases.routines import CASES, Layout, RoutineCase
from minialex.check.kinds import Kind
from minialex.check.verdict import Finding, Verdict
from minialex.errors import MinialexError

ARRAY_OPERATIONS = "plain", "blocked"
"""The implementations of a routine that launch no kernels."""

MOST_ARRAYS = 5
"""No routine has more."""


@dataclass(frozen=True)
class RoutineImplementation:
    """One implementation of a routine, on a device, in a type."""

    routine: Routine
    name: str
    dtype: Any
    device: Device = CPU

    @property
    def title(self) -> str:
        """The name of the routine."""
        return self.routine.name

    def launches_kernels(self) -> bool:
        """Return whether it is made of CUDA kernels."""
        return self.name not in ARRAY_OPERATIONS

    def why_not(self) -> str:
        """Return why it cannot run on its device; empty where it can."""
        return cuda.why_not(self.device) if self.launches_kernels() else ""

    def record(self) -> dict[str, str]:
        """Return what names it, as JSON has it."""
        return {
            "routine": self.title,
            "implementation": self.name,
            "dtype": str(self.dtype),
            "device": str(self.device),
        }

    def __str__(self) -> str:
        return f"{self.title} {self.name} {self.dtype} on {self.device}"

    def results(self, case: RoutineCase, layout: Layout = lambda inputs: inputs) -> list[Array]:
        """Return what it makes of a case, on the host."""
        call = self.routine.implementations[self.name]
        return _run(case, call, self, layout)


def routines() -> dict[str, Routine]:
    """Return every routine that is no op, by name."""
    for module in sorted(set(LATE_ROUTINES.values())):
        importlib.import_module(module)
    return {name: one for name, one in sorted(ROUTINES.items()) if name not in OPS}


def implementations(name: str, dtype: Any, device: Device = CPU) -> list[RoutineImplementation]:
    """Return every implementation of a routine, whether it can run or not."""
    routine = routines()[name]
    return [
        RoutineImplementation(routine, one, np.dtype(dtype), device)
        for one in routine.implementations
    ]


@functools.cache
def truth(name: str, case: RoutineCase) -> list[Array]:
    """Return what the definition gives, in float64."""
    return case.run(getattr(reference, name), np.dtype(np.float64), CPU, lambda inputs: inputs)


def values(one: RoutineImplementation, case: RoutineCase) -> CaseFindings:
    """Compare with the definition, and the bits with those of a second run."""
    first = one.results(case)
    what = "the same bits when run again"
    same = [a.tobytes() for a in first] == [a.tobytes() for a in one.results(case)]
    again = (
        Finding(what, Verdict.PASS, 0.0, 0.0, sum(a.size for a in first))
        if same
        else comparison.wrong(what, "two runs on the same inputs gave different bits")
    )
    return CaseFindings(one, case.name, (*compared(one, case, first), again))


def compared(
    one: RoutineImplementation, case: RoutineCase, got: list[Array]
) -> tuple[Finding, ...]:
    """Compare results with those of the definition."""
    together = enumerate(zip(got, truth(one.title, case), strict=True))
    return tuple(_compare(f"array {i}", a, want, one, case) for i, (a, want) in together)


def _compare(
    what: str, got: Array, want: Array, one: RoutineImplementation, case: RoutineCase
) -> Finding:
    """Compare arrays whose elements may each be off by a share of 1 plus their size."""
    if (got.shape, got.dtype) != (want.shape, one.dtype):
        kinds_of_both = f"it is {got.shape} {got.dtype}, not {want.shape} {one.dtype}"
        return comparison.wrong(what, kinds_of_both)
    if not got.size:
        return Finding(what, Verdict.PASS, 0.0, 0.0, 0)
    bound = case.bound * float(np.finfo(one.dtype).eps)
    error = comparison.distance(got, want) / np.where(np.isfinite(want), 1 + np.abs(want), 1)
    place = np.unravel_index(error.argmax(), error.shape)
    largest, off = float(error[place]), int(np.count_nonzero(~(error <= bound)))
    detail = (
        f"worst at {guess.at(place)}: {guess.differ(got[place], want[place])}",
        f"{off} of {got.size} elements are off",
    )
    verdict = Verdict.FAIL if off else Verdict.PASS
    return Finding(what, verdict, largest, bound, got.size, 0, detail if off else ())


def _alone(k: int) -> Layout:
    """Return a layout in which array `k` alone is shifted."""

    def shift_one(inputs: Inputs) -> Inputs:
        return tuple(shifted((a,))[0] if i == k else a for i, a in enumerate(inputs))

    return shift_one


LAYOUTS: dict[str, Layout] = {
    "at odd addresses": shifted,
    **{f"array {k} at an odd address": _alone(k) for k in range(MOST_ARRAYS)},
}


def layouts(one: RoutineImplementation, case: RoutineCase) -> CaseFindings:
    """Check a case on arrays that begin where no vector does: all, and each alone."""
    found = (
        (where, compared(one, case, one.results(case, layout))) for where, layout in LAYOUTS.items()
    )
    return CaseFindings(one, case.name, tuple(kinds.named(found)), Kind.LAYOUTS)


def sharing(one: RoutineImplementation, case: RoutineCase) -> CaseFindings:
    """Check a case with its work cut for several workers, in several blocks."""
    found = kinds.shared_out(lambda: compared(one, case, one.results(case)))
    return CaseFindings(one, case.name, tuple(kinds.named(found)), Kind.SHARING)


def orders(one: RoutineImplementation, case: RoutineCase) -> CaseFindings:
    """Compare the bits of all results in several orders of threads."""
    found = kinds.same_in_all_orders(lambda: one.results(case))
    return CaseFindings(one, case.name, (found,), Kind.ORDERS)


def deferred(one: RoutineImplementation, case: RoutineCase) -> CaseFindings:
    """Give an optimizer its gradient deferred, to be computed in rows; with its work cut, too."""
    update = one.routine.implementations[one.name]

    def with_rows(p: Array, g: Array, *state: Array | None, **numbers: Any) -> None:
        update(p, _in_rows(g), *state, **numbers)

    def check() -> tuple[Finding, ...]:
        return compared(one, case, _run(case, with_rows, one, lambda inputs: inputs))

    found = chain([("gradient deferred", check())], kinds.shared_out(check))
    return CaseFindings(one, case.name, tuple(kinds.named(found)), Kind.DEFERRED)


def _in_rows(g: Array) -> DeferredGradient:
    """Return a flat gradient as one that is computed in blocks of 3 rows of 5, or of 1."""
    rows = g.reshape(-1, 5 if g.size % 5 == 0 else 1)

    def compute_rows(some: slice, out: Array) -> None:
        out[...] = rows[some]

    return DeferredGradient(rows.shape, g.dtype, compute_rows, row_block=3)


def _run(
    case: RoutineCase, call: Callable[..., None], one: RoutineImplementation, layout: Layout
) -> list[Array]:
    return [to_numpy(a) for a in case.run(call, one.dtype, one.device, layout)]


def cases_of(kind: Kind, one: RoutineImplementation) -> list[RoutineCase]:
    """Return the cases on which an implementation is asked that; none where it does not concern it.

    Raises
    ------
    MinialexError
        If the routine has no cases.
    """
    if one.title not in CASES:
        raise MinialexError(
            f"routine {one.title!r} is untested: give it cases in minialex/check/cases/routines.py"
        )
    cases = CASES[one.title] if _concerns(kind, one) else []
    return [case for case in cases if str(one.dtype) in case.dtypes]


def _concerns(kind: Kind, one: RoutineImplementation) -> bool:
    if kind is Kind.SHARING:
        return kinds.may_share(one.name, one.launches_kernels(), one.device)
    if kind is Kind.ORDERS:
        return cuda.emulation() is not None and one.launches_kernels()
    if kind is Kind.DEFERRED:
        return getattr(one.routine.implementations[one.name], "takes_deferred", False)
    return kind in CHECKS


CHECKS: dict[Kind, Callable[[RoutineImplementation, RoutineCase], CaseFindings]] = {
    Kind.VALUES: values,
    Kind.LAYOUTS: layouts,
    Kind.SHARING: sharing,
    Kind.ORDERS: orders,
    Kind.DEFERRED: deferred,
}
"""What each kind of check runs, of those that routines are asked."""
