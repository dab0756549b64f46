"""A number of an op taken apart, and what bears witness that it is right.

    with record_calls() as calls:
        y = ops.conv2d(x, w, b, padding=1)
    found = explain_call(calls[0], "y", (0, 5, 2, 3))
    print(found.formula.value, found.ran, found.digits)

The terms are those of the definition (``minialex.terms``), added up without rounding; what
ran may differ from them by rounding, and by no more.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minialex.arrays import Array, to_numpy
from minialex.autograd import Call, Op
from minialex.check import noise
from minialex.errors import MinialexError
from minialex.terms import TERMS, Arrays, Formula
from minialex.terms.formula import Index
from minialex.wording import unknown


def allowed(formula: Formula, dtype: Any, operand_roundoff: float = 0.0) -> float:
    """Return how far from its formula rounding may put a number that is computed in `dtype`."""
    share = noise.allowed(dtype, formula.operations, operand_roundoff=operand_roundoff)
    return share * formula.size


def input_names(op: Op, count: int) -> tuple[str, ...]:
    """Return what formulas call the first `count` inputs of an op: as its plain forward has it."""
    parameters = inspect.signature(op.implementations["plain"].forward).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(named[i] if i < len(named) else f"x{i}" for i in range(count))


@dataclass(frozen=True)
class Explanation:
    """One number of one call of an op.

    Attributes
    ----------
    op : str
    implementation : str
        What ran.
    which : str
        ``y``, or ``gx``, ``gw`` and so on: the gradient of the input of that name.
    index : tuple of int
    formula : Formula
        What it is put together from.
    ran : float
        What the implementation made of it.
    dtype : dtype
        The type that it computed in.
    allowed : float
        How far apart rounding may put the two.
    call : Call
        The call that it is of.
    """

    op: str
    implementation: str
    which: str
    index: Index
    formula: Formula
    ran: float
    dtype: Any
    allowed: float
    call: Call = field(repr=False, compare=False)

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
        if self.exact == self.ran:
            return math.inf
        size = max(abs(self.exact), abs(self.ran))
        apart = abs(self.exact - self.ran)
        return max(0.0, math.log10(size / apart)) if size and math.isfinite(apart) else 0.0

    def record(self) -> dict[str, Any]:
        """Return the explanation as JSON has it."""
        return {
            "op": self.op,
            "implementation": self.implementation,
            "which": self.which,
            "index": list(self.index),
            "dtype": str(self.dtype),
            "ran": _number(self.ran),
            "allowed": _number(self.allowed),
            "agrees": self.agrees,
            "digits": _number(self.digits),
            "formula": formula_record(self.formula),
        }


def _number(value: float) -> float | None:
    """Return a number, or None for what JSON has not."""
    return value if math.isfinite(value) else None


def formula_record(formula: Formula) -> dict[str, Any]:
    """Return a formula as JSON has it, with those in it."""
    return {
        "name": formula.name,
        "text": formula.text,
        "kind": formula.kind,
        "value": _number(formula.value),
        **({"chosen": formula.chosen} if formula.kind == "choice" else {}),
        "terms": [
            {
                "value": _number(term.value),
                **({"note": term.note} if term.note else {}),
                **({"shut": True} if term.shut else {}),
                "factors": [_factor_record(factor) for factor in term.factors],
            }
            for term in formula.terms
        ],
    }


def _factor_record(factor: Any) -> dict[str, Any]:
    power = {"power": factor.power} if factor.power != 1 else {}
    part = factor.part
    if isinstance(part, Formula):
        return {"formula": formula_record(part), **power}
    index = {"index": list(part.index)} if hasattr(part, "index") else {}
    name = part.array if hasattr(part, "array") else part.name
    return {"name": name, **index, "value": _number(part.value), **power}


def arrays_of(call: Call, gy: Array | None = None) -> Arrays:
    """Return the arrays of a call, on the host, by the names that formulas have for them."""
    names = input_names(call.op, len(call.inputs))
    found: dict[str, Array | None] = {
        name: None if a is None else to_numpy(a) for name, a in zip(names, call.inputs, strict=True)
    }
    found["y"] = to_numpy(call.y)
    if gy is not None:
        found["gy"] = to_numpy(gy)
    return Arrays(found)


def explain_call(
    call: Call, which: str, index: Index, *, gy: Array | None = None, gradient: Array | None = None
) -> Explanation:
    """Take a number of a call apart.

    Parameters
    ----------
    call : Call
        As `record_calls` keeps it.
    which : str
        ``y``, or the gradient of an input by its name: ``gx``.
    index : tuple of int
        One for each axis; from the end where it is negative.
    gy : array, optional
        The gradient of the output, for gradients.
    gradient : array, optional
        What backward made of it: the gradient that is to be explained.

    Raises
    ------
    MinialexError
        If the op has no such number, or no terms.
    """
    op = call.op.name
    if op not in TERMS:
        raise MinialexError(
            f"op {op!r} has no terms: add them to minialex/terms, as ops of the package have"
        )
    known = TERMS[op]
    if which not in known:
        raise MinialexError(unknown(f"number of {op}", which, list(known)))
    array = call.y if which == "y" else gradient
    if array is None:
        raise MinialexError(f"no gradient reaches {which[1:]}, the input of {op}")
    array = to_numpy(array)
    place = checked_index(which, index, array.shape)
    formula = known[which](arrays_of(call, gy), place, **call.params)
    roundoff = call.implementation.operand_roundoff
    return Explanation(
        op,
        next(n for n, one in call.op.implementations.items() if one is call.implementation),
        which,
        place,
        formula,
        float(array[place]),
        array.dtype,
        allowed(formula, array.dtype, roundoff),
        call,
    )


def checked_index(what: str, index: Index, shape: tuple[int, ...]) -> Index:
    """Return an index counted from 0; raise MinialexError where there is no such element."""
    if len(index) != len(shape) or any(not -n <= i < n for i, n in zip(index, shape, strict=False)):
        raise MinialexError(f"{what} has shape {shape}: it has no element {list(index)}")
    return tuple(i % n for i, n in zip(index, shape, strict=True))


def gradients_by_name(call: Call, gradients: Mapping[int, Array]) -> dict[str, Array]:
    """Return gradients of inputs, given by number, as formulas call them."""
    names = input_names(call.op, len(call.inputs))
    return {f"g{names[k]}": np.asarray(g) for k, g in gradients.items()}
