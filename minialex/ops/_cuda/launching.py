"""What ops share that launch kernels: limits, contiguous arrays, and buffers for gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.ops._windows import store_gradient

MAX_ELEMENTS = 2**31 - 2**16
"""How many elements an array may have: kernels index with 32 bits, also a little past the end."""

MAX_PIXELS = 2**28
"""How far a window may reach, in pixels: the index of its last one must fit 32 bits."""

TILE_THREADS = (16, 16)
"""The shape of a block of threads of the tiled kernels, one per element of a tile."""

TF32: dict[str, Any] = {"dtypes": ("float32",), "operand_roundoff": 2.0**-11}
"""The keywords of an `Implementation` whose operands are TF32 numbers."""

BF16: dict[str, Any] = {"dtypes": ("float32", "bfloat16"), "operand_roundoff": 2.0**-8}
"""Those of one whose operands are bfloat16 numbers."""


def check_counts(op: str, **counts: int) -> None:
    """Refuse arrays, given by name and number of elements, that kernels cannot index.

    Raises
    ------
    ValueError
        If one has more than `MAX_ELEMENTS` elements.
    """
    for name, count in counts.items():
        if count > MAX_ELEMENTS:
            raise ValueError(
                f"{op}: {name} has {count} elements, but the kernels index with 32 bits and take "
                f"at most {MAX_ELEMENTS}: use smaller batches, or the 'plain' implementation"
            )


def check_reach(op: str, *pixels: int) -> None:
    """Refuse images, windows and strides, in pixels, whose ends kernels cannot compute.

    Raises
    ------
    ValueError
        If one spans more than `MAX_PIXELS` pixels.
    """
    if max(pixels) > MAX_PIXELS:
        raise ValueError(
            f"{op}: image, window or stride spans {max(pixels)} pixels, but the kernels take at "
            f"most {MAX_PIXELS}: use the 'plain' implementation"
        )


def contiguous(a: Array) -> Array:
    """Return `a`, or a copy where it is not C-contiguous."""
    return array_module(a).ascontiguousarray(a)  # type: ignore[no-any-return]


def gradients(
    gy: Array,
    inputs: tuple[tuple[tuple[int, ...], Any], ...],
    write: Callable[..., None],
    needs: tuple[bool, ...],
    out: Gradients,
) -> Gradients:
    """Return the gradients that are needed, written by `write`, to `out` where there is an array.

    `write` is given an array for each of `inputs`, of that shape and dtype, None for those that are
    not needed.
    """

    def buffer(shape: tuple[int, ...], dtype: Any, given: Array | None) -> Array:
        if given is not None and given.flags.c_contiguous:
            return given
        return array_module(gy).empty(shape, dtype)  # type: ignore[no-any-return]

    # An op called without a bias may have one input less than `inputs`.
    asked = zip(inputs, needs, out, strict=False)
    grads = [buffer(*one, given) if need else None for one, need, given in asked]
    write(*grads, *(None for _ in inputs[len(grads) :]))
    return tuple(
        None if g is None else store_gradient(g, given) for g, given in zip(grads, out, strict=True)
    )
