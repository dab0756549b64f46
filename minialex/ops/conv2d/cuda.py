"""conv2d as CUDA kernels: a ladder of implementations, from the plainest to the fastest.

    naive           kernels/conv2d.cu                 one thread per number, all from memory
    tiled           kernels/conv2d_tiled.cu           tiles in shared memory
    im2col          kernels/conv2d_im2col.cu          patches written out, products of matrices
    implicit_gemm   kernels/conv2d_implicit_gemm.cu   the same products, patches never written
    tf32x3          kernels/conv2d_tensor_core.cu     the same on tensor cores (sm_80 and later)
    tf32            kernels/conv2d_tensor_core.cu     the same with numbers rounded to 11 bits

A rung is two functions, which launch kernels for y, and for those gradients that are needed: the
top rungs compute gb within the launch for gw. They take C-contiguous arrays of up to 2^31 - 2^16
elements. saved = (x, w), as for every implementation, so rungs can be mixed: the forward of one
with the backward of another. tf32x3 gives NaN where the others give an infinity: it takes numbers
apart, and infinity minus infinity is none. tf32 takes float32 alone, and runs only where it is
asked for.
cuDNN is a rung as well, with a bias gradient of its own: see ``cudnn.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

from minialex import cuda
from minialex.arrays import Array, Device, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import (
    MAX_ELEMENTS,
    TF32,
    TILE_THREADS,
    check_counts,
    check_reach,
    contiguous,
    gradients,
)
from minialex.ops._cuda.tiling import (
    BIAS_GRADIENT,
    MAX_SCRATCH_BYTES,
    WORKSPACE,
    BiasGradient,
    is_vector_aligned,
    launch_product,
    plan_tiles,
)
from minialex.ops.conv2d.shape import ConvShape

BIAS_GRADIENT_BLOCKS = 528
"""How many blocks of 256 threads sum up gb: four per multiprocessor keep an H100 busy."""


def checked_shape(x: Array, w: Array, **params: Any) -> ConvShape:
    """Return the sizes of the convolution of `x` with `w`.

    Raises
    ------
    ValueError
        If an array or the window is larger than the kernels can index.
    """
    s = ConvShape.of(x, w, **params)
    check_counts("conv2d", x=x.size, w=w.size, y=s.N * s.O * s.P)
    reach = s.dh * s.KH, s.dw * s.KW
    check_reach("conv2d", s.H + 2 * s.ph, s.W + 2 * s.pw, s.sh, s.sw, *reach)
    return s


_bias_gradient = cuda.kernel("conv2d.cu", "conv2d_bias_gradient", optional=WORKSPACE)


Backward = Callable[
    [Array, Array, Array, Array | None, Array | None, Array | None, ConvShape], None
]
"""Is given gy, x and w, and writes gx, gw and gb where they are not None."""


@dataclass(frozen=True)
class ConvKernels:
    """The launches of one rung. `forward` is given x, w, b and y, which it writes."""

    forward: Callable[[Array, Array, Array | None, Array, ConvShape], None]
    backward: Backward


def bias_gradient_plan(gb: Array | None, s: ConvShape) -> BiasGradient:
    """Return how `gy` is summed over images and positions: one block per channel and part."""
    parts = max(1, min(s.N, BIAS_GRADIENT_BLOCKS // s.O))
    return BiasGradient(gb, s.N, max(1, -(-s.N // parts)), s.O)


def launch_bias_gradient(
    gy: Array, gb: Array, s: ConvShape, threads: int = cuda.BLOCK_SIZE
) -> None:
    """Write the sums of `gy` over images and positions, in a launch of their own."""
    bias_gradient_plan(gb, s).launch(_bias_gradient, threads, gy, s.N, s.O, s.P)


def separate_launches(
    data_gradient: Callable[[Array, Array, Array, ConvShape], None],
    weight_gradient: Callable[[Array, Array, Array, ConvShape], None],
    bias_gradient: Callable[[Array, Array, ConvShape], None] = launch_bias_gradient,
) -> Backward:
    """Return the backward of a rung that computes each gradient in a launch of its own."""

    def backward(
        gy: Array,
        x: Array,
        w: Array,
        gx: Array | None,
        gw: Array | None,
        gb: Array | None,
        s: ConvShape,
    ) -> None:
        if gx is not None:
            data_gradient(gy, w, gx, s)
        if gw is not None:
            weight_gradient(gy, x, gw, s)
        if gb is not None:
            bias_gradient(gy, gb, s)

    return backward


def implementation(
    rung: ConvKernels, *, why_not: Callable[[Device], str] = cuda.why_not, **traits: Any
) -> Implementation:
    """Return `rung`, which runs where `why_not` says nothing, as an implementation of the op.

    `traits` are further keywords of `Implementation`.
    """

    def forward(
        x: Array, w: Array, b: Array | None = None, **params: Any
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return the convolution."""
        s = checked_shape(x, w, **params)
        y = array_module(x).empty((s.N, s.O, s.OH, s.OW), x.dtype)
        rung.forward(contiguous(x), contiguous(w), None if b is None else contiguous(b), y, s)
        return y, (x, w)

    def backward(
        gy: Array,
        saved: tuple[Array, Array],
        *,
        needs: tuple[bool, ...] = (True, True, True),
        out: Gradients = (None, None, None),
        **params: Any,
    ) -> Gradients:
        """Return the gradients of `x`, `w` and `b`."""
        x, w = saved
        s, gy = checked_shape(x, w, **params), contiguous(gy)

        def write(gx: Array | None, gw: Array | None, gb: Array | None) -> None:
            rung.backward(gy, contiguous(x), contiguous(w), gx, gw, gb, s)

        inputs = (x.shape, x.dtype), (w.shape, w.dtype), ((s.O,), w.dtype)
        return gradients(gy, inputs, write, needs, out)

    return Implementation(forward, backward, why_not=why_not, **traits)


# ---- naive ---------------------------------------------------------------------------------------

_forward_naive = cuda.kernel("conv2d.cu", "conv2d_forward_naive", optional=("b",))
_data_gradient_naive = cuda.kernel("conv2d.cu", "conv2d_data_gradient_naive")
_weight_gradient_naive = cuda.kernel("conv2d.cu", "conv2d_weight_gradient_naive")


def _naive_forward(x: Array, w: Array, b: Array | None, y: Array, s: ConvShape) -> None:
    _forward_naive(cuda.blocks(y.size), cuda.BLOCK_SIZE, x, w, b, y, s)


def _naive_data_gradient(gy: Array, w: Array, gx: Array, s: ConvShape) -> None:
    _data_gradient_naive(cuda.blocks(gx.size), cuda.BLOCK_SIZE, gy, w, gx, s)


def _naive_weight_gradient(gy: Array, x: Array, gw: Array, s: ConvShape) -> None:
    _weight_gradient_naive(cuda.blocks(gw.size), cuda.BLOCK_SIZE, gy, x, gw, s)


# ---- tiled ---------------------------------------------------------------------------------------

_forward_tiled = cuda.kernel("conv2d_tiled.cu", "conv2d_forward_tiled", optional=("b",))
_data_gradient_tiled = cuda.kernel("conv2d_tiled.cu", "conv2d_data_gradient_tiled")
_weight_gradient_tiled = cuda.kernel("conv2d_tiled.cu", "conv2d_weight_gradient_tiled")


def _tiles(columns: int, rows: int, groups: int) -> tuple[int, int, int]:
    return cuda.blocks(columns, TILE_THREADS[0]), cuda.blocks(rows, TILE_THREADS[1]), groups


def _tiled_forward(x: Array, w: Array, b: Array | None, y: Array, s: ConvShape) -> None:
    grid = _tiles(s.N * s.P, s.OG, s.groups)
    _forward_tiled(grid, TILE_THREADS, x, w, b, y, s)


def _tiled_data_gradient(gy: Array, w: Array, gx: Array, s: ConvShape) -> None:
    grid = _tiles(s.N * s.H * s.W, s.CG, s.groups)
    _data_gradient_tiled(grid, TILE_THREADS, gy, w, gx, s)


def _tiled_weight_gradient(gy: Array, x: Array, gw: Array, s: ConvShape) -> None:
    grid = _tiles(s.K, s.OG, s.groups)
    _weight_gradient_tiled(grid, TILE_THREADS, gy, x, gw, s)


# ---- im2col --------------------------------------------------------------------------------------

_im2col = cuda.kernel("conv2d_im2col.cu", "conv2d_im2col")
_col2im = cuda.kernel("conv2d_im2col.cu", "conv2d_col2im")
_forward_im2col = cuda.kernel(
    "conv2d_im2col.cu", "conv2d_forward_im2col", optional=("b", *WORKSPACE)
)
_data_gradient_im2col = cuda.kernel("conv2d_im2col.cu", "conv2d_data_gradient_im2col")
_weight_gradient_im2col = cuda.kernel(
    "conv2d_im2col.cu", "conv2d_weight_gradient_im2col", optional=WORKSPACE
)


def _image_blocks(like: Array, s: ConvShape) -> Iterator[tuple[slice, ConvShape, Array]]:
    """Yield blocks of images, their sizes, and one buffer for the patches of each in turn."""
    rows, vector = s.K * s.groups, 16 // like.itemsize
    image_size = rows * s.P
    if image_size + rows * vector > MAX_ELEMENTS:
        raise ValueError(
            f"conv2d: the patches of one image are {image_size} numbers, but im2col takes at most "
            f"{MAX_ELEMENTS}: use the 'implicit_gemm' implementation"
        )
    most = min(s.N, max(1, MAX_SCRATCH_BYTES // (image_size * like.dtype.itemsize)))
    # Rows are padded to whole vectors of 16 bytes.
    buffer = array_module(like).empty(most * image_size + rows * vector, like.dtype)
    for first in range(0, s.N, max(1, most)):
        images = slice(first, min(s.N, first + most))
        yield images, s._replace(N=images.stop - first), buffer


def _write_patches(x: Array, patches: Array, s: ConvShape) -> None:
    padded = s.N * s.P + 16 // x.itemsize
    _im2col((cuda.blocks(padded), min(s.C, 65535)), cuda.BLOCK_SIZE, x, patches, s)


def _im2col_forward(x: Array, w: Array, b: Array | None, y: Array, s: ConvShape) -> None:
    for images, part, patches in _image_blocks(x, s):
        _write_patches(x[images], patches, part)
        plan = plan_tiles(
            part.OG, part.N * part.P, part.K, batch_count=s.groups, itemsize=x.itemsize
        )
        arrays, sizes, P = (patches, w), (part, is_vector_aligned((w, s.K))), s.P
        launch_product(
            _forward_im2col, plan, s.groups, arrays, y[images], sizes, bias=(b,), inner=P
        )


def _im2col_data_gradient(gy: Array, w: Array, gx: Array, s: ConvShape) -> None:
    for images, part, patches in _image_blocks(gy, s):
        product = part.K, part.N * part.P, part.OG
        plan = plan_tiles(*product, batch_count=s.groups, itemsize=gy.itemsize, max_split_k=1)
        grid, sizes = (plan.tiles, 1, s.groups), (part, is_vector_aligned((w, s.K)), plan.depth)
        _data_gradient_im2col(grid, plan.threads, gy[images], w, patches, *sizes, ROWS=plan.rows)
        _col2im(cuda.blocks(gx[images].size), cuda.BLOCK_SIZE, patches, gx[images], part)


def _im2col_weight_gradient(gy: Array, x: Array, gw: Array, s: ConvShape) -> None:
    if s.N == 0:
        gw[...] = 0
    for images, part, patches in _image_blocks(x, s):
        _write_patches(x[images], patches, part)
        plan = plan_tiles(
            part.OG, part.K, part.N * part.P, batch_count=s.groups, itemsize=x.itemsize
        )
        arrays, later = (gy[images], patches), images.start > 0
        launch_product(_weight_gradient_im2col, plan, s.groups, arrays, gw, (part,), add=later)


# ---- implicit_gemm, tf32x3 and tf32 --------------------------------------------------------------


def stride_phases(s: ConvShape) -> tuple[int, int, int]:
    """Return how many products the data gradient is, and the pixels and taps of the largest.

    Pixels of x fall into sh x sw stride phases, each a product of its own for each group:
    ``kernels/conv2d_implicit_gemm.cuh``.
    """
    pixels = s.N * -(-s.H // s.sh) * -(-s.W // s.sw)
    steps = s.sh // gcd(s.sh, s.dh), s.sw // gcd(s.sw, s.dw)
    return s.groups * s.sh * s.sw, pixels, -(-s.KH // steps[0]) * -(-s.KW // steps[1])


def _implicit(file: str, rung: str) -> ConvKernels:
    """Return the rung whose three kernels, in `file`, look patches up as they go."""
    forward_kernel = cuda.kernel(file, f"conv2d_forward_{rung}", optional=("b", *WORKSPACE))
    data_kernel = cuda.kernel(file, f"conv2d_data_gradient_{rung}", optional=WORKSPACE)
    weight_kernel = cuda.kernel(
        file, f"conv2d_weight_gradient_{rung}", optional=(*WORKSPACE, *BIAS_GRADIENT)
    )

    def forward(x: Array, w: Array, b: Array | None, y: Array, s: ConvShape) -> None:
        plan = plan_tiles(s.OG, s.N * s.P, s.K, batch_count=s.groups, itemsize=x.itemsize)
        arrays, sizes, P = (x, w), (s, is_vector_aligned((w, s.K))), s.P
        launch_product(forward_kernel, plan, s.groups, arrays, y, sizes, bias=(b,), inner=P)

    def backward(
        gy: Array,
        x: Array,
        w: Array,
        gx: Array | None,
        gw: Array | None,
        gb: Array | None,
        s: ConvShape,
    ) -> None:
        if gx is not None:
            batch_count, pixels, taps = stride_phases(s)
            product = s.CG, pixels, taps * s.OG
            plan = plan_tiles(*product, batch_count=batch_count, itemsize=gy.itemsize)
            launch_product(data_kernel, plan, batch_count, (gy, w), gx, (s,))
        plan = plan_tiles(s.OG, s.K, s.N * s.P, batch_count=s.groups, itemsize=x.itemsize)
        if gw is not None:
            sums = bias_gradient_plan(gb, s)
            launch_product(weight_kernel, plan, s.groups, (gy, x), gw, (s,), bias_gradient=sums)
        elif gb is not None:
            # as many threads as within the launch of a weight gradient, for the same bits
            launch_bias_gradient(gy, gb, s, plan.threads)

    return ConvKernels(forward, backward)


IMPLEMENTATIONS = {
    name: implementation(rung)
    for name, rung in {
        "naive": ConvKernels(
            _naive_forward, separate_launches(_naive_data_gradient, _naive_weight_gradient)
        ),
        "tiled": ConvKernels(
            _tiled_forward, separate_launches(_tiled_data_gradient, _tiled_weight_gradient)
        ),
        "im2col": ConvKernels(
            _im2col_forward, separate_launches(_im2col_data_gradient, _im2col_weight_gradient)
        ),
        "implicit_gemm": _implicit("conv2d_implicit_gemm.cu", "implicit_gemm"),
        "tf32x3": _implicit("conv2d_tensor_core.cu", "tf32x3"),
    }.items()
}
IMPLEMENTATIONS["tf32"] = implementation(_implicit("conv2d_tensor_core.cu", "tf32"), **TF32)
