"""conv2d on tensor cores, its panels copied several stages ahead, of arrays with channels last.

    multistage_tf32x3   kernels/conv2d_multistage.cu   three products of TF32 numbers for one
    multistage_tf32     kernels/conv2d_multistage.cu   one, of numbers rounded to 11 bits

``kernels/conv2d_channels_last.cu`` first rewrites x, w and gy with their channels last, so that 16
bytes at a time can be copied to shared memory. multistage_tf32x3 gives NaN where others give an
infinity, as tf32x3 does; multistage_tf32 runs only where it is asked for. Both take float32 alone.
"""

from __future__ import annotations

from math import prod
from typing import Any

from minialex import cuda
from minialex.arrays import Array, array_module, device_of
from minialex.ops._cuda.launching import TF32, check_counts
from minialex.ops._cuda.tiling import (
    BIAS_GRADIENT,
    WORKSPACE,
    TilePlan,
    launch_product,
    multistage,
    plan_tiles,
    stages_bytes,
)
from minialex.ops.conv2d.cuda import (
    ConvKernels,
    bias_gradient_plan,
    implementation,
    launch_bias_gradient,
    stride_phases,
)
from minialex.ops.conv2d.shape import ConvShape

CHUNK = 4
"""How many floats are 16 bytes: channels are padded to a multiple of it."""

TILE_NUMBERS, MAX_TILE_CHANNELS = 1024, 32
"""What a block rewrites: so many numbers, of so many channels."""

_channels_last_kernel = cuda.kernel("conv2d_channels_last.cu", "conv2d_channels_last")


def padded(channels: int) -> int:
    """Return `channels`, and as many more as whole chunks take."""
    return -(-channels // CHUNK) * CHUNK


def channels_last(x: Array, groups: int, *, rounded: bool) -> Array:
    """Return `x` (B, groups C, ...) as (B, ..., groups, C), C padded with zeros to whole chunks.

    Parameters
    ----------
    x : Array, float32
    groups : int
    rounded : bool
        Whether numbers are rounded to TF32.

    Raises
    ------
    ValueError
        If that is larger than the kernels can index.
    """
    B, C, P = len(x), x.shape[1] // groups, prod(x.shape[2:])
    shape = B, P, groups, padded(C)
    check_counts("conv2d, its channels padded to a multiple of 4", x=prod(shape))
    y: Array = array_module(x).empty(shape, x.dtype)
    channels = 1 << (min(padded(C), MAX_TILE_CHANNELS) - 1).bit_length()
    tiles = cuda.blocks(P, TILE_NUMBERS // channels) * cuda.blocks(padded(C), channels)
    sizes = B, groups, C, P
    _channels_last_kernel(B * groups * tiles, cuda.BLOCK_SIZE, x, y, *sizes, ROUND=int(rounded))
    return y


def _kernels(rung: str, products: int) -> ConvKernels:
    """Return the rung that multiplies TF32 numbers, so many `products` in place of one."""
    file, rounded, loop = "conv2d_multistage.cu", products == 1, multistage(products)
    forward_kernel = cuda.kernel(file, f"conv2d_forward_{rung}", optional=("b", *WORKSPACE))
    data_kernel = cuda.kernel(file, f"conv2d_data_gradient_{rung}", optional=WORKSPACE)
    weight_kernel = cuda.kernel(
        file, f"conv2d_weight_gradient_{rung}", optional=(*WORKSPACE, *BIAS_GRADIENT)
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
        shared = stages_bytes(plan.rows, cuda.capability(device_of(out)))
        launch_product(kernel, plan, batch_count, arrays, out, (s,), shared=shared, **more)

    def images(x: Array, s: ConvShape) -> Array:
        return channels_last(x, s.groups, rounded=rounded)

    def filters(w: Array) -> Array:
        return channels_last(w, 1, rounded=rounded)

    def forward(x: Array, w: Array, b: Array | None, y: Array, s: ConvShape) -> None:
        tiles = plan(s.OG, s.N * s.P, s.KH * s.KW * padded(s.CG), s.groups)
        arrays = images(x, s), filters(w)
        launch(forward_kernel, tiles, s.groups, arrays, y, s, bias=(b,), inner=s.P)

    def backward(
        gy: Array,
        x: Array,
        w: Array,
        gx: Array | None,
        gw: Array | None,
        gb: Array | None,
        s: ConvShape,
    ) -> None:
        tiles = plan(s.OG, s.KH * s.KW * padded(s.CG), s.N * s.P, s.groups)
        gy_chunks = gy if gx is None and gw is None else images(gy, s)
        if gw is not None:
            sums = bias_gradient_plan(gb, s)
            arrays = gy, gy_chunks, images(x, s)
            launch(weight_kernel, tiles, s.groups, arrays, gw, s, bias_gradient=sums)
        elif gb is not None:
            # as many threads as within the launch of a weight gradient, for the same bits
            launch_bias_gradient(gy, gb, s, tiles.threads)
        if gx is not None:
            batch_count, pixels, taps = stride_phases(s)
            tiles = plan(s.CG, pixels, taps * padded(s.OG), batch_count)
            launch(data_kernel, tiles, batch_count, (gy_chunks, filters(w)), gx, s)

    return ConvKernels(forward, backward)


IMPLEMENTATIONS = {
    "multistage_tf32x3": implementation(_kernels("multistage_tf32x3", 3), dtypes=("float32",)),
    "multistage_tf32": implementation(_kernels("multistage_tf32", 1), **TF32),
}
