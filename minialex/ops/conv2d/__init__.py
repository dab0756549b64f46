"""Two-dimensional convolution (Krizhevsky, Sutskever and Hinton 2012, section 3.5; with groups).

With x zero outside its borders, (sh, sw) the stride, (ph, pw) the padding, (dh, dw) the dilation
and g the group that output channel o belongs to:

    y[n, o, i, j] = b[o] + sum over c, kh, kw of
                    w[o, c, kh, kw] x[n, g C/G + c, i sh - ph + kh dh, j sw - pw + kw dw]

    gx: each gy[n, o, i, j] w[o, c, kh, kw] is added to the element of x that met w[o, c, kh, kw]
    gw[o, c, kh, kw] = sum over n, i, j of gy[n, o, i, j] x[that same element]
    gb[o]            = sum over n, i, j of gy[n, o, i, j]

saved = (x, w).

    plain       plain.py      the formula as products of whole matrices, on NumPy or CuPy
    blocked     blocked.py    the same for a CPU: blocks of images that stay in cache, on all cores
    winograd    winograd.py   with a third of the multiplications, where that is possible
    auto        here          winograd where it pays, else blocked
    naive, tiled, im2col, implicit_gemm, tf32x3, tf32      cuda.py: kernels
    multistage_tf32x3, multistage_tf32, bf16               multistage.py: kernels
    cudnn       cudnn.py

Numbers that are not finite come out where these formulas have them, in all implementations but
"winograd" and those with tf32x3 in their names: see there. Only what weights that are not finite
make of the elements where they meet padding, or no output at all, is not promised: some
implementations multiply them by zeros there, which gives NaN, and some leave that out.
"""

from __future__ import annotations

from math import prod
from typing import Any

from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._arguments import (
    ITEM_BYTES,
    check_float,
    check_images,
    conv_padding,
    output_size,
    pair,
    whole_number,
)
from minialex.ops._windows import Pair, output_length
from minialex.ops.conv2d import blocked, plain, winograd
from minialex.ops.conv2d.cuda import IMPLEMENTATIONS as KERNELS
from minialex.ops.conv2d.cudnn import IMPLEMENTATION as CUDNN
from minialex.ops.conv2d.multistage import IMPLEMENTATIONS as MULTISTAGE
from minialex.ops.conv2d.shape import ConvShape
from minialex.ops.shape import concatenate

PLAIN = Implementation(plain.forward, plain.backward)
BLOCKED = Implementation(blocked.forward, blocked.backward)
WINOGRAD = Implementation(winograd.forward, winograd.backward)


def cpu_rung(x: Array, w: Array, **params: Any) -> Implementation:
    """Return what a CPU computes the convolution of `x` with `w` by."""
    # For 13 x 13 outputs of a 3 x 3 filter Winograd multiplies 441 times instead of 1521.
    # That takes a quarter off AlexNet's training step, for ten times the rounding error: 3e-6 in
    # float32. Where channels or images are few, transforms cost more than that saves.
    if winograd.saves_a_third(ConvShape.of(x, w, **params)):
        return WINOGRAD
    return BLOCKED


def forward_auto(
    x: Array, w: Array, b: Array | None = None, **params: Any
) -> tuple[Array, tuple[Any, ...]]:
    """Return the convolution."""
    return cpu_rung(x, w, **params).forward(x, w, b, **params)


def backward_auto(
    gy: Array,
    saved: tuple[Array, Array],
    *,
    needs: tuple[bool, ...] = (True, True, True),
    out: Gradients = (None, None, None),
    **params: Any,
) -> Gradients:
    """Return the gradients of `x`, `w` and `b`."""
    return cpu_rung(*saved, **params).backward(gy, saved, needs=needs, out=out, **params)


def cost(shapes: Shapes, *, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Cost:
    """Return two operations per weight and output position, one per bias and output."""
    x, w, b = (*shapes, None)[:3]
    assert x is not None
    assert w is not None
    O = w[0]
    OH, OW = (
        output_length(*sizes) for sizes in zip(x[2:], w[2:], stride, padding, dilation, strict=True)
    )
    size = x[0] * O * OH * OW
    flops = 2 * size * prod(w[1:]) + (size if b else 0)
    return Cost(flops, ITEM_BYTES * (prod(x) + prod(w) + (O if b else 0) + size))


OP = Op(
    "conv2d",
    {
        "plain": PLAIN,
        "blocked": BLOCKED,
        "winograd": WINOGRAD,
        "auto": Implementation(forward_auto, backward_auto),
        **KERNELS,
        **MULTISTAGE,
        "cudnn": CUDNN,
    },
    cost,
    kernel="implicit_gemm",
    tensor_cores={"fp32": "tf32x3", "tf32": "tf32", "bf16": "bf16"},
    takes_weights=True,
    # AlexNet's five layers, forward and backward at batch 32, two cores: plain 1.5 s, blocked
    # 0.8 s, auto 0.5 s
    cpu="auto",
)


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Return the two-dimensional convolution of `x` with `w`, plus `b`.

    As everywhere in this field it is the cross-correlation: the window is not flipped.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32, float64 or bfloat16
    w : Tensor (O, C / groups, KH, KW), of the type of `x`; float32 beside bfloat16
    b : Tensor (O,), of the type of `w`, optional
    stride : int or (int, int)
        How far the window moves from one output to the next, in pixels: 1 or more.
    padding : int or (int, int), "same" or "valid"
        How many zeros surround each image at top and bottom, and left and right: 0 or more. "valid"
        is none; "same" is as many as give outputs of the size of `x`, for a stride of 1. Where that
        is an odd number, there is one more at the bottom and the right, and `x` is copied for it.
    dilation : int or (int, int)
        How far apart, in pixels, the elements of the window are: 1 or more.
    groups : int
        Into how many groups channels are divided: outputs of a group see its inputs only.

    Returns
    -------
    Tensor (N, O, OH, OW)
        ``OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1``, and so OW.

    Raises
    ------
    ValueError
        If the shapes do not go together, the window does not fit into the image, or a parameter
        is out of its range.
    TypeError
        If a parameter is not a whole number or two, an input is not of a floating-point type, or
        the types differ.
    """
    x, w = as_tensor(x), as_tensor(w)
    b = None if b is None else as_tensor(b)
    check_images("conv2d", x)
    check_float("conv2d", w=w, b=b)
    stride = pair("conv2d", "stride", stride, 1)
    padding = conv_padding("conv2d", padding, stride)
    dilation = pair("conv2d", "dilation", dilation, 1)
    groups = whole_number("conv2d", "groups", groups)
    _check_filters(x, w, b, groups)
    if isinstance(padding, str):
        x, padding = _pad_same(x, w, dilation) if padding == "same" else (x, (0, 0))
    output_size("conv2d", x, w.shape[2:], stride, padding, dilation)
    return OP(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _pad_same(x: Tensor, w: Tensor, dilation: Pair) -> tuple[Tensor, Pair]:
    """Return `x`, with a row and a column of zeros behind it where needed, and its padding.

    Windows of 3 see a pixel more on each side, windows of 4 one before and two behind.
    """
    zeros_h, zeros_w = (d * (k - 1) for d, k in zip(dilation, w.shape[2:], strict=True))
    for dim, zeros in ((2, zeros_h), (3, zeros_w)):
        if zeros % 2:
            shape = [1 if d == dim else n for d, n in enumerate(x.shape)]
            x = concatenate([x, Tensor(array_module(x.data).zeros(shape, x.dtype))], dim)
    return x, (zeros_h // 2, zeros_w // 2)


def _check_filters(x: Tensor, w: Tensor, b: Tensor | None, groups: int) -> None:
    if w.ndim != 4 or 0 in w.shape:
        raise ValueError(f"conv2d: w must have the shape (O, C / groups, KH, KW), not {w.shape}")
    O, C = w.shape[:2]
    if groups < 1 or x.shape[1] % groups or O % groups:
        raise ValueError(
            f"conv2d: groups is {groups!r}; it must divide the {x.shape[1]} channels of x and the "
            f"{O} filters of w"
        )
    if x.shape[1] != C * groups:
        raise ValueError(
            f"conv2d: x of shape {x.shape} has {x.shape[1]} channels, but w of shape {w.shape} "
            f"with groups={groups} takes {C * groups}"
        )
    if b is not None and b.shape != (O,):
        raise ValueError(
            f"conv2d: b must have the shape ({O},), one element per filter, not {b.shape}"
        )
