"""linear as CUDA kernels: a ladder of implementations, from the plainest to the fastest.

    naive              kernels/linear.cu               one thread a number, all from memory
    tiled              kernels/linear.cu               tiles in shared memory
    register_blocked   kernels/linear.cu               sums in registers, vectors, double buffering
    tf32x3             kernels/linear_tensor_core.cu   the same on tensor cores (sm_80 and later)
    tf32               kernels/linear_tensor_core.cu   the same with numbers rounded to 11 bits

saved = (x, w), as for every implementation. tf32x3 gives NaN where the others give an infinity: it
takes numbers apart, and infinity minus infinity is none. tf32 takes float32 alone, and is not
chosen unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import TF32, TILE, check_counts, gradients, packed
from minialex.ops._cuda.tiling import (
    BIAS_GRADIENT,
    WORKSPACE,
    BiasGradient,
    cut,
    in_vectors,
    multiply,
)

BLOCK = (32, 8)
ROWS_PER_PART = 64


@dataclass(frozen=True)
class Rung:
    """One way to do all three products of matrices, each writing to its last array.

    `parameter_gradients` writes to its last two, where they are not None.
    """

    forward: Callable[[Array, Array, Array | None, Array], None]
    data_gradient: Callable[[Array, Array, Array], None]
    parameter_gradients: Callable[[Array, Array, Array | None, Array | None], None]


def implementation(rung: Rung, **traits: Any) -> Implementation:
    """Return `rung` as an implementation of the op; `traits` are keywords of `Implementation`."""

    def forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, tuple[Array, Array]]:
        """Return x w^T + b."""
        O, I = w.shape
        shape = (*x.shape[:-1], O)
        check_counts("linear", x=x.size, w=w.size, y=prod(shape))
        y = array_module(x).empty(shape, x.dtype)
        rung.forward(
            packed(x).reshape(-1, I), packed(w), None if b is None else packed(b), y.reshape(-1, O)
        )
        return y, (x, w)

    def backward(
        gy: Array,
        saved: tuple[Array, Array],
        *,
        needs: tuple[bool, ...] = (True, True, True),
        out: Gradients = (None, None, None),
    ) -> Gradients:
        """Return the gradients of `x`, `w` and `b`."""
        x, w = saved
        O, I = w.shape
        gy = packed(gy).reshape(-1, O)

        def write(gx: Array | None, gw: Array | None, gb: Array | None) -> None:
            if gx is not None:
                rung.data_gradient(gy, packed(w), gx.reshape(-1, I))
            rung.parameter_gradients(gy, packed(x).reshape(-1, I), gw, gb)

        return gradients(gy, (x.shape, w.shape, (O,)), write, needs, out)

    return Implementation(forward, backward, why_not=cuda.why_not, **traits)


# ---- naive ---------------------------------------------------------------------------------------

_forward_naive = cuda.kernel("linear.cu", "linear_forward_naive", optional=("b",))
_data_gradient_naive = cuda.kernel("linear.cu", "linear_data_gradient_naive")
_weight_gradient_naive = cuda.kernel("linear.cu", "linear_weight_gradient_naive")
_bias_gradient = cuda.kernel("linear.cu", "linear_bias_gradient", optional=WORKSPACE)


def _grid(out: Array, block: tuple[int, int]) -> tuple[int, int]:
    return cuda.blocks(out.shape[1], block[0]), cuda.blocks(out.shape[0], block[1])


def _naive_forward(x: Array, w: Array, b: Array | None, y: Array) -> None:
    _forward_naive(_grid(y, BLOCK), BLOCK, x, w, b, y, len(x), *w.shape)


def _naive_data_gradient(gy: Array, w: Array, gx: Array) -> None:
    _data_gradient_naive(_grid(gx, BLOCK), BLOCK, gy, w, gx, len(gy), *w.shape)


def _naive_weight_gradient(gy: Array, x: Array, gw: Array) -> None:
    _weight_gradient_naive(_grid(gw, BLOCK), BLOCK, gy, x, gw, len(gy), *gw.shape)


def _bias_sums(gy: Array, gb: Array | None, threads: int) -> BiasGradient:
    """Return how rows are summed up: one thread per column, in blocks of `threads`."""
    R, O = gy.shape
    return BiasGradient(gb, R, ROWS_PER_PART, cuda.blocks(O, threads))


def _apart(
    weight_gradient: Callable[[Array, Array, Array], None],
) -> Callable[[Array, Array, Array | None, Array | None], None]:
    """Return `weight_gradient` with a bias gradient in a launch of its own."""

    def parameter_gradients(gy: Array, x: Array, gw: Array | None, gb: Array | None) -> None:
        if gw is not None:
            weight_gradient(gy, x, gw)
        if gb is not None:
            _bias_sums(gy, gb, cuda.BLOCK_SIZE).launch(
                _bias_gradient, cuda.BLOCK_SIZE, gy, *gy.shape
            )

    return parameter_gradients


# ---- tiled ---------------------------------------------------------------------------------------

_forward_tiled = cuda.kernel("linear.cu", "linear_forward_tiled", optional=("b",))
_data_gradient_tiled = cuda.kernel("linear.cu", "linear_data_gradient_tiled")
_weight_gradient_tiled = cuda.kernel("linear.cu", "linear_weight_gradient_tiled")


def _tiled_forward(x: Array, w: Array, b: Array | None, y: Array) -> None:
    _forward_tiled(_grid(y, TILE), TILE, x, w, b, y, len(x), *w.shape)


def _tiled_data_gradient(gy: Array, w: Array, gx: Array) -> None:
    _data_gradient_tiled(_grid(gx, TILE), TILE, gy, w, gx, len(gy), *w.shape)


def _tiled_weight_gradient(gy: Array, x: Array, gw: Array) -> None:
    _weight_gradient_tiled(_grid(gw, TILE), TILE, gy, x, gw, len(gy), *gw.shape)


# ---- register_blocked, tf32x3 and tf32 -----------------------------------------------------------


def _blocked(file: str, rung: str) -> Rung:
    """Return the rung whose three kernels, in `file`, go panel by panel."""
    forward_kernel = cuda.kernel(file, f"linear_forward_{rung}", optional=("b", *WORKSPACE))
    data_kernel = cuda.kernel(file, f"linear_data_gradient_{rung}", optional=WORKSPACE)
    weight_kernel = cuda.kernel(
        file, f"linear_weight_gradient_{rung}", optional=(*WORKSPACE, *BIAS_GRADIENT)
    )

    def forward(x: Array, w: Array, b: Array | None, y: Array) -> None:
        (R, O), I = y.shape, w.shape[1]
        how = cut(R, O, I, copies=1, itemsize=x.itemsize)
        sizes = R, O, I, in_vectors((x, I), (w, I))
        multiply(forward_kernel, how, 1, (x, w), y, sizes, bias=(b,))

    def data_gradient(gy: Array, w: Array, gx: Array) -> None:
        (R, O), I = gy.shape, w.shape[1]
        how = cut(R, I, O, copies=1, itemsize=gy.itemsize)
        multiply(data_kernel, how, 1, (gy, w), gx, (R, O, I, in_vectors((gy, O), (w, I))))

    def parameter_gradients(gy: Array, x: Array, gw: Array | None, gb: Array | None) -> None:
        (R, O), I = gy.shape, x.shape[1]
        how = cut(O, I, R, copies=1, itemsize=gy.itemsize)
        sums = _bias_sums(gy, gb, how.threads)
        if gw is not None:
            sizes = R, O, I, in_vectors((gy, O), (x, I))
            multiply(weight_kernel, how, 1, (gy, x), gw, sizes, beside=sums)
        elif gb is not None:
            sums.launch(_bias_gradient, how.threads, gy, R, O)

    return Rung(forward, data_gradient, parameter_gradients)


IMPLEMENTATIONS = {
    name: implementation(rung)
    for name, rung in {
        "naive": Rung(_naive_forward, _naive_data_gradient, _apart(_naive_weight_gradient)),
        "tiled": Rung(_tiled_forward, _tiled_data_gradient, _apart(_tiled_weight_gradient)),
        "register_blocked": _blocked("linear.cu", "register_blocked"),
        "tf32x3": _blocked("linear_tensor_core.cu", "tf32x3"),
    }.items()
}
IMPLEMENTATIONS["tf32"] = implementation(_blocked("linear_tensor_core.cu", "tf32"), **TF32)
