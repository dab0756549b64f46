"""TODO"""

from __future__ import annotations

import inspect
from typing import Any

from minialex.autograd import Op
from minialex.check import noise
from minialex.study.terms import Formula


def allowed(formula: Formula, dtype: Any) -> float:
    """Return how far from its formula rounding may put a number that is computed in `dtype`."""
    return noise.allowed(dtype, formula.operations) * formula.size


def input_names(op: Op, count: int) -> tuple[str, ...]:
    """Return what formulas call the first `count` inputs of an op: as its plain forward has it."""
    parameters = inspect.signature(op.implementations["plain"].forward).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(named[i] if i < len(named) else f"x{i}" for i in range(count))
