"""bfloat16 arrays for functions that take none: widened to float32 before, rounded once after.

bfloat16 is a type that numbers are held in, and not computed in. What an op makes of such arrays is
what it makes of the same numbers in float32, rounded to the nearest, of two the even one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minialex.arrays import BFLOAT16, Array

Function = Callable[..., Any]


def widened(forward: Function, backward: Function) -> tuple[Function, Function]:
    """Return a forward and a backward that take bfloat16 arrays, of two that take float32 ones.

    The result is bfloat16 where it was float32; a gradient is of the type of its input. Signatures
    stay as they are. What is saved are float32 arrays, and at the end the types of the inputs.
    """

    @functools.wraps(forward)
    def wide_forward(*inputs: Any, **keywords: Any) -> tuple[Array, tuple[Any, ...]]:
        y, saved = forward(*map(_wide, inputs), **keywords)
        types = tuple(None if x is None else x.dtype for x in inputs)
        return y.astype(BFLOAT16) if y.dtype == np.float32 else y, (*saved, types)

    @functools.wraps(backward)
    def wide_backward(gy: Array, saved: tuple[Any, ...], **keywords: Any) -> tuple[Any, ...]:
        *rest, types = saved
        gradients = backward(_wide(gy), tuple(rest), **keywords)
        return tuple(
            g if g is None or dtype != BFLOAT16 else g.astype(BFLOAT16)
            for g, dtype in zip(gradients, types, strict=True)
        )

    return wide_forward, wide_backward


def _wide(x: Any) -> Any:
    return x.astype(np.float32) if x is not None and x.dtype == BFLOAT16 else x
