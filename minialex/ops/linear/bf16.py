"""linear on tensor cores, of operands rounded to bfloat16: ``kernels/linear_bf16.cu``.

``kernels/linear_bf16_rows.cu`` first rounds x, w and gy, those that a pass needs in one launch, to
rows that are padded to whole chunks of 16 bytes. What is multiplied has 8 bits; sums are float32,
and so are y and all gradients.

Activations may be bfloat16 instead: x, gy, y and gx, while w, b and their gradients are float32. y
and gx are then what they would be, rounded once. x and gy whose rows are whole chunks are not
rewritten.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import Array, array_module, device_of
from minialex.ops._cuda.launching import BF16, check_counts
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
from minialex.ops.linear.cuda import (
    LinearKernels,
    bias_gradient_plan,
    implementation,
    launch_bias_gradient,
)

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
    w : Array (O, I), float32, optional
    gy : Array (R, O), of the dtype of x, optional

    Returns
    -------
    dict
        By name, the bits of the numbers: (R, Ip), (O, Ip) and (R, Op) of uint16. x and gy
        themselves where they are of bfloat16, in rows that are whole chunks.

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


def _forward(x: Array, w: Array, b: Array | None, y: Array) -> None:
    sizes = R, O, I = *y.shape, w.shape[1]
    rows = rounded_rows(sizes, x=x, w=w)
    _launch(_forward_kernel, _plan(R, O, I), (rows["x"], rows["w"]), y, sizes, bias=(b,))


def _backward(
    gy: Array, x: Array, w: Array, gx: Array | None, gw: Array | None, gb: Array | None
) -> None:
    sizes = R, O, I = *gy.shape, w.shape[1]
    plan = _plan(O, I, R)
    if gx is None and gw is None:
        if gb is not None:
            _launch_bias_gradient(gy, gb, plan.threads)
        return
    read = {"gy": gy} | ({} if gw is None else {"x": x}) | ({} if gx is None else {"w": w})
    rows = rounded_rows(sizes, **read)
    if gw is not None:
        sums = bias_gradient_plan(gy, gb, plan.threads)
        arrays = gy, rows["gy"], rows["x"]
        _launch(_weight_kernel, plan, arrays, gw, sizes, bias_gradient=sums)
    elif gb is not None:
        _launch_bias_gradient(gy, gb, plan.threads)
    if gx is not None:
        _launch(_data_kernel, _plan(R, I, O), (rows["gy"], rows["w"]), gx, sizes)


IMPLEMENTATION = implementation(LinearKernels(_forward, _backward), **BF16)
