"""conv2d on tensor cores, its panels copied several stages ahead, of arrays with channels last.

    multistage_tf32x3   kernels/conv2d_multistage.cu   three products of TF32 numbers for one
    multistage_tf32     kernels/conv2d_multistage.cu   one, of numbers rounded to 11 bits

``kernels/conv2d_channels_last.cu`` first rewrites x, w and gy with their channels last, so that 16
bytes at a time can be copied to shared memory. multistage_tf32x3 gives NaN where others give an
infinity, as tf32x3 does; multistage_tf32 runs only where it is asked for. Both take float32 alone.
"""

from __future__ import annotations

from math import gcd, prod
from typing import Any

from minialex import cuda
from minialex.arrays import Array, array_module, device_of
from minialex.ops._cuda.launching import TF32, check_counts
from minialex.ops._cuda.tiling import (
    BIAS_GRADIENT,
    WORKSPACE,
    BiasGradient,
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
)
from minialex.ops.conv2d.shape import ConvShape

CHUNK = 4
"""How many floats are 16 bytes: channels are padded to a multiple of it."""

TILE_NUMBERS, MAX_TILE_CHANNELS, MIN_TILE_PIXELS = 1024, 32, 32
"""What a block rewrites: so many numbers, of so many channels and pixels."""

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
    channels = min(padded(C), MAX_TILE_CHANNELS)
    pixels = TILE_NUMBERS // channels // MIN_TILE_PIXELS * MIN_TILE_PIXELS
    tiles = cuda.blocks(P, pixels) * cuda.blocks(padded(C), channels)
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

    def launch(
        kernel: cuda.Kernel,
        product: tuple[int, int, int],
        batch_count: int,
        arrays: tuple[Array, ...],
        out: Array,
        s: ConvShape,
        **more: Any,
    ) -> None:
        plan = plan_tiles(*product, batch_count=batch_count, itemsize=4, loop=loop)
        shared = stages_bytes(plan.rows, cuda.capability(device_of(out)))
        launch_product(kernel, plan, batch_count, arrays, out, (s,), shared=shared, **more)

    def images(x: Array, s: ConvShape) -> Array:
        return channels_last(x, s.groups, rounded=rounded)

    def filters(w: Array) -> Array:
        return channels_last(w, 1, rounded=rounded)

    def forward(x: Array, w: Array, b: Array | None, y: Array, s: ConvShape) -> None:
        product = s.OG, s.N * s.P, s.KH * s.KW * padded(s.CG)
        arrays = images(x, s), filters(w)
        launch(forward_kernel, product, s.groups, arrays, y, s, bias=(b,), inner=s.P)

    def data_gradient(gy: Array, w: Array, gx: Array, s: ConvShape) -> None:
        # Pixels of x fall into sh x sw stride phases, each a product of its own: see the kernel.
        pixels = s.N * -(-s.H // s.sh) * -(-s.W // s.sw)
        steps = s.sh // gcd(s.sh, s.dh), s.sw // gcd(s.sw, s.dw)
        terms = padded(s.OG) * -(-s.KH // steps[0]) * -(-s.KW // steps[1])
        arrays, batch_count = (images(gy, s), filters(w)), s.groups * s.sh * s.sw
        launch(data_kernel, (s.CG, pixels, terms), batch_count, arrays, gx, s)

    def parameter_gradients(
        gy: Array, x: Array, gw: Array | None, gb: Array | None, s: ConvShape
    ) -> None:
        product = s.OG, s.KH * s.KW * padded(s.CG), s.N * s.P
        if gw is not None:
            sums: BiasGradient = bias_gradient_plan(gb, s)
            arrays = gy, images(gy, s), images(x, s)
            launch(weight_kernel, product, s.groups, arrays, gw, s, bias_gradient=sums)
        elif gb is not None:
            # as many threads as within the launch of a weight gradient, for the same bits
            plan = plan_tiles(*product, batch_count=s.groups, itemsize=4, loop=loop)
            launch_bias_gradient(gy, gb, s, plan.threads)

    return ConvKernels(forward, data_gradient, parameter_gradients)


IMPLEMENTATIONS = {
    "multistage_tf32x3": implementation(_kernels("multistage_tf32x3", 3), dtypes=("float32",)),
    "multistage_tf32": implementation(_kernels("multistage_tf32", 1), **TF32),
}
