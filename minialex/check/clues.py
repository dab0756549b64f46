"""What a guess may go by: numbers that are wrong, those that are right, and more for the asking.

What takes further runs is computed when a guess asks for it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from minialex.arrays import Array
from minialex.check import mistakes, noise
from minialex.check.case import Inputs, is_float
from minialex.check.derivatives import ElementwiseDerivatives, elements
from minialex.check.numeric import DerivativeProblem
from minialex.check.written_out import WrittenOut

MAX_ELEMENTS_ELSEWHERE = 16
"""At so many elements a gradient is compared with others than its own, which differences give."""


@dataclass(frozen=True)
class Rerun:
    """A backward that can be run again, to see what it makes of something else.

    Attributes
    ----------
    dtype : dtype
        What it computes in.
    gradient : ``gradient(inputs, gy)`` -> array of float64, or None
        The gradient in question, for other inputs and another cotangent.
    """

    dtype: np.dtype[Any]
    gradient: Callable[[Inputs, Array], Array | None]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Where numbers are from.

    Attributes
    ----------
    problem : DerivativeProblem
    k : int or None
        The input that the gradient is for; None where it is the output.
    rerun : Rerun or None
        How to have the gradient again.
    """

    problem: DerivativeProblem
    k: int | None
    rerun: Rerun | None = None

    def written_out(self) -> WrittenOut | None:
        """Return what the numbers are by the definition of the op; None where that has no terms."""
        problem = self.problem
        if problem.called is None:
            return None
        y, gy = (a.reshape(problem.shape) for a in (problem.y, problem.gy))
        return problem.called.written_out(problem.inputs, y, gy, self.k)


@dataclass(frozen=True, eq=False)
class Clues:
    """What a guess about one wrong gradient, or output, may go by.

    Attributes
    ----------
    g : array
        What is wrong.
    truth : ElementwiseDerivatives
        What is right.
    known, off : arrays of bool
        Where something right is known, and where `g` is off.
    tolerance : float
        How far `g` may be off.
    evidence : Evidence or None
        What more can be computed; None where nothing can.
    """

    g: Array
    truth: ElementwiseDerivatives
    known: Array
    off: Array
    tolerance: float
    evidence: Evidence | None = None

    def same(self, a: Array, b: Array) -> bool:
        """Return whether `a` and `b`, which say something, are equal but for rounding."""
        return a.size > 1 and bool(b.any()) and not self.apart(a, b)

    def apart(self, a: Array, b: Array) -> bool:
        """Return whether `a` and `b` differ by more than rounding."""
        return not np.abs(a - b).max(initial=0) <= self._rounding(b)

    def _rounding(self, b: Array) -> float:
        return 4 * self.tolerance + 1e-6 * float(np.abs(b).max(initial=0))

    def changed_definition(self) -> str:
        """Return what has to be changed in the op's definition to have these numbers."""
        written = None if self.evidence is None else self.evidence.written_out()
        if written is None or not self.off.any():
            return ""
        right = self.truth.value
        allowed = self._rounding(right[self.known])
        return mistakes.named(written, self.off, self.known, self.g, right, allowed)

    @functools.cached_property
    def looked_at(self) -> Array:
        """The numbers of some elements at which something right is known: those off first."""
        wrong, right = (np.flatnonzero(self.known & some) for some in (self.off, ~self.off))
        half = MAX_ELEMENTS_ELSEWHERE // 2
        chosen = wrong[: max(half, MAX_ELEMENTS_ELSEWHERE - right.size)]
        return np.append(chosen, right[: MAX_ELEMENTS_ELSEWHERE - chosen.size])

    def other_inputs(self) -> Iterator[tuple[str, Array]]:
        """Yield the name of each other input of the same shape, and its gradient at `looked_at`."""
        if self.evidence is None or self.evidence.k is None or not self.off.any():
            return
        problem, k = self.evidence.problem, self.evidence.k
        for i, x in enumerate(problem.inputs):
            if i != k and x is not None and is_float(x) and x.shape == self.g.shape:
                yield problem.name(i), self._derivatives(problem, i)

    def rows_alone(self) -> Iterator[tuple[str, Array]]:
        """Yield the first and last row of the outputs, and what each alone contributes likewise."""
        if self.evidence is None or self.evidence.k is None or not self.off.any():
            return
        problem, k = self.evidence.problem, self.evidence.k
        if not problem.y.ndim:
            return
        rows = (*problem.shape, 1)[0]
        for name, row in (("first", 0), ("last", rows - 1)) if rows > 1 else ():
            gy = np.zeros((rows, problem.y.size // rows))
            gy[row] = problem.gy.reshape(gy.shape)[row]
            alone = dataclasses.replace(
                problem, gy=gy.reshape(problem.gy.shape), _truths={}, _whole={}
            )
            yield f"{name} of {rows} rows", self._derivatives(alone, k)

    def _derivatives(self, problem: DerivativeProblem, k: int) -> Array:
        along = functools.partial(problem.along, k)
        found = elements(along, self.g.shape, map(int, self.looked_at))
        return found.value.reshape(-1)[self.looked_at]

    def again(self, gy_factors: Array | float = 1.0, perturb: noise.Perturb | None = None) -> Array:
        """Return the gradient, run again for the cotangent times `gy_factors`, at other inputs.

        Raises
        ------
        LookupError
            If it cannot be run again.
        """
        if self.evidence is None or self.evidence.rerun is None:
            raise LookupError("there is no backward to run again")
        problem, rerun = self.evidence.problem, self.evidence.rerun
        inputs = problem.inputs if perturb is None else perturb(problem.inputs)
        with np.errstate(all="ignore"):
            g = rerun.gradient(inputs, problem.gy * gy_factors)
        return np.full(self.g.shape, np.nan) if g is None else g

    @functools.cached_property
    def repeats(self) -> bool:
        """Whether the gradient can be run again, and is then the same to the last bit."""
        try:
            return bool(np.isfinite(self.g).all() and np.array_equal(self.again(), self.g))
        except LookupError:
            return False


class GuessFunction(Protocol):
    """Something that may know what the mistake is."""

    def __call__(self, clues: Clues, /) -> str:
        """Return it in one line, or nothing where that is not clear."""
