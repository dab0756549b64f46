"""What terms are held to: an op's implementations, differences, and pokes at its inputs."""

from __future__ import annotations

import dataclasses
import functools
import random
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minialex.autograd import OPS
from minialex.check import Case
from minialex.check.case import generator
from minialex.check.derivatives import unit_vector
from minialex.check.numeric import make_problem
from minialex.check.suite import baseline, definition
from minialex.errors import MinialexError
from minialex.study import OpRun, run_op
from minialex.study.explanation import allowed
from minialex.terms import TERMS, Cell, Formula
from minialex.terms.formula import SUM

POKES = 3
"""So many elements of each array are poked at that are named, and so many that are not."""


@dataclass(frozen=True, eq=False)
class CaseOfTerms:
    """A case of an op, run by plain in float64; its numbers are those of float32."""

    op: str
    case: Case
    run: OpRun

    @classmethod
    def of(cls, op: str, case: Case) -> CaseOfTerms:
        run = made_by(op, case, "plain", np.float64)
        constant = {run.names[k] for k in case.constant}
        wanted = {n: g for n, g in run.gradients.items() if n[1:] not in constant}
        return cls(op, case, dataclasses.replace(run, gradients=wanted))

    def elements(self, which: str, most: int) -> list[tuple[int, ...]]:
        """Return all elements of the output or a gradient, or so many, drawn."""
        shape = self.run.array(which).shape
        count = int(np.prod(shape))
        if count <= most:
            return list(np.ndindex(*shape))
        seed = zlib.crc32(f"{self.op}/{self.case.name}/{which}".encode())
        drawn = random.Random(seed).sample(range(count), most)
        return [tuple(map(int, np.unravel_index(n, shape))) for n in drawn]

    def formula(self, which: str, index: tuple[int, ...]) -> Formula:
        return TERMS[self.op][which](self.run.arrays(), index, **self.run.params)

    def numbers(self, most: int) -> Iterator[tuple[str, tuple[int, ...], Formula]]:
        """Yield elements of the output and the gradients, with what they are made of."""
        for which in ("y", *self.run.gradients):
            for index in self.elements(which, most):
                yield which, index, self.formula(which, index)

    def __str__(self) -> str:
        return f"{self.op}, {self.case.name}"


def made_by(op: str, case: Case, implementation: str, dtype: type) -> OpRun:
    """Run a case, with a cotangent that float32 has too."""
    inputs = [
        None if a is None else np.asarray(a, dtype) if a.dtype.kind == "f" else a
        for a in case.draw(op)
    ]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        y = run_op(op, *inputs, implementation=implementation, **case.params).y
        rng = generator(op, case.name, "cotangent")
        gy = np.asarray(rng.standard_normal(y.shape, np.float32), y.dtype)
        return run_op(op, *inputs, implementation=implementation, gy=gy, **case.params)


def faults_of_numbers(one: CaseOfTerms, most: int) -> Iterator[str]:
    """Yield where the terms are not what plain, and every kernel under emulation, makes."""
    runs = [one.run, *_in_kernels(one)]
    for which, index, formula in one.numbers(most):
        for run in runs:
            array = run.array(which)
            implementation = OPS[one.op].implementations[run.implementation]
            roundoff = implementation.operand_roundoff
            if not _same(float(array[index]), formula, allowed(formula, array.dtype, roundoff)):
                if one.case.nan_will_do(run.implementation, one.run.array(which))[index]:
                    continue
                yield (
                    f"{one}, {run.implementation}: {which}{list(index)} is {array[index]!r}, its "
                    f"terms are {formula.value!r}"
                )


def _in_kernels(one: CaseOfTerms) -> list[OpRun]:
    found = []
    for name in OPS[one.op].implementations:
        run = dataclasses.replace(one.run, implementation=name)
        if run.is_in_kernels:
            try:
                found.append(made_by(one.op, one.case, name, np.float32))
            except MinialexError:  # it has no emulation: cuDNN
                continue
    return found


def _same(got: float, formula: Formula, bound: float) -> bool:
    want = formula.value
    return got == want or (got != got and want != want) or abs(got - want) <= bound


def faults_of_gradients(one: CaseOfTerms, most: int) -> Iterator[str]:
    """Yield where the terms of a gradient are not what differences of the definition give."""
    if one.case.answer is not None or not np.isfinite(one.run.y).all():
        return  # ties, kinks and infinities: differences do not decide
    inputs = baseline(OPS[one.op]).prepared(one.run.inputs)
    kind = one.case.output_dtype
    drawn = make_problem(
        lambda *xs: definition(one.op)(*xs, **one.run.params),
        inputs,
        np.random.default_rng(0),
        OPS[one.op].cost([None if a is None else a.shape for a in inputs], **one.run.params).flops,
        # what it gives is a staircase where its type is coarser than that of the inputs
        dtype=kind if kind is not None and kind.kind == "f" else np.dtype(np.float64),
    )
    problem = dataclasses.replace(drawn, gy=np.asarray(one.run.gy, np.float64))
    for which in one.run.gradients:
        k = one.run.names.index(which[1:])
        for index in one.elements(which, most):
            formula = one.formula(which, index)
            found = problem.along(k, unit_vector(inputs[k].shape, index))
            room = allowed(formula, np.float64) + 4 * found.uncertainty
            if not found.kink and not abs(found.value - formula.value) <= room:
                yield (
                    f"{one}: {which}{list(index)} is {found.value!r} by differences, known to "
                    f"{found.uncertainty:.1g}, its terms are {formula.value!r}"
                )


def named_by(one: CaseOfTerms, formula: Formula) -> set[tuple[str, tuple[int, ...]]]:
    """Return the elements that a number depends on: those that an output it has is made of too."""
    named = {(cell.array, cell.index) for cell in (*formula.cells(), *formula.gates)}
    for array, index in list(named):
        if array == "y":
            named |= _named_by_output(one, index)
    return named


@functools.lru_cache(maxsize=4096)
def _named_by_output(one: CaseOfTerms, index):
    return named_by(one, one.formula("y", index))


def faults_of_pokes(one: CaseOfTerms, most: int) -> Iterator[str]:
    """Yield where 1 more in an input does not change a number as its terms say."""
    rng = random.Random(zlib.crc32(str(one).encode()))
    for which, index, formula in one.numbers(most):
        if not np.isfinite(formula.value):
            continue
        named = named_by(one, formula)
        for name in (*one.run.names, "gy"):
            for place, change in _pokes(one, formula, named, name, rng):
                got = _poked(one, which, name, place)[index] - one.run.array(which)[index]
                # a cast rounds gy too
                eps = max(np.finfo(a.dtype).eps for a in (one.run.array(which), one.run.y))
                room = 16 * eps * (formula.size + abs(change)) * formula.operations
                if not abs(got - change) <= (room if (name, place) in named else 0):
                    yield (
                        f"{one}: 1 more in {name}{list(place)} changes {which}{list(index)} by "
                        f"{got!r}, its terms say {change!r}"
                    )


def _pokes(one, formula, named, name, rng):
    """Yield elements of an array to poke at, with what 1 more there should change."""
    array = one.run.arrays().arrays.get(name)
    if array is None or array.dtype.kind != "f" or not array.size:
        return
    if name == "gy" and one.run.gy is None:
        return
    partners = _partners(formula, name)
    for place in rng.sample(sorted(partners), min(POKES, len(partners))):
        yield place, partners[place]
    for _ in range(POKES):
        place = tuple(rng.randrange(n) for n in array.shape)
        if (name, place) not in named:
            yield place, 0.0


def _partners(formula: Formula, name: str) -> dict[tuple[int, ...], float]:
    """Return the elements of an array that are one factor of one term, and what they are times."""
    if formula.kind != SUM:
        return {}
    gates = {(cell.array, cell.index) for cell in formula.gates}
    count: dict[tuple[str, tuple[int, ...]], int] = {}
    for cell in formula.cells():
        key = cell.array, cell.index
        count[key] = count.get(key, 0) + 1
    found = {}
    for term in formula.terms:
        for k, factor in enumerate(term.factors):
            cell, key = factor.part, None
            if isinstance(cell, Cell) and cell.array == name and not cell.is_outside:
                key = cell.array, cell.index
            rest = [f for n, f in enumerate(term.factors) if n != k]
            # what depends on y changes in another way too
            plain = not any(isinstance(f.part, Cell) and f.part.array == "y" for f in rest)
            if key and factor.power == 1 and count[key] == 1 and key not in gates and plain:
                found[cell.index] = 0.0 if term.shut else float(np.prod([f.value for f in rest]))
    return found


def _poked(one, which, name, place):
    """Return the output or gradient by plain, with 1 more in one element."""
    inputs, gy = list(one.run.inputs), one.run.gy
    if name == "gy":
        gy = gy.copy()
        gy[place] += 1
    else:
        k = one.run.names.index(name)
        inputs[k] = inputs[k].copy()
        inputs[k][place] += 1
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run_op(one.op, *inputs, gy=gy, **one.run.params).array(which)
