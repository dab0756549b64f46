"""Any number of a run of an op, taken apart: its terms, and whether they are what ran.

    run = run_op("conv2d", x, w, b, gy=gy, implementation="tiled", stride=(1, 1), ...)
    found = explain(run, "gw", (5, 2, 0, 1))
    print(found.formula.value, found.ran, found.digits)

The terms are those of the definition (``minialex.terms``), added up without rounding; what ran may
differ from them by rounding, and by no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import to_numpy
from minialex.check import noise
from minialex.errors import MinialexError
from minialex.study.op_run import OpRun
from minialex.terms import TERMS, Cell, Factor, Formula, Known
from minialex.terms.formula import SUM, Index, term
from minialex.wording import unknown


def allowed(formula: Formula, dtype: Any, operand_roundoff: float = 0.0) -> float:
    """Return how far from its formula rounding may put a number that is computed in `dtype`."""
    share = noise.allowed(dtype, formula.operations, operand_roundoff=operand_roundoff)
    return share * formula.size


@dataclass(frozen=True, repr=False)
class Explanation:
    """One number, as what it is put together from.

    Attributes
    ----------
    which : str
        ``y``, or ``gx``, ``gw`` and so on: the gradient of the input of that name.
    index : tuple of int
    formula : Formula
        What it is put together from.
    ran : float
        What was made of it.
    dtype : dtype
        The type that it was computed in.
    allowed : float
        How far apart rounding may put the two.
    run : OpRun or None
        The run of an op that it is of; None of a gradient that several give.
    parts : tuple of Explanation
        What several give, then.
    """

    which: str
    index: Index
    formula: Formula
    ran: float
    dtype: np.dtype[Any]
    allowed: float
    run: OpRun | None
    parts: tuple[Explanation, ...] = ()

    def __repr__(self) -> str:
        index = ", ".join(map(str, self.index))
        return (
            f"Explanation({self.which}[{index}] of {self.maker}: {len(self.formula.terms)} terms, "
            f"exact={self.exact!r}, ran={self.ran!r}, digits={self.digits:.1f})"
        )

    @property
    def maker(self) -> str:
        """What made it: the op and its implementation."""
        if self.run is None:
            return f"the sum over its {len(self.parts)} uses"
        return f"{self.run.op.name}, by {self.run.implementation}"

    @property
    def is_gradient_of_an_op(self) -> bool:
        """Whether it is an element of the gradient of an input of one op."""
        return self.run is not None and self.which != "y"

    @property
    def exact(self) -> float:
        """The sum of the terms, rounded once, to float64."""
        return self.formula.value

    @property
    def agrees(self) -> bool:
        """Whether terms and what ran are the same but for rounding."""
        if self.exact == self.ran or (math.isnan(self.exact) and math.isnan(self.ran)):
            return True
        return abs(self.exact - self.ran) <= self.allowed

    @property
    def digits(self) -> float:
        """In how many decimal digits they agree; infinite where they are equal."""
        return digits_in_common(self.exact, self.ran)

    def record(self) -> dict[str, Any]:
        """Return the explanation as JSON has it."""
        of = {} if self.run is None else self.run.record()
        return of | {
            "which": self.which,
            "index": list(self.index),
            "dtype": str(self.dtype),
            "ran": finite(self.ran),
            "allowed": finite(self.allowed),
            "agrees": self.agrees,
            "digits": finite(self.digits),
            "formula": formula_record(self.formula),
        }


def digits_in_common(a: float, b: float) -> float:
    """Return in how many decimal digits two numbers agree; infinite where they are equal."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return math.inf
    size, apart = max(abs(a), abs(b)), abs(a - b)
    return max(0.0, math.log10(size / apart)) if math.isfinite(apart) else 0.0


def finite(value: float) -> float | None:
    """Return a number, or None for what JSON has not."""
    return value if math.isfinite(value) else None


def formula_record(formula: Formula) -> dict[str, Any]:
    """Return a formula as JSON has it, with those in it."""
    return {
        "name": formula.name,
        "text": formula.text,
        "kind": formula.kind,
        "value": finite(formula.value),
        **({"chosen": formula.chosen} if formula.kind == "choice" else {}),
        "terms": [
            {
                "value": finite(term.value),
                **({"note": term.note} if term.note else {}),
                **({"shut": True} if term.shut else {}),
                "factors": [_factor_record(factor) for factor in term.factors],
            }
            for term in formula.terms
        ],
    }


def _factor_record(factor: Factor) -> dict[str, Any]:
    power = {"power": factor.power} if factor.power != 1 else {}
    part = factor.part
    if isinstance(part, Formula):
        return {"formula": formula_record(part), **power}
    if isinstance(part, Known):
        return {"name": part.name, "value": finite(part.value), **power}
    return cell_record(part) | power


def cell_record(cell: Cell) -> dict[str, Any]:
    """Return an element of an array as JSON has it."""
    return {"name": cell.array, "index": list(cell.index), "value": finite(cell.value)}


def explain_run(run: OpRun, which: str, index: Index) -> Explanation:
    """Take a number of a run of an op apart.

    Parameters
    ----------
    run : OpRun
    which : str
        ``y``, or the gradient of an input by its name: ``gx``.
    index : tuple of int
        One for each axis; from the end where it is negative.

    Raises
    ------
    MinialexError
        If there is no such number, or the op has no terms.
    """
    op = run.op.name
    if op not in TERMS:
        raise MinialexError(
            f"op {op!r} has no terms: add them to minialex/terms, as ops of the package have"
        )
    known = TERMS[op]
    if which not in known:
        raise MinialexError(unknown(f"number of {op}", which, list(known)))
    array = to_numpy(run.array(which))
    place = checked_index(which, index, array.shape)
    formula = known[which](run.arrays(), place, **run.params)
    roundoff = run.op.implementations[run.implementation].operand_roundoff
    bound = allowed(formula, array.dtype, roundoff)
    return Explanation(which, place, formula, float(array[place]), array.dtype, bound, run)


def made_by(explanation: Explanation, implementation: str) -> Explanation:
    """Return the explanation of the same number as another implementation of its op makes it.

    Raises
    ------
    MinialexError
        If there is no such implementation, it does not run here, or several ops give a part of it.
    EmulationError
        If its kernel does what it must not.
    """
    if explanation.run is None:
        raise MinialexError(f"{explanation.maker}: follow one of them to choose an implementation")
    run = explanation.run.by(implementation)
    return explain_run(run, explanation.which, explanation.index)


def added_up(parts: Sequence[Explanation], ran: float) -> Explanation:
    """Return the explanation of a gradient that several ops give a part of, `ran` in all."""
    first = parts[0]
    terms = (
        term(Known(f"{one.which} of {one.maker}", one.ran), note=f"use {n}")
        for n, one in enumerate(parts, 1)
    )
    formula = Formula(first.which, "the sum over its uses", tuple(terms), SUM)
    bound = allowed(formula, first.dtype)
    return Explanation(
        first.which, first.index, formula, ran, first.dtype, bound, None, tuple(parts)
    )


def checked_index(what: str, index: Index, shape: tuple[int, ...]) -> Index:
    """Return an index counted from 0; raise MinialexError where there is no such element."""
    if not isinstance(index, tuple) or not all(isinstance(i, int | np.integer) for i in index):
        raise MinialexError(f"{what}: an index is a tuple of whole numbers, not {index!r}")
    if len(index) != len(shape) or any(not -n <= i < n for i, n in zip(index, shape, strict=False)):
        raise MinialexError(f"{what} has shape {shape}: it has no element {list(index)}")
    return tuple(i % n for i, n in zip(index, shape, strict=True))
