"""What is asked of a pair of implementations besides right numbers, kind of check by kind.

Each of these runs an op on a case as the engine might, but as a small case seldom makes it: on
arrays that lie otherwise in memory, cut for several workers, in another order of threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import numpy as np

from minialex import arrays
from minialex.arrays import BFLOAT16, CPU, Array
from minialex.autograd import DeferredGradient
from minialex.check import comparison, guess, noise, suite
from minialex.check.case import Case, generator, scattered, shifted
from minialex.check.case_findings import CaseFindings
from minialex.check.cases import CASES
from minialex.check.cases import deferred as deferred_cases
from minialex.check.contract import violations
from minialex.check.suite import Pair, problem_of
from minialex.check.verdict import Finding, Verdict
from minialex.cpu.sharing import sharing_forced
from minialex.cuda import emulated, emulation
from minialex.errors import MinialexError


class Kind(StrEnum):
    """A kind of check, by the name that tables and options have for it."""

    VALUES = "values"
    """Output and gradients are right, known answers at kinks, the same bits when run again."""

    CONTRACT = "contract"
    """What an implementation owes autograd: see ``contract.py``."""

    LAYOUTS = "layouts"
    """Arrays with gaps in another order of axes, and at addresses where no vector begins."""

    SHARING = "sharing"
    """Work cut into several blocks for several workers, however small it is."""

    ORDERS = "orders"
    """The same bits whichever order the emulator runs threads and blocks in."""

    DEFERRED = "deferred"
    """Gradients that are computed when they are used, whole and in rows."""

    BFLOAT16 = "bfloat16"
    """Of bfloat16 arrays, what float32 gives for the same numbers, rounded once."""

    ENGINE = "engine"
    """What autograd does with gradients, whatever the op: see ``engine.py``."""

    FULL_SIZE = "full size"
    """AlexNet's layers as large as they are: see ``full_size.py``."""


LAYOUTS = {"scattered in memory": scattered, "at odd addresses": shifted}

SHARINGS = (1, 2), (3, 2)
"""For how many workers work is cut, and into how many blocks for each: blocks of unequal lengths
for one, and several for several."""

SEEDS = 1, 2
"""Of the orders of threads that are compared with the natural one."""


def layouts(pair: Pair, case: Case) -> CaseFindings:
    """Check a case on arrays that lie in memory otherwise."""
    found = (
        (where, suite.check(pair, case, layout=layout).findings)
        for where, layout in LAYOUTS.items()
    )
    return CaseFindings(pair, case.name, tuple(named(found)), Kind.LAYOUTS)


def sharing(pair: Pair, case: Case) -> CaseFindings:
    """Check a case with its work cut for several workers, in several blocks."""
    found = shared_out(lambda: suite.check(pair, case).findings)
    return CaseFindings(pair, case.name, tuple(named(found)), Kind.SHARING)


Found = Iterator[tuple[str, tuple[Finding, ...]]]
"""What a check finds in each of several ways to run it, and which that is."""


def shared_out(check: Callable[[], tuple[Finding, ...]]) -> Found:
    """Yield what a check finds with work cut in each way of `SHARINGS`."""
    for workers, blocks in SHARINGS:
        with sharing_forced(workers, blocks):
            yield f"cut for {workers} x {blocks} blocks", check()


def named(found: Found) -> Iterator[Finding]:
    """Yield all findings, each called after what it was found under, too."""
    for where, findings in found:
        for finding in findings:
            yield dataclasses.replace(finding, what=f"{finding.what}, {where}")


def contract(pair: Pair, case: Case) -> CaseFindings:
    """Check what an implementation owes autograd."""
    broken = violations(pair, case)
    problem = problem_of(pair.op, case)
    bits = problem.y.size + sum(problem.input(k).size for k in case.differentiable(problem.inputs))
    found = (
        comparison.wrong("contract", *broken)
        if broken
        else Finding("contract", Verdict.PASS, 0.0, 0.0, bits)
    )
    return CaseFindings(pair, case.name, (found,), Kind.CONTRACT)


def orders(pair: Pair, case: Case) -> CaseFindings:
    """Compare the bits of all results in several orders of threads."""
    problem = problem_of(pair.op, case)
    inputs = pair.prepared(problem.inputs)
    gy = arrays.to_device(
        problem.gy.astype(case.output_dtype or pair.dtype), case.output_device or pair.device
    )
    wanted = case.differentiable(problem.inputs)
    needs = tuple(i in wanted for i in range(len(inputs)))

    def results() -> list[Array]:
        y, saved = pair.run(inputs, case.params)
        grads = pair.vjp(gy, saved, case.params, needs)
        return [arrays.to_numpy(a) for a in (y, *grads) if a is not None]

    return CaseFindings(pair, case.name, (same_in_all_orders(results),), Kind.ORDERS)


def same_in_all_orders(results: Callable[[], list[Array]]) -> Finding:
    """Run what gives arrays in several orders of threads, and compare their bits."""
    what = "the same bits in any order of threads"
    natural = results()
    for seed in SEEDS:
        with _in_order(seed):
            other = results()
        if [a.tobytes() for a in natural] != [a.tobytes() for a in other]:
            return comparison.wrong(what, f"order {seed} has other bits than the natural one")
    return Finding(what, Verdict.PASS, 0.0, 0.0, len(SEEDS) * sum(a.size for a in natural))


def _in_order(seed: int) -> contextlib.AbstractContextManager[object]:
    """Return the emulation that is on, with threads and blocks in another order."""
    now = emulation()
    if now is None:
        raise ValueError("no emulator is on: threads have no order to change")
    return emulated(now.mode, seed=seed, architecture=now.architecture.name)


def deferred(pair: Pair, case: Case) -> CaseFindings:
    """Ask backward to defer each gradient, and compare it, whole and in rows, with the array."""
    inputs = pair.prepared(case.draw(pair.op.name))
    y, saved = pair.run(inputs, case.params)
    gy = generator(pair.op.name, case.name, "cotangent").standard_normal(y.shape).astype(y.dtype)
    backward = pair.implementations()[1].backward
    whole = backward(gy, saved, **case.params)
    put_off = backward(gy, saved, **case.params, may_defer=(True,) * len(inputs))
    later = [(k, g) for k, g in enumerate(put_off) if isinstance(g, DeferredGradient)]
    # what it is made of may change before it is computed
    for a in (gy, *(x for x in inputs if x is not None)):
        a.fill(np.nan)
    found = [_deferred(pair, case, k, g, whole[k]) for k, g in later] or [
        Finding("deferred gradients", Verdict.INCONCLUSIVE, 0.0, 0.0, 0, 0, ("none was deferred",))
    ]
    return CaseFindings(pair, case.name, tuple(found), Kind.DEFERRED)


def _deferred(pair: Pair, case: Case, k: int, g: DeferredGradient, whole: Array) -> Finding:
    what = f"deferred gradient of input {k}"
    if (g.shape, g.dtype) != (whole.shape, whole.dtype):
        return comparison.wrong(what, f"it is {g.shape} {g.dtype}, not {whole.shape} {whole.dtype}")
    at_once, in_rows = np.full_like(whole, np.nan), np.full_like(whole, np.nan)
    g.compute(at_once)
    for start in range(0, len(whole), g.row_block):
        rows = slice(start, min(start + g.row_block, len(whole)))
        g.compute_rows(rows, in_rows[rows])
    if at_once.tobytes() != in_rows.tobytes():
        return comparison.wrong(what, f"{g.row_block} rows at a time have other bits")
    shapes = tuple(None if a is None else a.shape for a in case.draw(pair.op.name))
    operations = pair.op.cost(shapes, **case.params).flops / max(whole.size, 1)
    want = whole.astype(np.float64)
    return comparison.values(what, at_once, want, np.abs(want), pair.allowed(operations))


def bfloat16(pair: Pair, case: Case) -> CaseFindings:
    """Compare what is made of bfloat16 arrays with what is made of the same numbers in float32."""
    problem = problem_of(pair.op, case, roundoff=noise.unit(BFLOAT16))
    wide = pair.prepared(problem.inputs)
    narrow = dataclasses.replace(pair, dtype=BFLOAT16).prepared(problem.inputs)
    wanted = case.differentiable(problem.inputs)
    needs = tuple(i in wanted for i in range(len(wide)))
    y, saved = pair.run(wide, case.params)
    y_narrow, saved_narrow = pair.run(narrow, case.params)
    gy = arrays.to_device(problem.gy.astype(y.dtype), arrays.device_of(y))
    if case.output_dtype is None:
        y, gy = y.astype(BFLOAT16), gy.astype(BFLOAT16)
    grads = pair.vjp(gy.astype(case.output_dtype or np.float32), saved, case.params, needs)
    grads_narrow = pair.vjp(gy, saved_narrow, case.params, needs)
    found = [_same_rounded("output", y_narrow, y)]
    for k, (got, g, x) in enumerate(zip(grads_narrow, grads, narrow, strict=True)):
        if got is not None and g is not None and x is not None:
            found.append(_same_rounded(f"gradient of input {k}", got, g.astype(x.dtype)))
    return CaseFindings(pair, case.name, tuple(found), Kind.BFLOAT16)


def _same_rounded(what: str, got: Array, want: Array) -> Finding:
    what = f"{what} of bfloat16"
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        return comparison.wrong(
            what, f"it is {got.shape} {got.dtype}, not {want.shape} {want.dtype}"
        )
    bits = np.dtype(f"u{want.itemsize}")
    got, want = arrays.to_numpy(got), arrays.to_numpy(want)
    nan = np.isnan(got) & np.isnan(want)
    apart = np.ascontiguousarray(got).view(bits) != np.ascontiguousarray(want).view(bits)
    apart &= ~nan
    if not apart.any():
        return Finding(what, Verdict.PASS, 0.0, 0.0, got.size)
    place = np.unravel_index(int(apart.argmax()), got.shape)
    return comparison.wrong(
        what,
        f"first at {guess.at(place)}: got {float(got[place])!r}, float32 gives, rounded, "
        f"{float(want[place])!r}",
        f"{np.count_nonzero(apart)} of {got.size} elements are off",
    )


def cases_of(kind: Kind, pair: Pair) -> Sequence[Case]:
    """Return the cases on which a pair is asked that; none where it does not concern it.

    Raises
    ------
    MinialexError
        If the op has no cases.
    """
    if not CASES.get(pair.op.name):
        raise MinialexError(
            f"op {pair.op.name!r} is untested: give it cases in minialex/check/cases"
        )
    if not _concerns(kind, pair):
        return ()
    there = deferred_cases.CASES if kind is Kind.DEFERRED else CASES
    return there.get(pair.op.name, ())


def _concerns(kind: Kind, pair: Pair) -> bool:
    if kind is Kind.VALUES:
        return True
    if pair.forward != pair.backward or kind not in CHECKS:
        # what concerns one of them alone need not be asked of every pair
        return False
    if kind is Kind.SHARING:
        return may_share(pair.name, pair.launches_kernels(), pair.device)
    if kind is Kind.BFLOAT16:
        takes = all("bfloat16" in one.dtypes for one in pair.implementations())
        return takes and pair.dtype == np.float32
    if kind is Kind.ORDERS:
        return emulation() is not None and pair.launches_kernels()
    return kind is not Kind.DEFERRED or "may_defer" in pair.implementations()[1].takes


def may_share(name: str, launches_kernels: bool, device: arrays.Device) -> bool:
    """Return whether an implementation of that name cuts its work for a CPU's workers."""
    return name != "plain" and not launches_kernels and device == CPU


CHECKS: dict[Kind, Callable[[Pair, Case], CaseFindings]] = {
    Kind.VALUES: suite.check,
    Kind.CONTRACT: contract,
    Kind.LAYOUTS: layouts,
    Kind.SHARING: sharing,
    Kind.ORDERS: orders,
    Kind.DEFERRED: deferred,
    Kind.BFLOAT16: bfloat16,
}
"""What each kind of check runs, of those that ops are asked."""
