"""All checks of all ops, a row at a time: what ``minialex gradcheck`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from minialex.arrays import CPU, Device
from minialex.autograd import OPS, Op
from minialex.check import compare, full_size, suite
from minialex.check.case import Case
from minialex.check.cases import CASES
from minialex.check.cases import full_size as layers
from minialex.check.suite import Pair, Row
from minialex.check.verdict import Verdict
from minialex.errors import MinialexError


def rows(
    *,
    ops: Sequence[str] = (),
    implementations: Sequence[str] = (),
    dtypes: Sequence[str] = ("float64", "float32"),
    device: Device = CPU,
    full: bool = False,
    batch: int = 1,
) -> Iterator[Row]:
    """Check ops, and yield a row for each case of each pair of implementations in each type.

    Parameters
    ----------
    ops : names of ops; all where there are none
    implementations : names of implementations; all where there are none
        Pairs in which one of them is forward or backward.
    dtypes : types to check in
    device : Device
        Where the arrays under test live.
    full : bool
        Check AlexNet's layers at full size by the adjoint identity, instead of small cases by
        differences.
    batch : int
        How many images there are at full size.

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
    check = full_size.check if full else suite.check
    for name in chosen:
        if not full and not cases.get(name):
            raise MinialexError(f"op {name!r} is untested: give it cases in minialex/check/cases")
        for case in cases.get(name, ()):
            for dtype in dtypes:
                for pair in suite.pairs(OPS[name], dtype, device):
                    named = taking_part & {pair.forward, pair.backward}
                    if named and not pair.why_not():
                        yield _checked(check, pair, case)


def _chosen(what: str, names: Sequence[str], there: list[str]) -> list[str]:
    for name in names:
        if name not in there:
            raise MinialexError(f"there is no {what} {name!r}; there is: {', '.join(there)}")
    return list(names) or there


def _check_runs(name: str, ops: Sequence[Op], device: Device) -> None:
    reasons = [op.implementations[name].why_not(device) for op in ops if name in op.implementations]
    if not reasons:
        raise MinialexError(f"none of {', '.join(op.name for op in ops)} has implementation {name}")
    if all(reasons):
        raise MinialexError(f"{name}: {reasons[0]}")


def _checked(check: Callable[[Pair, Case], Row], pair: Pair, case: Case) -> Row:
    try:
        return check(pair, case)
    except Exception as failure:  # a broken op fails, and the others are checked all the same
        finding = compare.wrong("running at all", f"{type(failure).__name__}: {failure}")
        return Row(pair, case.name, (finding,))


def closing(done: Iterable[Row]) -> list[str]:
    """Return lines that count, op by op, what was compared, and with which verdicts."""
    compared: Counter[str] = Counter()
    kinks: Counter[str] = Counter()
    verdicts: Counter[tuple[str, Verdict]] = Counter()
    for row in done:
        name = f"{row.pair.op.name} {row.pair.name}"
        compared[name] += row.compared
        kinks[name] += sum(f.left_out for f in row.findings)
        verdicts[name, row.verdict] += 1
    lines = []
    for name in sorted(compared):
        counts = ", ".join(f"{verdicts[name, v]} {v}" for v in Verdict if verdicts[name, v])
        left_out = f", {kinks[name]} at a kink left out" if kinks[name] else ""
        lines.append(f"{name}: {counts}; {compared[name]} numbers compared{left_out}")
    total = ", ".join(f"{sum(verdicts[n, v] for n in compared)} {v}" for v in Verdict)
    everything = f"{len(compared)} implementations of ops"
    lines.append(f"{everything}: {total}; {compared.total()} numbers compared")
    return lines
