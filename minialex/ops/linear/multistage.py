"""linear on tensor cores, its panels copied several stages ahead.

    multistage_tf32x3   kernels/linear_multistage.cu   three products of TF32 numbers for one
    multistage_tf32     kernels/linear_multistage.cu   one, of numbers rounded to 11 bits
    bf16                kernels/linear_bf16.cu         one, of numbers rounded to 8 bits

multistage_tf32x3 gives NaN where others give an infinity, as tf32x3 does; those that round run only
where they are asked for. All take float32; sums are float32 as well.

For bf16, ``kernels/linear_bf16_rows.cu`` first rounds x, w and gy, those that a pass needs in one
launch, to rows that are padded to whole chunks of 16 bytes. Those of x and w are saved, and not x
and w, so that backward need not round them again. Activations may be bfloat16 instead: x, gy, y and
gx, while w, b and their gradients are float32. y and gx are then what they would be, rounded once.
Where rows of x and gy are whole chunks, they need not be rewritten; nor need w where an optimizer
keeps it in bfloat16 (its `shadow`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import BFLOAT16, Array, array_module, device_of
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda import launching
from minialex.ops._cuda.astype import as_float32
from minialex.ops._cuda.launching import check_counts, contiguous, gradients
from minialex.ops._cuda.main_loop import CHUNK_BYTES, multistage, padded, stages_bytes
from minialex.ops._cuda.tiling import (
    BIAS_GRADIENT,
    WORKSPACE,
    TilePlan,
    is_vector_aligned,
    launch_product,
    plan_tiles,
)
from minialex.ops.linear.cuda import bias_gradient_plan, launch_bias_gradient

NUMBERS_PER_THREAD = 4
"""How many numbers a thread rounds."""

_rows_kernel = cuda.kernel(
    "linear_bf16_rows.cu",
    "linear_bf16_rows",
    optional=("x", "x_rows", "w", "w_rows", "gy", "gy_rows"),
)

Sizes = tuple[int, int, int]
"""R, O and I."""


def rounded_rows(
    sizes: Sizes,
    *,
    x: Array | None = None,
    w: Array | None = None,
    gy: Array | None = None,
    shadow: Array | None = None,
) -> dict[str, Array]:
    """Return those that are given as bfloat16, their rows padded with zeros to whole chunks.

    Parameters
    ----------
    sizes : (R, O, I)
    x : Array (R, I), float32 or bfloat16, optional
    w : Array (O, I), float32, optional
    gy : Array (R, O), of the dtype of x, optional
    shadow : Array (O, I), bfloat16, optional
        The numbers of w.

    Returns
    -------
    dict
        By name, the bits of the numbers: (R, Ip), (O, Ip) and (R, Op) of uint16; those that are
        bfloat16 in rows of whole chunks as they are, and so `shadow` for w.

    Raises
    ------
    ValueError
        If one of them is larger than the kernel can index.
    """
    found: dict[str, Array] = {}
    arrays: list[Array | None] = []
    threads, dtype = 0, np.dtype(np.float32)
    if shadow is not None and _in_whole_chunks(shadow):
        w = shadow
    for name, array in (("x", x), ("w", w), ("gy", gy)):
        rows = None
        if array is not None and array.dtype == BFLOAT16 and _in_whole_chunks(array):
            found[name], array = array, None
        elif array is not None:
            shape = len(array), padded(array.shape[1], CHUNK_BYTES // 2)
            check_counts(
                "linear, its rows padded to a multiple of 8", **{name: shape[0] * shape[1]}
            )
            rows = found[name] = array_module(array).empty(shape, np.uint16)
            threads += rows.size // NUMBERS_PER_THREAD
            dtype = array.dtype if array.dtype == BFLOAT16 else dtype
        arrays += array, rows
    if threads:
        _rows_kernel(cuda.blocks(threads), cuda.BLOCK_SIZE, *arrays, *sizes, In=dtype)
    return found


def _in_whole_chunks(rows: Array) -> bool:
    return is_vector_aligned((rows, rows.shape[1]))


def _as_they_are(sizes: Sizes, *, shadow: Array | None = None, **arrays: Array) -> dict[str, Array]:
    return arrays


@dataclass(frozen=True)
class LinearRung:
    """What tells the rungs apart.

    Attributes
    ----------
    name : str
    file : str
        Of the kernels.
    rounds : bool
        Whether they multiply rows that were rounded and padded before, which are then saved; else
        (x, w) is saved, as for other implementations.
    operands : callable
        What they multiply of the arrays that it is given by name: called as `rounded_rows`.
    """

    name: str
    file: str = "linear_multistage.cu"
    rounds: bool = False
    operands: Callable[..., dict[str, Array]] = _as_they_are


TF32X3 = LinearRung("multistage_tf32x3")
TF32 = LinearRung("multistage_tf32")
BF16 = LinearRung("bf16", "linear_bf16.cu", True, rounded_rows)


def _implementation(rung: LinearRung, **traits: Any) -> Implementation:
    """Return it as an implementation of the op; `traits` are keywords of `Implementation`."""
    name, file, loop = rung.name, rung.file, multistage(rung.name)
    forward_kernel = cuda.kernel(file, f"linear_forward_{name}", optional=("b", *WORKSPACE))
    data_kernel = cuda.kernel(file, f"linear_data_gradient_{name}", optional=WORKSPACE)
    weight_kernel = cuda.kernel(
        file, f"linear_weight_gradient_{name}", optional=(*WORKSPACE, *BIAS_GRADIENT)
    )

    def plan(M: int, N: int, K: int) -> TilePlan:
        return plan_tiles(M, N, K, batch_count=1, itemsize=4, loop=loop)

    def launch(
        kernel: cuda.Kernel,
        plan: TilePlan,
        arrays: tuple[Array, ...],
        out: Array,
        sizes: Sizes,
        **more: Any,
    ) -> None:
        # kernels of rounded rows need not be told that these are whole chunks
        aligned = () if rung.rounds else map(_in_whole_chunks, arrays)
        shared = stages_bytes(plan.rows, cuda.capability(device_of(out)), name)
        launch_product(kernel, plan, 1, arrays, out, (*sizes, *aligned), shared=shared, **more)

    def forward(
        x: Array, w: Array, b: Array | None = None, *, shadow: Array | None = None
    ) -> tuple[Array, tuple[Any, ...]]:
        """Return x w^T + b; `shadow` is w in bfloat16, where there is one."""
        O, I = w.shape
        shape = (*x.shape[:-1], O)
        check_counts("linear", x=x.size, w=w.size, y=prod(shape))
        y = array_module(x).empty(shape, x.dtype)
        sizes = R, *_ = y.size // O, O, I
        found = rung.operands(sizes, x=contiguous(x).reshape(-1, I), w=contiguous(w), shadow=shadow)
        arrays, bias = (found["x"], found["w"]), (None if b is None else contiguous(b),)
        launch(forward_kernel, plan(R, O, I), arrays, y.reshape(-1, O), sizes, bias=bias)
        return y, (*arrays, x.shape, x.dtype, w.shape) if rung.rounds else (x, w)

    def backward(
        gy: Array,
        saved: tuple[Any, ...],
        *,
        needs: tuple[bool, ...] = (True, True, True),
        out: Gradients = (None, None, None),
    ) -> Gradients:
        """Return the gradients of `x`, `w` and `b`."""
        if rung.rounds:
            x, w, shape, dtype, (O, I) = saved
        else:
            shape, dtype, (O, I) = saved[0].shape, saved[0].dtype, saved[1].shape
            x, w = contiguous(saved[0]).reshape(-1, I), contiguous(saved[1])
        gy = contiguous(gy).reshape(-1, O)
        sizes = R, *_ = len(gy), O, I

        def write(gx: Array | None, gw: Array | None, gb: Array | None) -> None:
            tiles = plan(O, I, R)
            rows = {} if gx is None and gw is None else rung.operands(sizes, gy=gy)
            if gw is not None:
                arrays = (gy, rows["gy"], x) if rung.rounds else (gy, x)
                sums = bias_gradient_plan(gy, gb, tiles.threads)
                launch(weight_kernel, tiles, arrays, gw, sizes, bias_gradient=sums)
            elif gb is not None:
                # as many threads as within the launch of a weight gradient, for the same bits
                launch_bias_gradient(as_float32(gy), gb, tiles.threads)
            if gx is not None:
                launch(data_kernel, plan(R, I, O), (rows["gy"], w), gx.reshape(-1, I), sizes)

        weights = np.dtype(np.float32)
        inputs = (shape, dtype), ((O, I), weights), ((O,), weights)
        return gradients(gy, inputs, write, needs, out)

    return Implementation(forward, backward, why_not=cuda.why_not, own_saved=rung.rounds, **traits)


IMPLEMENTATIONS = {
    rung.name: _implementation(rung, **traits)
    for rung, traits in (
        (TF32X3, {"dtypes": ("float32",)}),
        (TF32, launching.TF32),
        (BF16, launching.BF16),
    )
}
