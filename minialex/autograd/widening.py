"""bfloat16 arrays for functions that take none: widened to float32 before, rounded once after.

bfloat16 is a type that numbers are held in, and not computed in. What an op makes of such arrays is
what it makes of the same numbers in float32, rounded to the nearest, of two the even one. A number
beside such an array is a bfloat16 number first, as it takes the type of what is beside it.
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
    stay as they are. What is saved are float32 arrays, and at the end the types of the inputs;
    nothing where `keep` is False.
    """

    @functools.wraps(forward)
    def wide_forward(*inputs: Any, **keywords: Any) -> tuple[Array, tuple[Any, ...]]:
        y, saved = forward(*map(_wide, inputs), **keywords)
        if y.dtype == np.float32:
            y = y.astype(BFLOAT16)
        types = tuple(None if x is None else x.dtype for x in inputs)
        return y, (*saved, types) if keywords.get("keep", True) else ()

    @functools.wraps(backward)
    def wide_backward(gy: Array, saved: tuple[Any, ...], **keywords: Any) -> tuple[Any, ...]:
        *rest, types = saved
        out = keywords.get("out") or (None,) * len(types)
        if "out" in keywords:
            narrow = zip(out, types, strict=True)
            keywords["out"] = tuple(None if dtype == BFLOAT16 else one for one, dtype in narrow)
        gradients = backward(_wide(gy), tuple(rest), **keywords)
        each = zip(gradients, types, out, strict=True)
        return tuple(_narrow(g, dtype, one) for g, dtype, one in each)

    return wide_forward, wide_backward


def _narrow(g: Any, dtype: Any, out: Array | None) -> Any:
    """Return a gradient in the type of its input, in `out` where there is one."""
    if g is None or dtype != BFLOAT16:
        return g
    if out is None:
        return g.astype(BFLOAT16)
    out[...] = g
    return out


def _wide(x: Any) -> Any:
    return x.astype(np.float32) if x is not None and x.dtype == BFLOAT16 else x
