"""All checks of all ops, one by one: what ``minialex gradcheck`` runs and prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minialex.arrays import CPU, Device
from minialex.autograd import OPS, Op
from minialex.check import comparison, full_size, suite
from minialex.check.case import Case
from minialex.check.cases import CASES
from minialex.check.cases import full_size as layers
from minialex.check.contract import is_fault_of_op
from minialex.check.suite import CaseFindings, Pair
from minialex.check.verdict import Verdict
from minialex.errors import MinialexError
from minialex.wording import counted, unknown


@dataclass(frozen=True)
class CheckRun:
    """One case of one pair of implementations, to be checked at full size or by differences."""

    pair: Pair
    case: Case
    full: bool

    def __repr__(self) -> str:
        return f"CheckRun({self.pair}, case {self.case.name!r}{', full size' * self.full})"

    def run(self) -> CaseFindings:
        """Check it; an op that raises fails.

        Raises
        ------
        MinialexError, MemoryError
            If what fails is not the op but what it runs on; or if a kernel does not compile, which
            is the same for every case.
        """
        check = full_size.check if self.full else suite.check
        try:
            return check(self.pair, self.case)
        except Exception as failure:  # the other checks are run all the same
            if not is_fault_of_op(failure):
                raise
            finding = comparison.wrong("running at all", f"{type(failure).__name__}: {failure}")
            return CaseFindings(self.pair, self.case.name, (finding,))


def check_runs(
    *,
    ops: Sequence[str] = (),
    implementations: Sequence[str] = (),
    dtypes: Sequence[str] = ("float64", "float32"),
    device: Device = CPU,
    full: bool = False,
    batch: int = 1,
    mixed: bool = False,
) -> list[CheckRun]:
    """Return what there is to check: each case of each implementation of each op in each type.

    Parameters
    ----------
    ops : names of ops; all where there are none
    implementations : names of implementations; all that can run where there are none
    dtypes : types to check in
    device : Device
        Where the arrays under test live.
    full : bool
        AlexNet's layers at full size by the adjoint identity, instead of small cases by
        differences.
    batch : int
        How many images there are at full size.
    mixed : bool
        The forward of each implementation with the backward of each other, too.

    Raises
    ------
    MinialexError
        If there is no such op or implementation, an op has no cases, or an implementation is asked
        for that cannot run here.
    """
    chosen = _chosen("op", ops, sorted(OPS))
    every = sorted({name for op in OPS.values() for name in op.implementations})
    taking_part = set(_chosen("implementation", implementations, every))
    for name in implementations:
        _check_runs(name, [OPS[op] for op in chosen], device)
    cases = layers.cases(batch) if full else CASES
    _check_cases(ops if full else chosen, cases, full)
    return [
        CheckRun(pair, case, full)
        for name in chosen
        for dtype in dtypes
        for pair in suite.pairs(OPS[name], dtype, device)
        if mixed or pair.forward == pair.backward
        if taking_part & {pair.forward, pair.backward} and not pair.why_not()
        for case in cases.get(name, ())
    ]


def _chosen(what: str, names: Sequence[str], there: list[str]) -> list[str]:
    for name in names:
        if name not in there:
            raise MinialexError(unknown(what, name, there))
    return list(names) or there


def _check_runs(name: str, ops: Sequence[Op], device: Device) -> None:
    reasons = [op.implementations[name].why_not(device) for op in ops if name in op.implementations]
    if not reasons:
        raise MinialexError(f"none of {', '.join(op.name for op in ops)} has implementation {name}")
    if all(reasons):
        raise MinialexError(f"{name}: {reasons[0]}")


def _check_cases(names: Sequence[str], cases: Mapping[str, Sequence[Case]], full: bool) -> None:
    for name in names:
        if cases.get(name):
            continue
        if full:
            there = ", ".join(sorted(cases))
            raise MinialexError(f"op {name!r} is no layer of AlexNet's; known: {there}")
        raise MinialexError(f"op {name!r} is untested: give it cases in minialex/check/cases")


def worst_of(done: Iterable[CaseFindings]) -> CaseFindings:
    """Return the row with the worst verdict; of those, the one that takes most of its bound."""
    order = list(Verdict)
    return max(done, key=lambda row: (order.index(row.verdict), row.worst.ratio))


def closing(done: Iterable[CaseFindings]) -> list[str]:
    """Return lines that count, op by op, what was compared, and with which verdicts."""
    compared: Counter[str] = Counter()
    kinks: Counter[str] = Counter()
    verdicts: Counter[tuple[str, Verdict]] = Counter()
    for row in done:
        name = f"{row.pair.op.name} {row.pair.name}"
        compared[name] += row.compared
        kinks[name] += sum(f.excluded for f in row.findings)
        verdicts[name, row.verdict] += 1
    lines = []
    for name in sorted(compared):
        counts = ", ".join(f"{verdicts[name, v]} {v}" for v in Verdict if verdicts[name, v])
        excluded = f", {kinks[name]} excluded at kinks (non-differentiable)" if kinks[name] else ""
        lines.append(f"{name}: {counts}; {counted(compared[name], 'number')} compared{excluded}")
    total = ", ".join(f"{sum(verdicts[n, v] for n in compared)} {v}" for v in Verdict)
    lines.append(
        f"{counted(len(compared), 'implementation')} of ops: {total}; "
        f"{counted(compared.total(), 'number')} compared"
    )
    return lines
