"""conv2d on tensor cores, its panels copied several stages ahead, of arrays with channels last.

    multistage_tf32x3   kernels/conv2d_multistage.cu   three products of TF32 numbers for one
    multistage_tf32     kernels/conv2d_multistage.cu   one, of numbers rounded to 11 bits
    bf16                kernels/conv2d_bf16.cu         one, of numbers rounded to 8 bits

``kernels/conv2d_channels_last.cu`` first rewrites x, w and gy with their channels last, those that
a pass needs in one launch, so that 16 bytes at a time can be copied to shared memory. Those of x
and w are saved, and not x and w, so that backward need not make them again.
multistage_tf32x3 gives NaN where others give an infinity, as tf32x3 does; those that round run only
where they are asked for. All take float32. Activations of bf16, x, gy, y and gx, may be bfloat16
instead, while w, b and their gradients are float32; y and gx are then what they would be, rounded
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import Array, array_module, device_of
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda import launching
from minialex.ops._cuda.launching import check_counts, contiguous, gradients
from minialex.ops._cuda.tiling import (
    BIAS_GRADIENT,
    CHUNK_BYTES,
    WORKSPACE,
    TilePlan,
    launch_product,
    multistage,
    padded,
    plan_tiles,
    stages_bytes,
)
from minialex.ops.conv2d.cuda import (
    bias_gradient_plan,
    checked_shape,
    launch_bias_gradient,
    stride_phases,
)
from minialex.ops.conv2d.shape import ConvShape

THREADS, CHUNKS = 128, 2
"""How many threads rewrite a pixel each, in a block, and of it so many chunks of channels."""

_OPTIONAL = "x", "x_chunks", "w", "w_chunks", "gy", "gy_chunks"
_channels_last = cuda.kernel("conv2d_channels_last.cu", "conv2d_channels_last", optional=_OPTIONAL)
_channels_last_bf16 = cuda.kernel(
    "conv2d_channels_last.cu", "conv2d_channels_last_bf16", optional=_OPTIONAL
)
_bias_gradient_bf16 = cuda.kernel("conv2d_bf16.cu", "conv2d_bias_gradient_bf16", optional=WORKSPACE)


@dataclass(frozen=True)
class Rung:
    """What tells the rungs apart.

    Attributes
    ----------
    name : str
    file : str
        Of the kernels.
    dtype : dtype
        Of the arrays that they multiply: float32, or uint16 for the bits of bfloat16.
    rewriting : dict
        The template arguments of the kernel that makes them.
    """

    name: str
    file: str = "conv2d_multistage.cu"
    dtype: Any = np.float32
    rewriting: Mapping[str, Any] = field(default_factory=dict)

    def padded(self, channels: int) -> int:
        """Return `channels`, and as many more as whole chunks of 16 bytes take."""
        return padded(channels, CHUNK_BYTES // np.dtype(self.dtype).itemsize)


TF32X3 = Rung("multistage_tf32x3", rewriting={"ROUND": 0})
TF32 = Rung("multistage_tf32", rewriting={"ROUND": 1})
BF16 = Rung("bf16", "conv2d_bf16.cu", np.uint16)


def channels_last(
    s: ConvShape,
    rung: Rung,
    *,
    x: Array | None = None,
    w: Array | None = None,
    gy: Array | None = None,
) -> dict[str, Array]:
    """Return those that are given with their channels last, padded with zeros to whole chunks.

    Parameters
    ----------
    s : ConvShape
    rung : Rung
        Whose numbers they become.
    x, w, gy : Array, float32, optional
        x and gy may be bfloat16 for `BF16`.

    Returns
    -------
    dict
        By name: x (N, H W, groups, Cp), w (O, KH KW, 1, Cp), gy (N, OH OW, groups, Op).

    Raises
    ------
    ValueError
        If one of them is larger than the kernels can index.
    """
    given = {
        "x": (x, s.N, s.groups, s.CG, s.H * s.W),
        "w": (w, s.O, 1, s.CG, s.KH * s.KW),
        "gy": (gy, s.N, s.groups, s.OG, s.P),
    }
    found: dict[str, Array] = {}
    arrays: list[Array | None] = []
    threads = 0
    for name, (array, B, G, C, P) in given.items():
        if array is not None:
            width = rung.padded(C)
            shape = B, P, G, width
            check_counts(f"conv2d, {C} channels padded to {width}", **{name: prod(shape)})
            found[name] = array_module(array).empty(shape, rung.dtype)
            threads += B * G * cuda.blocks(C, CHUNKS * rung.padded(1)) * P
        arrays += array, found.get(name)
    blocks = cuda.blocks(threads, THREADS)
    if rung is BF16:
        one = gy if x is None else x
        dtype = np.dtype(np.float32) if one is None else one.dtype
        _channels_last_bf16(blocks, THREADS, *arrays, s, In=dtype)
    else:
        _channels_last(blocks, THREADS, *arrays, s, **rung.rewriting)
    return found


def _launch_bias_gradient(gy: Array, gb: Array, s: ConvShape, threads: int) -> None:
    if gy.dtype.name == "bfloat16":
        sizes = s.N, s.O, s.P
        bias_gradient_plan(gb, s).launch(_bias_gradient_bf16, threads, gy, *sizes)
    else:
        launch_bias_gradient(gy, gb, s, threads)


def _implementation(rung: Rung, **traits: Any) -> Implementation:
    """Return it as an implementation of the op; `traits` are keywords of `Implementation`."""
    name, file, loop = rung.name, rung.file, multistage(rung.name)
    forward_kernel = cuda.kernel(file, f"conv2d_forward_{name}", optional=("b", *WORKSPACE))
    data_kernel = cuda.kernel(file, f"conv2d_data_gradient_{name}", optional=WORKSPACE)
    weight_kernel = cuda.kernel(
        file, f"conv2d_weight_gradient_{name}", optional=(*WORKSPACE, *BIAS_GRADIENT)
    )

    def plan(M: int, N: int, K: int, batch_count: int) -> TilePlan:
        return plan_tiles(M, N, K, batch_count=batch_count, itemsize=4, loop=loop)

    def launch(
        kernel: cuda.Kernel,
        plan: TilePlan,
        batch_count: int,
        arrays: tuple[Array, ...],
        out: Array,
        s: ConvShape,
        **more: Any,
    ) -> None:
        shared = stages_bytes(plan.rows, cuda.capability(device_of(out)), name)
        launch_product(kernel, plan, batch_count, arrays, out, (s,), shared=shared, **more)

    def forward(
        x: Array, w: Array, b: Array | None = None, **params: Any
    ) -> tuple[Array, tuple[Any, ...]]:
        """Return the convolution."""
        s = checked_shape(x, w, **params)
        y = array_module(x).empty((s.N, s.O, s.OH, s.OW), x.dtype)
        tiles = plan(s.OG, s.N * s.P, s.KH * s.KW * rung.padded(s.CG), s.groups)
        chunks = channels_last(s, rung, x=contiguous(x), w=contiguous(w))
        arrays, bias = (chunks["x"], chunks["w"]), (None if b is None else contiguous(b),)
        launch(forward_kernel, tiles, s.groups, arrays, y, s, bias=bias, inner=s.P)
        return y, (*arrays, s, x.dtype)

    def backward(
        gy: Array,
        saved: tuple[Any, ...],
        *,
        needs: tuple[bool, ...] = (True, True, True),
        out: Gradients = (None, None, None),
        **params: Any,
    ) -> Gradients:
        """Return the gradients of `x`, `w` and `b`."""
        x_chunks, w_chunks, s, dtype = saved
        gy = contiguous(gy)

        def write(gx: Array | None, gw: Array | None, gb: Array | None) -> None:
            tiles = plan(s.OG, s.KH * s.KW * rung.padded(s.CG), s.N * s.P, s.groups)
            chunks = {} if gx is None and gw is None else channels_last(s, rung, gy=gy)
            if gw is not None:
                arrays = gy, chunks["gy"], x_chunks
                sums = bias_gradient_plan(gb, s)
                launch(weight_kernel, tiles, s.groups, arrays, gw, s, bias_gradient=sums)
            elif gb is not None:
                # as many threads as within the launch of a weight gradient, for the same bits
                _launch_bias_gradient(gy, gb, s, tiles.threads)
            if gx is not None:
                batch_count, pixels, taps = stride_phases(s)
                tiles = plan(s.CG, pixels, taps * rung.padded(s.OG), batch_count)
                launch(data_kernel, tiles, batch_count, (chunks["gy"], w_chunks), gx, s)

        weights = (s.O, s.CG, s.KH, s.KW), np.dtype(np.float32)
        inputs = ((s.N, s.C, s.H, s.W), dtype), weights, ((s.O,), np.dtype(np.float32))
        return gradients(gy, inputs, write, needs, out)

    return Implementation(forward, backward, why_not=cuda.why_not, own_saved=True, **traits)


IMPLEMENTATIONS = {
    rung.name: _implementation(rung, **traits)
    for rung, traits in (
        (TF32X3, {"dtypes": ("float32",)}),
        (TF32, launching.TF32),
        (BF16, launching.BF16),
    )
}
