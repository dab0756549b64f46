"""linear on tensor cores, of operands rounded to bfloat16: ``kernels/linear_bf16.cu``.

``kernels/linear_bf16_rows.cu`` first rounds x, w and gy, those that a pass needs in one launch, to
rows that are padded to whole chunks of 16 bytes. What is multiplied has 8 bits; sums are float32,
and so are y and all gradients.

Activations may be bfloat16 instead: x, gy, y and gx, while w, b and their gradients are float32. y
and gx are then what they would be, rounded once. Where rows of x and gy are whole chunks, they need
not be rewritten; nor need w where an optimizer keeps it in bfloat16 (its `shadow`).

What is multiplied by is saved, and not x and w, so that backward need not round them again.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import Array, array_module, device_of
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import BF16, check_counts, contiguous, gradients
from minialex.ops._cuda.tiling import (
    BIAS_GRADIENT,
    CHUNK_BYTES,
    WORKSPACE,
    TilePlan,
    is_vector_aligned,
    launch_product,
    multistage,
    padded,
    plan_tiles,
    stages_bytes,
)
from minialex.ops.linear.cuda import bias_gradient_plan, launch_bias_gradient

FILE, RUNG = "linear_bf16.cu", "bf16"
LOOP = multistage(RUNG)

NUMBERS_PER_THREAD = 4
"""How many numbers a thread rounds."""

_rows_kernel = cuda.kernel(
    "linear_bf16_rows.cu",
    "linear_bf16_rows",
    optional=("x", "x_rows", "w", "w_rows", "gy", "gy_rows"),
)
_forward_kernel = cuda.kernel(FILE, "linear_forward_bf16", optional=("b", *WORKSPACE))
_data_kernel = cuda.kernel(FILE, "linear_data_gradient_bf16", optional=WORKSPACE)
_weight_kernel = cuda.kernel(
    FILE, "linear_weight_gradient_bf16", optional=(*WORKSPACE, *BIAS_GRADIENT)
)
_bias_kernel = cuda.kernel(FILE, "linear_bias_gradient_bf16", optional=WORKSPACE)


def rounded_rows(
    sizes: tuple[int, int, int],
    *,
    x: Array | None = None,
    w: Array | None = None,
    gy: Array | None = None,
) -> dict[str, Array]:
    """Return those that are given as bfloat16, their rows padded with zeros to whole chunks.

    Parameters
    ----------
    sizes : (R, O, I)
    x : Array (R, I), float32 or bfloat16, optional
    w : Array (O, I), float32 or bfloat16, optional
    gy : Array (R, O), of the dtype of x, optional

    Returns
    -------
    dict
        By name, the bits of the numbers: (R, Ip), (O, Ip) and (R, Op) of uint16; those that are
        bfloat16 in rows of whole chunks as they are.

    Raises
    ------
    ValueError
        If one of them is larger than the kernel can index.
    """
    found: dict[str, Array] = {}
    arrays: list[Array | None] = []
    threads, dtype = 0, np.dtype(np.float32)
    for name, array in (("x", x), ("w", w), ("gy", gy)):
        rows = None
        if array is not None and _is_bfloat16(array) and is_vector_aligned((array, array.shape[1])):
            found[name], array = array, None
        elif array is not None:
            shape = len(array), padded(array.shape[1], CHUNK_BYTES // 2)
            check_counts(
                "linear, its rows padded to a multiple of 8", **{name: shape[0] * shape[1]}
            )
            rows = found[name] = array_module(array).empty(shape, np.uint16)
            threads += rows.size // NUMBERS_PER_THREAD
            dtype = array.dtype if _is_bfloat16(array) else dtype
        arrays += array, rows
    if threads:
        _rows_kernel(cuda.blocks(threads), cuda.BLOCK_SIZE, *arrays, *sizes, In=dtype)
    return found


def _is_bfloat16(array: Array) -> bool:
    return array.dtype.name == "bfloat16"


def _launch_bias_gradient(gy: Array, gb: Array, threads: int) -> None:
    if _is_bfloat16(gy):
        bias_gradient_plan(gy, gb, threads).launch(_bias_kernel, threads, gy, *gy.shape)
    else:
        launch_bias_gradient(gy, gb, threads)


def _plan(M: int, N: int, K: int) -> TilePlan:
    return plan_tiles(M, N, K, batch_count=1, itemsize=4, loop=LOOP)


def _launch(
    kernel: cuda.Kernel,
    plan: TilePlan,
    arrays: tuple[Array, ...],
    out: Array,
    sizes: tuple[int, int, int],
    **more: Any,
) -> None:
    shared = stages_bytes(plan.rows, cuda.capability(device_of(out)), RUNG)
    launch_product(kernel, plan, 1, arrays, out, sizes, shared=shared, **more)


def forward(
    x: Array, w: Array, b: Array | None = None, *, shadow: Array | None = None
) -> tuple[Array, tuple[Any, ...]]:
    """Return x w^T + b; `shadow` is w in bfloat16, where there is one."""
    O, I = w.shape
    shape = (*x.shape[:-1], O)
    check_counts("linear", x=x.size, w=w.size, y=prod(shape))
    y = array_module(x).empty(shape, x.dtype)
    sizes = R, *_ = y.size // O, O, I
    has_shadow = shadow is not None and is_vector_aligned((shadow, I))
    weights = shadow if has_shadow else contiguous(w)
    rows = rounded_rows(sizes, x=contiguous(x).reshape(-1, I), w=weights)
    arrays, bias = (rows["x"], rows["w"]), (None if b is None else contiguous(b),)
    _launch(_forward_kernel, _plan(R, O, I), arrays, y.reshape(-1, O), sizes, bias=bias)
    return y, (*arrays, x.shape, x.dtype, w.shape)


def backward(
    gy: Array,
    saved: tuple[Any, ...],
    *,
    needs: tuple[bool, ...] = (True, True, True),
    out: Gradients = (None, None, None),
) -> Gradients:
    """Return the gradients of `x`, `w` and `b`."""
    x_rows, w_rows, shape, dtype, (O, I) = saved
    gy = contiguous(gy).reshape(-1, O)
    sizes = R, *_ = len(gy), O, I

    def write(gx: Array | None, gw: Array | None, gb: Array | None) -> None:
        plan = _plan(O, I, R)
        rows = {} if gx is None and gw is None else rounded_rows(sizes, gy=gy)
        if gw is not None:
            sums = bias_gradient_plan(gy, gb, plan.threads)
            arrays = gy, rows["gy"], x_rows
            _launch(_weight_kernel, plan, arrays, gw, sizes, bias_gradient=sums)
        elif gb is not None:
            _launch_bias_gradient(gy, gb, plan.threads)
        if gx is not None:
            _launch(_data_kernel, _plan(R, I, O), (rows["gy"], w_rows), gx.reshape(-1, I), sizes)

    weights = np.dtype(np.float32)
    inputs = (shape, dtype), ((O, I), weights), ((O,), weights)
    return gradients(gy, inputs, write, needs, out)


IMPLEMENTATION = Implementation(forward, backward, why_not=cuda.why_not, own_saved=True, **BF16)
