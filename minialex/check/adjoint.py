"""The adjoint identity: a derivative checked at full size, free of the noise of differences.

For a function f that is linear in its argument u, backward is its transpose, and so for any
cotangent c

    <f(u) - f(0), c> = <u, backward(c)>.

Both sides are computed in the type under test and added up in float64. No difference of nearly
equal numbers is taken, so that in float32 a gradient of AlexNet's largest layers is checked to
about 1e-5 of its size, where float32 differences are off by percents.

It holds as well for functions with f(2 u) = 2 f(u), ReLU and max-pooling among them: at u they
equal their own derivative there, f(0) being 0. Where f is linear it is asked twice, of all
elements at once and of those at the ends of the axes alone, which are few enough for one wrong
element to stand out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex import arrays
from minialex.arrays import Array
from minialex.check import comparison, guess, noise
from minialex.check.case import Case, Inputs
from minialex.check.derivatives import Derivative
from minialex.check.suite import Pair
from minialex.check.verdict import Finding, Verdict

SAFETY = noise.SAFETY / 4
"""Sums over so many errors come close to what the model says."""

ELEMENTS_AT_ONCE = 1 << 20
"""How many elements are widened to float64 at a time."""


def identities(
    pair: Pair, case: Case, inputs: Inputs, c: Array, grads: Inputs
) -> Iterator[Finding]:
    """Check the identity for every input in which the op is linear or homogeneous.

    `inputs` and the gradients `grads`, for the cotangent `c`, are on the device.
    """
    for k in (*case.linear, *case.homogeneous):
        what, g = f"gradient of input {k}", grads[k]
        if g is None:
            yield comparison.wrong(what, "backward returned None")
            continue
        argument = _Argument(pair, case, inputs, k, arrays.to_numpy(c))
        host = arrays.to_numpy(g)
        reason = argument.why_not_comparable(host)
        if reason:
            yield comparison.wrong(what, *reason)
            continue
        yield argument.compare(what, host, argument.u)
        if argument.linear:
            ends = np.where(_at_ends(host.shape), argument.u, argument.u.dtype.type(0))
            yield argument.compare(f"{what}, ends of the axes", host, ends)


def pairing(a: Array, b: Array) -> tuple[float, float]:
    """Return sum(a b), and the root of the sum of the squares of a b, added up in float64."""
    total, squares = 0.0, 0.0
    flat = a.reshape(-1), b.reshape(-1)
    for start in range(0, a.size, ELEMENTS_AT_ONCE):
        p, q = (v[start : start + ELEMENTS_AT_ONCE].astype(np.float64) for v in flat)
        p *= q
        total += float(p.sum())
        squares += float((p * p).sum())
    return total, math.sqrt(squares)


_BOTH_ARE_0 = "both sides are 0, whatever the gradient is"


@dataclass(frozen=True, eq=False)
class _Argument:
    """Input `k` of an op as the one argument of a function, with the cotangent `c`."""

    pair: Pair
    case: Case
    inputs: Inputs
    k: int
    c: Array

    @property
    def linear(self) -> bool:
        return self.k in self.case.linear

    @functools.cached_property
    def u(self) -> Array:
        x = self.inputs[self.k]
        if x is None:
            raise ValueError(f"case {self.case.name!r}: input {self.k} is None, not linear in it")
        return arrays.to_numpy(x)

    def f(self, u: Array) -> Array:
        """Return the output with `u` for the argument."""
        (placed,) = self.pair.prepared((u,))
        inputs = (*self.inputs[: self.k], placed, *self.inputs[self.k + 1 :])
        return arrays.to_numpy(self.pair.run(inputs, self.case.params)[0])

    @functools.cached_property
    def f0(self) -> Array:
        """What is left where the argument is 0: the part that does not depend on it."""
        return self.f(np.zeros_like(self.u)) if self.linear else np.zeros_like(self.c)

    @functools.cached_property
    def rest(self) -> float:
        """The size of that part against the cotangent."""
        return pairing(self.f0, self.c)[1]

    def why_not_comparable(self, g: Array) -> tuple[str, ...]:
        """Return lines about a gradient of another shape, or that is not finite; else nothing."""
        if g.shape != self.u.shape:
            return (f"the shape is {g.shape}, that of the input is {self.u.shape}",)
        finite = np.isfinite(g)
        if finite.all():
            return ()
        place = np.unravel_index(int(finite.argmin()), g.shape)
        count = f"{np.count_nonzero(~finite)} of {g.size} elements are not finite"
        return (
            f"first at {guess.at(place)}: got {g[place]}",
            count,
            guess.receptive_field(self._depending(place)),
        )

    def _depending(self, place: tuple[Any, ...]) -> Array:
        """Return which outputs depend on the element at `place`, once it becomes the largest."""
        pushed = self.u.copy()
        pushed[place] = 1 + 2 * np.abs(self.u).max()
        return np.asarray(self.f(pushed) != self.f(self.u))

    def compare(self, what: str, g: Array, u: Array) -> Finding:
        """Compare the two sides."""
        y = self.f(u)
        changed = pairing(y - self.f0, self.c)[1]
        if 0 < changed < self.rest:
            # a bias is lost in the rounding of the products beside it unless it is as large
            u = u * u.dtype.type(2.0 ** math.ceil(math.log2(self.rest / changed)))
            y = self.f(u)
        left, changed = pairing(y - self.f0, self.c)
        if not math.isfinite(left):
            return comparison.wrong(what, "forward gives what is not finite: no identity can hold")
        right, pulled = pairing(u, g)
        bound = self._rounding(y.size, g.size, math.hypot(changed, self.rest), pulled)
        error, size = abs(left - right), math.hypot(changed, pulled)
        compared = int(np.count_nonzero(u))
        if not error <= bound:
            sides = f"<f(u) - f(0), c> = {left:.9g}, <u, gradient> = {right:.9g}"
            detail = (sides, *(self._explain(g) if self.linear else ()))
            return Finding(what, Verdict.FAIL, error, bound, compared, 0, detail)
        if bound >= noise.RESOLUTION * size:
            reason = f"rounding alone may reach {bound / size:.0%}" if size else _BOTH_ARE_0
            return Finding(what, Verdict.INCONCLUSIVE, error, bound, compared, 0, (reason,))
        return Finding(what, Verdict.PASS, error, bound, compared)

    def _rounding(self, outputs: int, elements: int, left: float, right: float) -> float:
        """Return what rounding allows: the errors of the elements add up as a random walk does."""
        shapes = tuple(None if a is None else a.shape for a in self.inputs)
        flops = max(self.pair.op.cost(shapes, **self.case.params).flops, outputs)
        each = (self.pair.allowed(flops / n, safety=SAFETY) for n in (outputs, elements))
        return float(np.dot(list(each), (left, right)))

    def _explain(self, g: Array) -> tuple[str, ...]:
        """Find the worst element, trying elements alone."""
        size = float(np.abs(g).max(initial=0))
        return guess.search(g, self._along, self.pair.allowed(g.size) * size)

    def _along(self, v: Array) -> Derivative:
        changed = self.f(v) - self.f0
        value, size = pairing(changed, self.c)
        rounding = self.pair.allowed(1) * math.hypot(size, self.rest)
        return Derivative(value, rounding, False, changed != 0)


def _at_ends(shape: tuple[int, ...]) -> Array:
    """Return where an index is the first or last of its axis, for the axes longer than 2."""
    ends = np.zeros(shape, bool)
    for axis, n in enumerate(shape):
        if n > 2:
            np.moveaxis(ends, axis, 0)[[0, -1]] = True
    return ends if ends.any() else np.ones(shape, bool)
