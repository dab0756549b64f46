"""A gradient's element as the checker sees it: from differences of the forward pass alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import to_numpy
from minialex.check.derivatives import unit_vector
from minialex.check.numeric import make_problem
from minialex.check.suite import baseline
from minialex.errors import MinialexError
from minialex.study.explanation import Explanation, allowed, digits_in_common, finite


@dataclass(frozen=True)
class Difference:
    """The derivative of ``sum(gy y)`` along one element of an input.

    Attributes
    ----------
    value, uncertainty : float
    is_kink : bool
        Whether the derivatives from both sides differ there: `value` is between them.
    digits : float
        In how many decimal digits it agrees with the sum of the terms.
    agrees : bool
        Whether it does, as far as it is known.
    """

    value: float
    uncertainty: float
    is_kink: bool
    digits: float
    agrees: bool

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "value": finite(self.value),
            "uncertainty": finite(self.uncertainty),
            "kink": self.is_kink,
            "digits": finite(self.digits),
            "agrees": self.agrees,
        }


def difference_of(explanation: Explanation) -> Difference:
    """Differentiate the op, in array operations in float64, along the element of a gradient.

    Nothing of the backward pass is used, and nothing of the terms.

    Parameters
    ----------
    explanation : Explanation
        Of an element of the gradient of an input of one op.

    Raises
    ------
    MinialexError
        If it is of an output, or of a gradient that several ops give a part of.
    """
    run = explanation.run
    if run is None or run.gy is None or explanation.which == "y":
        raise MinialexError("differences give the gradient of an input of one op")
    pair, params = baseline(run.op), dict(run.params)
    inputs = pair.prepared(tuple(None if a is None else to_numpy(a) for a in run.inputs))
    shapes = tuple(None if a is None else a.shape for a in inputs)
    gy = to_numpy(run.gy).astype(np.float64)
    drawn = make_problem(
        lambda *xs: np.asarray(pair.run(xs, params)[0]),
        inputs,
        np.random.default_rng(0),
        run.op.cost(shapes, **params).flops,
    )
    problem = dataclasses.replace(drawn, gy=gy)
    k, exact = run.names.index(explanation.which[1:]), explanation.exact
    direction = unit_vector(problem.input(k).shape, explanation.index)
    found = problem.along(k, direction)
    uncertainty = found.uncertainty
    if abs(exact - found.value) > uncertainty:
        # neighbouring steps may agree by chance
        uncertainty += problem.second_opinion(k, direction, found.value)
    # the terms are rounded once too
    room = uncertainty + allowed(explanation.formula, np.float64)
    agrees = bool(abs(exact - found.value) <= room)
    digits = digits_in_common(exact, found.value)
    return Difference(found.value, uncertainty, found.kink, digits, agrees)
