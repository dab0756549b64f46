"""Derivatives by differences, in float64, of a function that is known to be right.

The function is the op's reference, the cotangent is random, and so is the direction. Along each
direction the step goes down a ladder of sizes; central differences are extrapolated to step 0
(Ridders 1982), and the step where neighbouring values agree best, the plateau between truncation
and rounding, gives the derivative together with its uncertainty.

A kink shows in the one-sided differences, output by output: their gap, extrapolated likewise, is 0
where the function is smooth, and stays where it is not.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array
from minialex.check import noise
from minialex.check.case import Inputs
from minialex.check.derivatives import (
    Derivative,
    DirectionalDerivatives,
    ElementwiseDerivatives,
    elements,
)
from minialex.check.extrapolation import STEP_RATIO, extrapolated, kinks, settled
from minialex.check.written_out import CalledOp

STEPS = tuple(2.0**-5 / STEP_RATIO**i for i in range(12))
"""The ladder of step sizes, for a direction whose elements are about 1; down to 7e-9.

Shorter ones would take a function with float32 inside, which is a staircase, for a constant. Where
the input is larger than 1 all are longer; where it is smaller, shorter ones follow, to be as short
beside it: a function may vary on the scale of 1, as exp does, or on the input's own, as log."""

SHORT_STEPS = 2.0**-36, 2.0**-30, 2.0**-24, 2.0**-18
"""Steps, beside the size of what moves, that are asked before a gradient is called wrong."""

CONVERGED = 1e-10
"""The ladder ends where the uncertainty is below this share of the function's size per step of the
input's."""

KINK = 1e-3
"""Where both sides differ by less than this share of the derivative, that is an uncertainty like
any other, and no kink."""

MAX_ELEMENTWISE = 64
"""Inputs of up to so many elements are taken element by element, others along directions."""

MAX_ELEMENTWISE_AT_KINKS = 512
"""Where a direction meets a kink, inputs of up to so many elements are taken one by one too."""

RANDOM_DIRECTIONS = 2

FAR = 2.0**60
"""By how many times an input's largest element one is moved, to see whether it counts at all."""

FLOOR_OVER_MEASURED = 64.0
"""How many times the measured noise an output may be off for what it is put together from."""

SECOND_LADDER_SCALE = 0.4
"""By which the steps are multiplied that a second opinion is taken from: to lie between the first
ones, at no simple fraction of them."""


@dataclass(frozen=True, eq=False)
class DerivativeProblem:
    """The derivative of ``sum(gy function(*inputs))``, to be found for some of the inputs.

    Attributes
    ----------
    function : float64 arrays (or integers, or None) to a float64 array
    inputs : arrays
    gy : array
        The cotangent.
    y, size : array
        The output, and S of each of its elements (see `noise`).
    operations : float
        How many operations the whole output takes.
    elementwise : int
        Inputs of up to so many elements are taken element by element, others along directions.
    steps : sequence of float
        The step sizes to try.
    affordable : int
        Inputs of up to so many elements are taken element by element where a direction meets a
        kink, and to explain a failure.
    nondet_tol : float
        By how much the function changes of itself from run to run.
    measured : array or float
        The measured noise of each output (see `measured`); 0 where none was measured.
    lossy : bool
        Whether an output that stays what it is may depend on what was moved all the same.
    dtype : dtype
        What the function computes in, whatever it is given.
    names : tuple of str
        What the inputs are called; by default by their numbers.
    chosen : mapping from input to elements
        By number: which elements alone to take of an input, whatever its size.
    output_shape : tuple of int, optional
        The shape of the output, where that is not the one that `function` gives it.
    called : CalledOp, optional
        The op that the function is.
    """

    function: Callable[..., Array]
    inputs: Inputs
    gy: Array
    y: Array
    size: Array
    operations: float
    elementwise: int = MAX_ELEMENTWISE
    affordable: int = MAX_ELEMENTWISE_AT_KINKS
    steps: Sequence[float] = STEPS
    nondet_tol: float = 0.0
    measured: Array | float = 0.0
    lossy: bool = False
    dtype: npt.DTypeLike = np.float64
    names: tuple[str, ...] = ()
    output_shape: tuple[int, ...] | None = None
    called: CalledOp | None = None
    chosen: Mapping[int, Sequence[int]] = field(default_factory=dict)
    _truths: dict[int, ElementwiseDerivatives | DirectionalDerivatives] = field(
        default_factory=dict
    )
    _whole: dict[int, ElementwiseDerivatives] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output."""
        return self.y.shape if self.output_shape is None else self.output_shape

    @functools.cached_property
    def scale(self) -> float:
        """The typical size of ``sum(gy y)``: what a direction as large as the input can change."""
        return noise.norm(self.gy * self.size)

    def rounding_of(self, up: Array, down: Array, floor: float) -> Array:
        """Return what rounding may do to each output's share in ``sum(gy up)`` or that of `down`.

        `floor` is the size of the numbers that outputs are put together from at least: an output of
        1e-20 that is a difference of ones is known to 1e-16.
        """
        size = np.maximum(self.size, np.maximum(np.abs(up), np.abs(down)))
        unit = noise.unit(self.dtype)
        # what was measured is known: it is put together from nothing larger than that tells
        known = np.where(self.measured > 0, FLOOR_OVER_MEASURED * self.measured / unit, np.inf)
        least = np.minimum(floor, known)
        units = np.maximum(4 * float(self.operations_of(self.y.size) ** 0.5) * size, least)
        # what is measured here grows with the output, further away
        grown = np.divide(size, self.size, out=np.ones_like(size), where=self.size > 0)
        rounding = np.maximum(unit * units, 4 * self.measured * grown)
        return self.gy * (rounding + self.nondet_tol)

    def known_to(self, measured: Array) -> DerivativeProblem:
        """Return the same problem with other measured noise; what was found is found anew.

        What an output has of a direction may be lost in that noise.
        """
        return dataclasses.replace(self, measured=measured, lossy=True, _truths={}, _whole={})

    def reached(self, k: int, v: Array) -> Array:
        """Return which outputs depend on what `v` moves of input `k`, be it by less than rounding.

        NaN goes a long way, and so does what is as large as the largest beside it.
        """
        nowhere = self._outside(k, np.where(v != 0, np.nan, self.input(k)))
        return np.asarray((nowhere != self.y) | (self._beside(k, v, 1.0) != self.y))

    def is_lost(self, k: int, v: Array) -> bool:
        """Return whether outputs depend on what `v` moves, but none by more than rounding.

        As large as the largest beside it, it changes nothing; far larger, it does, in proportion.
        """
        rounding = self.rounding_of(self.y, self.y, min(1.0, noise.largest(self.input(k))))
        with np.errstate(all="ignore"):
            near, far = (np.abs(self._beside(k, v, n) - self.y) for n in (1.0, FAR))
            seen = 4 * np.abs(rounding / self.gy)
        return bool((near <= seen).all() and (far <= FAR * seen).all() and (far > seen).any())

    def _beside(self, k: int, v: Array, times: float) -> Array:
        """Return the outputs with input `k` moved along `v` by so many times its largest."""
        x = self.input(k)
        return self._outside(k, x + times * (noise.largest(x) or 1.0) * v)

    def _outside(self, k: int, x: Array) -> Array:
        """Return the output with `x`, where the function was not made for: NaN if it raises."""
        try:
            return self.with_input(k, x)
        except Exception:  # it may be an index beyond an array's end, or anything
            return np.full(self.y.shape, np.nan)

    def typical_gradient(self, k: int) -> float:
        """Return the typical size of a gradient's element for input `k`: |gy| |y| / |x|.

        A function that is 0 and stays 0 is taken for one that gives what it gets: |gy|.
        """
        x = noise.norm(self.input(k)) or 1.0
        return self.scale / x if self.scale else noise.norm(self.gy)

    def input(self, k: int) -> Array:
        """Return input `k`, which is there."""
        x = self.inputs[k]
        if x is None:
            raise ValueError(f"input {k} is None")
        return x

    def name(self, k: int) -> str:
        """Return what input `k` is called."""
        return self.names[k] if self.names else f"input {k}"

    def operations_of(self, size: int) -> float:
        """Return the operations for each of the elements of an array of `size`."""
        return max(1.0, max(self.operations, self.y.size) / max(size, 1))

    def with_input(self, k: int, x: Array) -> Array:
        """Return the output with `x` for input `k`; NaN outside the function's domain."""
        try:
            with np.errstate(all="ignore"):
                y = self.function(*self.inputs[:k], x, *self.inputs[k + 1 :])
                return np.asarray(y)
        except (ArithmeticError, ValueError):
            return np.full(self.y.shape, np.nan)

    def truth(
        self, k: int, rng: np.random.Generator
    ) -> ElementwiseDerivatives | DirectionalDerivatives:
        """Return the gradient for input `k`, whole where affordable, else along directions."""
        if k not in self._truths:
            self._truths[k] = self._find(k, rng)
        return self._truths[k]

    def _find(
        self, k: int, rng: np.random.Generator
    ) -> ElementwiseDerivatives | DirectionalDerivatives:
        x = self.input(k)
        if k in self.chosen:
            return elements(functools.partial(self.along, k), x.shape, self.chosen[k])
        if x.size <= self.elementwise:
            return self.elements(k)
        vectors = [rng.standard_normal(x.shape) for _ in range(RANDOM_DIRECTIONS)]
        found = [self.along(k, v) for v in vectors]
        if any(d.kink for d in found) and x.size <= self.affordable:
            return self.elements(k)
        return DirectionalDerivatives(vectors, found)

    def elements(self, k: int) -> ElementwiseDerivatives:
        """Return the derivative for each element of input `k`."""
        if k not in self._whole:
            x = self.input(k)
            self._whole[k] = elements(functools.partial(self.along, k), x.shape, range(x.size))
        return self._whole[k]

    def along(self, k: int, v: Array, shift: float = 1.0) -> Derivative:
        """Return the derivative along the direction `v` of input `k`, all steps times `shift`."""
        x = self.input(k)
        size = noise.largest(x)
        # what moves sets the steps, where it is not 0
        moving = noise.largest(x, v != 0) or size
        steps = _ladder(moving) if self.steps is STEPS else self.steps
        steps = [h * shift for h in steps]
        floor, converged = min(1.0, size), CONVERGED * self.scale / max(1.0, moving)
        reached = self.reached(k, v) if self.lossy else np.zeros(self.y.shape, bool)
        at = functools.partial(self._at, k, v)
        return _derivative(self, at, steps, floor, converged, reached)

    def _at(self, k: int, v: Array, t: float) -> Array:
        return self.with_input(k, self.input(k) + t * v)

    def closer(self, k: int, v: Array, value: float) -> Derivative | None:
        """Return the derivative along `v` as short steps have it, where `value` is not that.

        Where a function varies on a scale far below the input's size, as a sine of 1e7 does, the
        differences of long steps agree with each other, and mean nothing.
        """
        moving = noise.largest(self.input(k), v != 0) or 1.0
        found = (self._short(k, v, value, moving, step) for step in SHORT_STEPS)
        return next(filter(None, found), None) if self.steps is STEPS else None

    def _short(
        self, k: int, v: Array, value: float, moving: float, step: float
    ) -> Derivative | None:
        """Return the derivative as steps of about `step` times `moving` have it, if not `value`."""
        x, h, floor = self.input(k), moving * step, min(1.0, moving)
        up, down = self.with_input(k, x + h * v), self.with_input(k, x - h * v)
        probe = float((self.gy * (up - down)).sum()) / (2 * h)
        # a number of that size is moved by so short a step with few digits
        digits = noise.unit(np.float64) / step
        unknown = noise.norm(self.rounding_of(up, down, floor)) / h + digits * abs(probe)
        if not abs(probe - value) > 4 * unknown or (up == down).all():
            return None
        steps = [h * STEP_RATIO**i for i in (2, 1, 0)]
        reached = np.zeros(self.y.shape, bool)
        found = _derivative(self, functools.partial(self._at, k, v), steps, floor, 0.0, reached)
        uncertainty = found.uncertainty + digits * abs(found.value)
        uncertainty += max(abs(found.value - probe) - 4 * unknown, 0.0)
        known = np.isfinite(uncertainty) and found.depends.any()
        return dataclasses.replace(found, uncertainty=uncertainty) if known else None

    def stands_still(self, k: int, v: Array) -> bool:
        """Return whether no output changes along `v`, for steps up to the longest of the short."""
        x = self.input(k)
        h = (noise.largest(x, v != 0) or 1.0) * max(SHORT_STEPS)
        return bool((self.with_input(k, x + h * v) == self.with_input(k, x - h * v)).all())

    def second_opinion(self, k: int, v: Array, value: float) -> float:
        """Return how far `value`, the derivative along `v`, may be off according to other steps.

        Neighbouring values may agree by chance where one of them crossed a small kink: no
        gradient is called wrong on the word of one ladder.
        """
        second = self.along(k, v, SECOND_LADDER_SCALE)
        apart = abs(value - second.value) + second.uncertainty
        return apart if np.isfinite(apart) else 0.0


def make_problem(
    function: Callable[..., Array],
    inputs: Inputs,
    rng: np.random.Generator,
    operations: float,
    elementwise: int = MAX_ELEMENTWISE,
    *,
    cotangent: Any = np.float32,
    **options: Any,
) -> DerivativeProblem:
    """Return the problem of differentiating `function` at `inputs`, with a random cotangent.

    It has the digits of the type `cotangent`: those of float32, as inputs have, where both types
    are to see the same. `options` are further fields of the `DerivativeProblem`.
    """
    # what comes of inputs that are not finite is for the comparison to say
    with np.errstate(invalid="ignore"):
        y = function(*inputs)
    # NumPy draws no bfloat16 numbers
    drawn = np.float64 if cotangent == np.float64 else np.float32
    gy = rng.standard_normal(y.shape, drawn).astype(cotangent).astype(np.float64)
    size = noise.output_size(function, inputs, y, rng, options.get("dtype", np.float64))
    return DerivativeProblem(function, inputs, gy, y, size, operations, elementwise, **options)


def _ladder(size: float) -> list[float]:
    """Return the steps for an input whose largest element is of that size."""
    steps = [h * max(1.0, size) for h in STEPS]
    while 0 < size < 1 and steps[-1] > STEPS[-1] * size:
        steps.append(steps[-1] / STEP_RATIO)
    return steps


def _derivative(
    problem: DerivativeProblem,
    at: Callable[[float], Array],
    steps: Sequence[float],
    floor: float,
    converged: float,
    reached: Array,
) -> Derivative:
    """Return the derivative at 0 of ``sum(gy at(t))``; `floor` is that of `rounding_of`.

    The ladder ends where the uncertainty is not above `converged`. What rounding does counts at
    outputs that change, and at those `reached`. The derivative may lie anywhere
    between those from both sides: half of how far these are apart is a part of its uncertainty.
    """
    gy, y = problem.gy, problem.y
    best = Derivative(np.nan, np.inf, False, np.zeros(problem.shape, bool))
    central_row: list[Array] = []
    gap_row: list[Array] = []
    kinked = np.zeros(y.shape)
    for h in steps:
        up, down = at(h), at(-h)
        if not (np.isfinite(up).all() and np.isfinite(down).all()):
            central_row, gap_row = [], []
            continue
        depends, rounding = up != down, np.abs(problem.rounding_of(up, down, floor)) / h
        heard = depends | reached
        uncertain = noise.norm(rounding[heard] if heard.any() else rounding)
        if uncertain > best.uncertainty:
            # it grows as the step shrinks: what follows is known worse
            break
        coarser = central_row, gap_row
        central_row = extrapolated(np.sum(gy * (up - down)) / (2 * h), central_row, power=2)
        # output by output, as the bends of others may be larger than the kink of one
        with np.errstate(invalid="ignore"):
            gap_row = extrapolated(gy * (up - 2 * y + down) / h, gap_row, power=1)
        if len(central_row) == 1:
            continue
        value, spread = settled(central_row, coarser[0])
        gaps, hidden = kinks(*settled(gap_row, coarser[1]), gap_row[0], rounding)
        smooth = float(spread) + uncertain + noise.norm(hidden) / 2
        half = float(gaps.sum()) / 2
        # a kink is beside the point, not at it, if it does not show at a step where it could
        drowned = best.kink and (8 * rounding + hidden)[kinked > 0].sum() > kinked.sum() / 4
        if smooth + half < best.uncertainty and (half or not drowned):
            kink = half > max(smooth, KINK * abs(float(value)))
            shaped = depends.reshape(problem.shape)
            best, kinked = Derivative(float(value), smooth + half, kink, shaped), gaps
        if best.uncertainty <= converged:
            break
    return best
