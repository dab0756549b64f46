"""linear as CUDA kernels: a ladder of implementations, from the plainest to the fastest.

    naive              kernels/linear.cu               one thread per number, all from memory
    tiled              kernels/linear.cu               tiles in shared memory
    register_blocked   kernels/linear.cu               sums in registers, vectors, double buffering
    tf32x3             kernels/linear_tensor_core.cu   the same on tensor cores (sm_80 and later)
    tf32               kernels/linear_tensor_core.cu   the same with numbers rounded to 11 bits
    multistage_tf32x3  kernels/linear_multistage.cu    tf32x3, panels copied several stages ahead
    multistage_tf32    kernels/linear_multistage.cu    the same with numbers rounded to 11 bits
    bf16               kernels/linear_bf16.cu          the same, rounded to 8 bits (bf16.py)

saved = (x, w), as for every implementation. tf32x3 and multistage_tf32x3 give NaN where the others
give an infinity: they take numbers apart, and infinity minus infinity is none. Those from tf32 on
take float32 alone, but for bf16, and those that round run only where they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from minialex import cuda
from minialex.arrays import Array, array_module, device_of
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import TF32, TILE_THREADS, check_counts, contiguous, gradients
from minialex.ops._cuda.tiling import (
    BIAS_GRADIENT,
    WORKSPACE,
    BiasGradient,
    TilePlan,
    is_vector_aligned,
    launch_product,
    multistage,
    plan_tiles,
    stages_bytes,
)

NAIVE_THREADS = (32, 8)
"""The shape of a block of threads of the naive kernels: a warp reads along a row."""

BIAS_ROWS_PER_PART = 64
"""How many rows a thread adds up for gb: more would leave too few threads for large batches."""


Backward = Callable[[Array, Array, Array, Array | None, Array | None, Array | None], None]
"""Is given gy, x and w, and writes gx, gw and gb where they are not None."""


@dataclass(frozen=True)
class LinearKernels:
    """The launches of one rung. `forward` is given x, w, b and y, which it writes."""

    forward: Callable[[Array, Array, Array | None, Array], None]
    backward: Backward


def implementation(rung: LinearKernels, **traits: Any) -> Implementation:
    """Return `rung` as an implementation of the op; `traits` are keywords of `Implementation`."""

    def forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, tuple[Array, Array]]:
        """Return x w^T + b."""
        O, I = w.shape
        shape = (*x.shape[:-1], O)
        check_counts("linear", x=x.size, w=w.size, y=prod(shape))
        y = array_module(x).empty(shape, x.dtype)
        rung.forward(
            contiguous(x).reshape(-1, I),
            contiguous(w),
            None if b is None else contiguous(b),
            y.reshape(-1, O),
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
        gy = contiguous(gy).reshape(-1, O)

        def write(gx: Array | None, gw: Array | None, gb: Array | None) -> None:
            flat = None if gx is None else gx.reshape(-1, I)
            rung.backward(gy, contiguous(x).reshape(-1, I), contiguous(w), flat, gw, gb)

        inputs = (x.shape, x.dtype), (w.shape, w.dtype), ((O,), w.dtype)
        return gradients(gy, inputs, write, needs, out)

    return Implementation(forward, backward, why_not=cuda.why_not, **traits)


# ---- naive ---------------------------------------------------------------------------------------

_forward_naive = cuda.kernel("linear.cu", "linear_forward_naive", optional=("b",))
_data_gradient_naive = cuda.kernel("linear.cu", "linear_data_gradient_naive")
_weight_gradient_naive = cuda.kernel("linear.cu", "linear_weight_gradient_naive")
_bias_gradient = cuda.kernel("linear.cu", "linear_bias_gradient", optional=WORKSPACE)


def _grid(out: Array, block: tuple[int, int]) -> tuple[int, int]:
    return cuda.blocks(out.shape[1], block[0]), cuda.blocks(out.shape[0], block[1])


def _naive_forward(x: Array, w: Array, b: Array | None, y: Array) -> None:
    _forward_naive(_grid(y, NAIVE_THREADS), NAIVE_THREADS, x, w, b, y, len(x), *w.shape)


def _naive_data_gradient(gy: Array, w: Array, gx: Array) -> None:
    _data_gradient_naive(_grid(gx, NAIVE_THREADS), NAIVE_THREADS, gy, w, gx, len(gy), *w.shape)


def _naive_weight_gradient(gy: Array, x: Array, gw: Array) -> None:
    _weight_gradient_naive(_grid(gw, NAIVE_THREADS), NAIVE_THREADS, gy, x, gw, len(gy), *gw.shape)


def bias_gradient_plan(gy: Array, gb: Array | None, threads: int) -> BiasGradient:
    """Return how rows are summed up: one thread per column, in blocks of `threads`."""
    R, O = gy.shape
    return BiasGradient(gb, R, BIAS_ROWS_PER_PART, cuda.blocks(O, threads))


def launch_bias_gradient(gy: Array, gb: Array, threads: int = cuda.BLOCK_SIZE) -> None:
    """Write the sums of `gy` over its rows, in a launch of their own."""
    bias_gradient_plan(gy, gb, threads).launch(_bias_gradient, threads, gy, *gy.shape)


def _separate_launches(
    data_gradient: Callable[[Array, Array, Array], None],
    weight_gradient: Callable[[Array, Array, Array], None],
) -> Backward:
    """Return the backward of a rung that computes each gradient in a launch of its own."""

    def backward(
        gy: Array, x: Array, w: Array, gx: Array | None, gw: Array | None, gb: Array | None
    ) -> None:
        if gx is not None:
            data_gradient(gy, w, gx)
        if gw is not None:
            weight_gradient(gy, x, gw)
        if gb is not None:
            launch_bias_gradient(gy, gb)

    return backward


# ---- tiled ---------------------------------------------------------------------------------------

_forward_tiled = cuda.kernel("linear.cu", "linear_forward_tiled", optional=("b",))
_data_gradient_tiled = cuda.kernel("linear.cu", "linear_data_gradient_tiled")
_weight_gradient_tiled = cuda.kernel("linear.cu", "linear_weight_gradient_tiled")


def _tiled_forward(x: Array, w: Array, b: Array | None, y: Array) -> None:
    _forward_tiled(_grid(y, TILE_THREADS), TILE_THREADS, x, w, b, y, len(x), *w.shape)


def _tiled_data_gradient(gy: Array, w: Array, gx: Array) -> None:
    _data_gradient_tiled(_grid(gx, TILE_THREADS), TILE_THREADS, gy, w, gx, len(gy), *w.shape)


def _tiled_weight_gradient(gy: Array, x: Array, gw: Array) -> None:
    _weight_gradient_tiled(_grid(gw, TILE_THREADS), TILE_THREADS, gy, x, gw, len(gy), *gw.shape)


# ---- register_blocked, tf32x3 and tf32 -----------------------------------------------------------


def _by_panels(file: str, rung: str) -> LinearKernels:
    """Return the rung whose three kernels, in `file`, go panel by panel."""
    forward_kernel = cuda.kernel(file, f"linear_forward_{rung}", optional=("b", *WORKSPACE))
    data_kernel = cuda.kernel(file, f"linear_data_gradient_{rung}", optional=WORKSPACE)
    weight_kernel = cuda.kernel(
        file, f"linear_weight_gradient_{rung}", optional=(*WORKSPACE, *BIAS_GRADIENT)
    )

    def forward(x: Array, w: Array, b: Array | None, y: Array) -> None:
        (R, O), I = y.shape, w.shape[1]
        plan = plan_tiles(R, O, I, batch_count=1, itemsize=x.itemsize)
        sizes = R, O, I, is_vector_aligned((x, I), (w, I))
        launch_product(forward_kernel, plan, 1, (x, w), y, sizes, bias=(b,))

    def backward(
        gy: Array, x: Array, w: Array, gx: Array | None, gw: Array | None, gb: Array | None
    ) -> None:
        (R, O), I = gy.shape, w.shape[1]
        if gx is not None:
            plan = plan_tiles(R, I, O, batch_count=1, itemsize=gy.itemsize)
            sizes = R, O, I, is_vector_aligned((gy, O), (w, I))
            launch_product(data_kernel, plan, 1, (gy, w), gx, sizes)
        plan = plan_tiles(O, I, R, batch_count=1, itemsize=gy.itemsize)
        if gw is not None:
            sums = bias_gradient_plan(gy, gb, plan.threads)
            sizes = R, O, I, is_vector_aligned((gy, O), (x, I))
            launch_product(weight_kernel, plan, 1, (gy, x), gw, sizes, bias_gradient=sums)
        elif gb is not None:
            launch_bias_gradient(gy, gb, plan.threads)

    return LinearKernels(forward, backward)


# ---- multistage_tf32x3 and multistage_tf32 -------------------------------------------------------


def _multistage(rung: str) -> LinearKernels:
    """Return that rung of ``kernels/linear_multistage.cu``."""
    file, loop = "linear_multistage.cu", multistage(rung)
    forward_kernel = cuda.kernel(file, f"linear_forward_{rung}", optional=("b", *WORKSPACE))
    data_kernel = cuda.kernel(file, f"linear_data_gradient_{rung}", optional=WORKSPACE)
    weight_kernel = cuda.kernel(
        file, f"linear_weight_gradient_{rung}", optional=(*WORKSPACE, *BIAS_GRADIENT)
    )

    def launch(
        kernel: cuda.Kernel,
        plan: TilePlan,
        matrices: tuple[tuple[Array, int], tuple[Array, int]],
        out: Array,
        sizes: tuple[int, int, int],
        **more: Any,
    ) -> None:
        arrays = tuple(array for array, _ in matrices)
        aligned = (is_vector_aligned(matrix) for matrix in matrices)
        shared = stages_bytes(plan.rows, cuda.capability(device_of(out)), rung)
        launch_product(kernel, plan, 1, arrays, out, (*sizes, *aligned), shared=shared, **more)

    def forward(x: Array, w: Array, b: Array | None, y: Array) -> None:
        (R, O), I = y.shape, w.shape[1]
        plan = plan_tiles(R, O, I, batch_count=1, itemsize=4, loop=loop)
        launch(forward_kernel, plan, ((x, I), (w, I)), y, (R, O, I), bias=(b,))

    def backward(
        gy: Array, x: Array, w: Array, gx: Array | None, gw: Array | None, gb: Array | None
    ) -> None:
        (R, O), I = gy.shape, w.shape[1]
        if gx is not None:
            plan = plan_tiles(R, I, O, batch_count=1, itemsize=4, loop=loop)
            launch(data_kernel, plan, ((gy, O), (w, I)), gx, (R, O, I))
        plan = plan_tiles(O, I, R, batch_count=1, itemsize=4, loop=loop)
        if gw is not None:
            sums = bias_gradient_plan(gy, gb, plan.threads)
            launch(weight_kernel, plan, ((gy, O), (x, I)), gw, (R, O, I), bias_gradient=sums)
        elif gb is not None:
            launch_bias_gradient(gy, gb, plan.threads)

    return LinearKernels(forward, backward)


IMPLEMENTATIONS = {
    name: implementation(rung)
    for name, rung in {
        "naive": LinearKernels(
            _naive_forward, _separate_launches(_naive_data_gradient, _naive_weight_gradient)
        ),
        "tiled": LinearKernels(
            _tiled_forward, _separate_launches(_tiled_data_gradient, _tiled_weight_gradient)
        ),
        "register_blocked": _by_panels("linear.cu", "register_blocked"),
        "tf32x3": _by_panels("linear_tensor_core.cu", "tf32x3"),
    }.items()
}
IMPLEMENTATIONS["tf32"] = implementation(_by_panels("linear_tensor_core.cu", "tf32"), **TF32)
IMPLEMENTATIONS["multistage_tf32x3"] = implementation(
    _multistage("multistage_tf32x3"), dtypes=("float32",)
)
IMPLEMENTATIONS["multistage_tf32"] = implementation(_multistage("multistage_tf32"), **TF32)
