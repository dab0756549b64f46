"""Whether a result is right: nothing is timed before its result was compared with another one.

The plain implementation is compared with a result that is independent of it; every other
implementation and every peer is compared with the plain implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from minialex.arrays import Array, array_module

Result = Array
"""What came out, on the device where it was computed."""


class WrongResultError(Exception):
    """A result is not what it should be; the message says by how much."""


@dataclass(frozen=True)
class Tolerance:
    """How far a result may be from the expected one, relative to that one's root mean square.

    Attributes
    ----------
    typical : float
        The root mean square of the differences.
    largest : float
        The largest difference.
    """

    typical: float
    largest: float


# weight gradients add up 400,000 products at batch 128; rounding takes about 1e-5 of them, and one
# element that was never written shows as a difference of about 1
FLOAT32 = Tolerance(1e-4, 5e-3)
# ten bits of a factor are kept: 5e-4 each
TF32 = Tolerance(3e-3, 5e-2)
# seven: eight times as much
BF16 = Tolerance(2.4e-2, 0.4)
FLOAT64 = Tolerance(1e-9, 1e-7)
# near-zero gradients have an unstable sign under RMSprop, which divides by their own size
UPDATE = Tolerance(5e-2, inf)
# and more of them where factors are rounded: at an error of a few percent, which rounding to TF32
# makes of a gradient through ReLU and max-pooling, 2 % change their sign. Unrelated updates differ
# by 1.4
TF32_UPDATE = Tolerance(0.5, inf)
# of a quarter, which rounding to bfloat16 makes, 8 %
BF16_UPDATE = Tolerance(0.9, inf)

ROUNDED = {2.0**-11: TF32, 2.0**-8: BF16}
"""By `Implementation.operand_roundoff`, what results may be off by."""
ROUNDED_UPDATE = {2.0**-11: TF32_UPDATE, 2.0**-8: BF16_UPDATE}
"""And what the updates of a training step may."""

SAMPLE_ELEMENTS = 1 << 16


def sample(a: Result) -> Result:
    """Return a copy of about `SAMPLE_ELEMENTS` elements, evenly spaced; of all, where fewer."""
    return a.reshape(-1)[:: max(1, a.size // SAMPLE_ELEMENTS)].copy()


def relative_difference(got: Result, expected: Result) -> tuple[float, float]:
    """Return the typical and the largest difference, relative to the size of `expected`."""
    if got.shape != expected.shape:
        raise WrongResultError(f"its shape is {got.shape}, not {expected.shape}")
    xp, truth = array_module(expected), expected.astype(np.float64)
    off = xp.abs(got.astype(np.float64) - truth)
    size = sqrt(float(xp.mean(truth * truth))) or 1.0
    return sqrt(float(xp.mean(off * off))) / size, float(off.max()) / size


def check(got: Sequence[Result], expected: Sequence[Result], tolerance: Tolerance) -> float:
    """Return the worst typical difference of several arrays.

    Raises
    ------
    WrongResultError
        If an array is further from what is expected than `tolerance`, is not finite, is of another
        shape, or is missing.
    """
    if len(got) != len(expected):
        raise WrongResultError(f"it gave {len(got)} arrays, not {len(expected)}")
    worst = 0.0
    for ours, truth in zip(got, expected, strict=True):
        typical, largest = relative_difference(ours, truth)
        # written so that NaN, which is neither above nor below, is refused
        if not (typical <= tolerance.typical and largest <= tolerance.largest):
            raise WrongResultError(
                f"off by {typical:.2g} of its size typically and {largest:.2g} at worst, where "
                f"{tolerance.typical:.2g} and {tolerance.largest:.2g} are allowed"
            )
        worst = max(worst, typical)
    return worst
