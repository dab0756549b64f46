"""What the ops share that launch kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.ops._windows import store_gradient

LIMIT = 2**31 - 2**16
"""The most elements of an array: kernels index with 32 bits, and look a little beyond the end."""

FAR = 2**28
"""The furthest that a window may reach, in pixels."""

TILE = (16, 16)
"""The threads of a block of the tiled kernels: TILE of ``kernels/tile_product.cuh``, twice."""

TF32: dict[str, Any] = {"dtypes": ("float32",), "operand_roundoff": 2.0**-11}
"""What is said of an `Implementation` whose operands are TF32 numbers."""


def check_counts(op: str, **counts: int) -> None:
    """Refuse arrays, given by name and number of elements, that kernels cannot index.

    Raises
    ------
    ValueError
        If one has more than `LIMIT` elements.
    """
    for name, count in counts.items():
        if count > LIMIT:
            raise ValueError(
                f"{op}: {name} has {count} elements, but the kernels index with 32 bits and take "
                f"at most {LIMIT}: use smaller batches, or the 'plain' implementation"
            )


def check_reach(op: str, *pixels: int) -> None:
    """Refuse images, windows and strides, in pixels, whose ends kernels cannot compute.

    Raises
    ------
    ValueError
        If one spans more than `FAR` pixels.
    """
    if max(pixels) > FAR:
        raise ValueError(
            f"{op}: image, window or stride spans {max(pixels)} pixels, but the kernels take at "
            f"most {FAR}: use the 'plain' implementation"
        )


def packed(a: Array) -> Array:
    """Return `a`, or a copy where it is not C-contiguous."""
    return array_module(a).ascontiguousarray(a)  # type: ignore[no-any-return]


def gradients(
    gy: Array,
    shapes: tuple[tuple[int, ...], ...],
    write: Callable[..., None],
    needs: tuple[bool, ...],
    out: Gradients,
) -> Gradients:
    """Return the gradients that are needed, written by `write` to where they live.

    It is given an array for each of `shapes`, None for those that nobody needs.
    """

    def room(shape: tuple[int, ...], home: Array | None) -> Array:
        if home is not None and home.flags.c_contiguous:
            return home
        return array_module(gy).empty(shape, gy.dtype)  # type: ignore[no-any-return]

    # An op called without a bias may have one input less than it has shapes.
    asked = zip(shapes, needs, out, strict=False)
    grads = [room(shape, home) if need else None for shape, need, home in asked]
    write(*grads, *(None for _ in shapes[len(grads) :]))
    return tuple(
        None if g is None else store_gradient(g, home) for g, home in zip(grads, out, strict=True)
    )
