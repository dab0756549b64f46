"""conv2d as CUDA kernels: a ladder of implementations, from the plainest to the fastest.

    naive           kernels/conv2d.cu                 one thread a number, all from memory
    tiled           kernels/conv2d_tiled.cu           tiles in shared memory
    im2col          kernels/conv2d_im2col.cu          patches written out, products of matrices
    implicit_gemm   kernels/conv2d_implicit_gemm.cu   the same products, patches never written
    tf32x3          kernels/conv2d_tensor_core.cu     the same on tensor cores (sm_80 and later)
    tf32            kernels/conv2d_tensor_core.cu     the same with numbers rounded to 11 bits

A rung is three functions, which launch kernels for y, for gx, and for gw and gb: the top rungs sum
up gb within the launch for gw. They take C-contiguous arrays of up to 2^31 - 2^16 elements.
saved = (x, w), as for every implementation, so rungs can be mixed: the forward of one with the
backward of another. tf32x3 gives NaN where the others give an infinity: it takes numbers apart, and
infinity minus infinity is none. tf32 takes float32 alone, and is not chosen unless it is asked for.
cuDNN is a rung as well, with a bias gradient of its own: see ``conv2d_cudnn``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any, NamedTuple

from minialex import cuda
from minialex.arrays import Array, Device, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import (
    LIMIT,
    TF32,
    TILE,
    check_counts,
    check_reach,
    gradients,
    packed,
)
from minialex.ops._cuda.tiling import (
    BIAS_GRADIENT,
    SCRATCH,
    WORKSPACE,
    BiasGradient,
    cut,
    in_vectors,
    multiply,
)
from minialex.ops._windows import Pair, output_length

BUSY_BLOCKS = 528
"""Blocks of 256 threads that keep an H100 busy: four on each multiprocessor."""


class Sizes(NamedTuple):
    """All sizes of a convolution, in the order in which kernels take them."""

    N: int
    C: int
    H: int
    W: int
    O: int
    KH: int
    KW: int
    OH: int
    OW: int
    sh: int
    sw: int
    ph: int
    pw: int
    dh: int
    dw: int
    groups: int

    @classmethod
    def of(
        cls, x: Array, w: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> Sizes:
        """Return the sizes of the convolution of `x` with `w`.

        Raises
        ------
        ValueError
            If an array or the window is larger than the kernels can index.
        """
        (N, C, H, W), (O, _, KH, KW) = x.shape, w.shape
        OH, OW = (
            output_length(*axis)
            for axis in zip((H, W), (KH, KW), stride, padding, dilation, strict=True)
        )
        at = cls(N, C, H, W, O, KH, KW, OH, OW, *stride, *padding, *dilation, groups)
        at._check()
        return at

    def _check(self) -> None:
        N, C, H, W, O, KH, KW, OH, OW = self[:9]
        taps, P = C // self.groups * KH * KW, OH * OW
        check_counts("conv2d", x=N * C * H * W, w=O * taps, y=N * O * P)
        check_reach("conv2d", H + 2 * self.ph, W + 2 * self.pw, *self.strides_and_windows())

    def strides_and_windows(self) -> tuple[int, ...]:
        """Return how far the window moves and how far it reaches, in pixels."""
        return self.sh, self.sw, self.dh * self.KH, self.dw * self.KW

    @property
    def filters(self) -> int:
        """The filters of a group."""
        return self.O // self.groups

    @property
    def channels(self) -> int:
        """The input channels of a group."""
        return self.C // self.groups

    @property
    def taps(self) -> int:
        """The weights of a filter."""
        return self.channels * self.KH * self.KW

    @property
    def pixels(self) -> int:
        """The places of the window in all images."""
        return self.N * self.OH * self.OW


_bias_gradient = cuda.kernel("conv2d.cu", "conv2d_bias_gradient", optional=WORKSPACE)

ParameterGradients = Callable[[Array, Array, Array | None, Array | None, Sizes], None]


@dataclass(frozen=True)
class Rung:
    """One way to do all three products, and to add up the bias, each writing to its last array.

    `parameter_gradients` writes to its last two, gw and gb, where they are not None.
    """

    forward: Callable[[Array, Array, Array | None, Array, Sizes], None]
    data_gradient: Callable[[Array, Array, Array, Sizes], None]
    parameter_gradients: ParameterGradients


def _bias_sums(gb: Array | None, at: Sizes) -> BiasGradient:
    """Return how gy is summed up over images and pixels: a block for each channel and part."""
    parts = max(1, min(at.N, BUSY_BLOCKS // at.O))
    return BiasGradient(gb, at.N, max(1, -(-at.N // parts)), at.O)


def add_up_pixels(gy: Array, gb: Array, at: Sizes, threads: int = cuda.BLOCK_SIZE) -> None:
    """Write the sums of `gy` over images and pixels, in a launch of their own."""
    _bias_sums(gb, at).launch(_bias_gradient, threads, gy, at.N, at.O, at.OH * at.OW)


def apart(
    weight_gradient: Callable[[Array, Array, Array, Sizes], None],
    bias_gradient: Callable[[Array, Array, Sizes], None] = add_up_pixels,
) -> ParameterGradients:
    """Return both as one function, where one does not go along with the other."""

    def parameter_gradients(
        gy: Array, x: Array, gw: Array | None, gb: Array | None, at: Sizes
    ) -> None:
        if gw is not None:
            weight_gradient(gy, x, gw, at)
        if gb is not None:
            bias_gradient(gy, gb, at)

    return parameter_gradients


def implementation(
    rung: Rung, *, why_not: Callable[[Device], str] = cuda.why_not, **traits: Any
) -> Implementation:
    """Return `rung`, which runs where `why_not` says nothing, as an implementation of the op.

    `traits` are further keywords of `Implementation`.
    """

    def forward(
        x: Array, w: Array, b: Array | None = None, **params: Any
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return the convolution."""
        at = Sizes.of(x, w, **params)
        y = array_module(x).empty((at.N, at.O, at.OH, at.OW), x.dtype)
        rung.forward(packed(x), packed(w), None if b is None else packed(b), y, at)
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
        at, gy = Sizes.of(x, w, **params), packed(gy)

        def write(gx: Array | None, gw: Array | None, gb: Array | None) -> None:
            if gx is not None:
                rung.data_gradient(gy, packed(w), gx, at)
            rung.parameter_gradients(gy, packed(x), gw, gb, at)

        return gradients(gy, (x.shape, w.shape, (at.O,)), write, needs, out)

    return Implementation(forward, backward, why_not=why_not, **traits)


# ---- naive ---------------------------------------------------------------------------------------

_forward_naive = cuda.kernel("conv2d.cu", "conv2d_forward_naive", optional=("b",))
_data_gradient_naive = cuda.kernel("conv2d.cu", "conv2d_data_gradient_naive")
_weight_gradient_naive = cuda.kernel("conv2d.cu", "conv2d_weight_gradient_naive")


def _naive_forward(x: Array, w: Array, b: Array | None, y: Array, at: Sizes) -> None:
    _forward_naive(cuda.blocks(y.size), cuda.BLOCK_SIZE, x, w, b, y, at)


def _naive_data_gradient(gy: Array, w: Array, gx: Array, at: Sizes) -> None:
    _data_gradient_naive(cuda.blocks(gx.size), cuda.BLOCK_SIZE, gy, w, gx, at)


def _naive_weight_gradient(gy: Array, x: Array, gw: Array, at: Sizes) -> None:
    _weight_gradient_naive(cuda.blocks(gw.size), cuda.BLOCK_SIZE, gy, x, gw, at)


# ---- tiled ---------------------------------------------------------------------------------------

_forward_tiled = cuda.kernel("conv2d_tiled.cu", "conv2d_forward_tiled", optional=("b",))
_data_gradient_tiled = cuda.kernel("conv2d_tiled.cu", "conv2d_data_gradient_tiled")
_weight_gradient_tiled = cuda.kernel("conv2d_tiled.cu", "conv2d_weight_gradient_tiled")


def _tiles(columns: int, rows: int, groups: int) -> tuple[int, int, int]:
    return cuda.blocks(columns, TILE[0]), cuda.blocks(rows, TILE[1]), groups


def _tiled_forward(x: Array, w: Array, b: Array | None, y: Array, at: Sizes) -> None:
    grid = _tiles(at.pixels, at.filters, at.groups)
    _forward_tiled(grid, TILE, x, w, b, y, at)


def _tiled_data_gradient(gy: Array, w: Array, gx: Array, at: Sizes) -> None:
    grid = _tiles(at.N * at.H * at.W, at.channels, at.groups)
    _data_gradient_tiled(grid, TILE, gy, w, gx, at)


def _tiled_weight_gradient(gy: Array, x: Array, gw: Array, at: Sizes) -> None:
    grid = _tiles(at.taps, at.filters, at.groups)
    _weight_gradient_tiled(grid, TILE, gy, x, gw, at)


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


def _blocks_of_images(like: Array, at: Sizes) -> Iterator[tuple[slice, Sizes, Array]]:
    """Yield blocks of images, their sizes, and one room for the patches of each in turn."""
    rows, vector = at.taps * at.groups, 16 // like.itemsize
    image = rows * at.OH * at.OW
    if image + rows * vector > LIMIT:
        raise ValueError(
            f"conv2d: the patches of one image are {image} numbers, but im2col takes at most "
            f"{LIMIT}: use the 'implicit_gemm' implementation"
        )
    most = min(at.N, max(1, SCRATCH // (image * like.dtype.itemsize)))
    # Rows are padded to whole vectors of 16 bytes.
    room = array_module(like).empty(most * image + rows * vector, like.dtype)
    for first in range(0, at.N, max(1, most)):
        images = slice(first, min(at.N, first + most))
        yield images, at._replace(N=images.stop - first), room


def _write_patches(x: Array, patches: Array, at: Sizes) -> None:
    padded = at.pixels + 16 // x.itemsize
    _im2col((cuda.blocks(padded), min(at.C, 65535)), cuda.BLOCK_SIZE, x, patches, at)


def _im2col_forward(x: Array, w: Array, b: Array | None, y: Array, at: Sizes) -> None:
    for images, some, patches in _blocks_of_images(x, at):
        _write_patches(x[images], patches, some)
        how = cut(some.filters, some.pixels, some.taps, copies=at.groups, itemsize=x.itemsize)
        arrays, sizes, P = (patches, w), (some, in_vectors((w, at.taps))), at.OH * at.OW
        multiply(_forward_im2col, how, at.groups, arrays, y[images], sizes, bias=(b,), inner=P)


def _im2col_data_gradient(gy: Array, w: Array, gx: Array, at: Sizes) -> None:
    for images, some, patches in _blocks_of_images(gy, at):
        product = some.taps, some.pixels, some.filters
        how = cut(*product, copies=at.groups, itemsize=gy.itemsize, most_parts=1)
        grid, sizes = (how.tiles, 1, at.groups), (some, in_vectors((w, at.taps)), how.depth)
        _data_gradient_im2col(grid, how.threads, gy[images], w, patches, *sizes, ROWS=how.rows)
        _col2im(cuda.blocks(gx[images].size), cuda.BLOCK_SIZE, patches, gx[images], some)


def _im2col_weight_gradient(gy: Array, x: Array, gw: Array, at: Sizes) -> None:
    if at.N == 0:
        gw[...] = 0
    for images, some, patches in _blocks_of_images(x, at):
        _write_patches(x[images], patches, some)
        how = cut(some.filters, some.taps, some.pixels, copies=at.groups, itemsize=x.itemsize)
        arrays, later = (gy[images], patches), images.start > 0
        multiply(_weight_gradient_im2col, how, at.groups, arrays, gw, (some,), add=later)


# ---- implicit_gemm, tf32x3 and tf32 --------------------------------------------------------------


def _implicit(file: str, rung: str) -> Rung:
    """Return the rung whose three kernels, in `file`, look patches up as they go."""
    forward_kernel = cuda.kernel(file, f"conv2d_forward_{rung}", optional=("b", *WORKSPACE))
    data_kernel = cuda.kernel(file, f"conv2d_data_gradient_{rung}", optional=WORKSPACE)
    weight_kernel = cuda.kernel(
        file, f"conv2d_weight_gradient_{rung}", optional=(*WORKSPACE, *BIAS_GRADIENT)
    )

    def forward(x: Array, w: Array, b: Array | None, y: Array, at: Sizes) -> None:
        how = cut(at.filters, at.pixels, at.taps, copies=at.groups, itemsize=x.itemsize)
        arrays, sizes, P = (x, w), (at, in_vectors((w, at.taps))), at.OH * at.OW
        multiply(forward_kernel, how, at.groups, arrays, y, sizes, bias=(b,), inner=P)

    def data_gradient(gy: Array, w: Array, gx: Array, at: Sizes) -> None:
        # Elements of x fall into sh x sw phases, each a product of its own: see the kernel.
        copies = at.groups * at.sh * at.sw
        elements = at.N * -(-at.H // at.sh) * -(-at.W // at.sw)
        steps = at.sh // gcd(at.sh, at.dh), at.sw // gcd(at.sw, at.dw)
        depth = at.filters * -(-at.KH // steps[0]) * -(-at.KW // steps[1])
        how = cut(at.channels, elements, depth, copies=copies, itemsize=gy.itemsize)
        multiply(data_kernel, how, copies, (gy, w), gx, (at,))

    def parameter_gradients(
        gy: Array, x: Array, gw: Array | None, gb: Array | None, at: Sizes
    ) -> None:
        how = cut(at.filters, at.taps, at.pixels, copies=at.groups, itemsize=x.itemsize)
        if gw is not None:
            sums = _bias_sums(gb, at)
            multiply(weight_kernel, how, at.groups, (gy, x), gw, (at,), beside=sums)
        elif gb is not None:
            # as many threads as beside a weight gradient, for the same bits
            add_up_pixels(gy, gb, at, how.threads)

    return Rung(forward, data_gradient, parameter_gradients)


IMPLEMENTATIONS = {
    name: implementation(rung)
    for name, rung in {
        "naive": Rung(_naive_forward, _naive_data_gradient, apart(_naive_weight_gradient)),
        "tiled": Rung(_tiled_forward, _tiled_data_gradient, apart(_tiled_weight_gradient)),
        "im2col": Rung(_im2col_forward, _im2col_data_gradient, apart(_im2col_weight_gradient)),
        "implicit_gemm": _implicit("conv2d_implicit_gemm.cu", "implicit_gemm"),
        "tf32x3": _implicit("conv2d_tensor_core.cu", "tf32x3"),
    }.items()
}
IMPLEMENTATIONS["tf32"] = implementation(_implicit("conv2d_tensor_core.cu", "tf32"), **TF32)
