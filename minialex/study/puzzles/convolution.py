"""Puzzles about convolution."""

from __future__ import annotations

from typing import Any

from minialex.ops.conv2d import plain
from minialex.ops.conv2d.shape import ConvShape
from minialex.study.puzzles.puzzle import BACKWARD, Puzzle
from minialex.study.puzzles.python_puzzles import (
    Backward,
    Forward,
    Functions,
    OpPuzzle,
    gradient_of,
)


def _patch_gradient(f: Functions) -> tuple[Forward, Backward]:
    def gradient(gy: Any, x: Any, w: Any, **params: Any) -> Any:
        s = ConvShape.of(x, w, **params)
        rows, filters = gy.reshape(s.N, s.groups, s.OG, s.P), w.reshape(s.groups, s.OG, s.K)
        return plain.col2im(f.patch_gradient(rows, filters), s)

    return gradient_of("conv2d", 0, gradient)


def _col2im(f: Functions) -> tuple[Forward, Backward]:
    def gradient(gy: Any, x: Any, w: Any, *, stride: Any, padding: Any, **more: Any) -> Any:
        s = ConvShape.of(x, w, stride=stride, padding=padding, **more)
        rows, filters = gy.reshape(s.N, s.groups, s.OG, s.P), w.reshape(s.groups, s.OG, s.K)
        patches = (filters.swapaxes(1, 2) @ rows).reshape(s.N, s.C, s.KH, s.KW, s.OH, s.OW)
        return f.col2im(patches, x.shape, stride, padding, more["dilation"])

    return gradient_of("conv2d", 0, gradient)


def _im2col(f: Functions) -> tuple[Forward, Backward]:
    def patches(x: Any, s: ConvShape) -> Any:
        steps = (s.sh, s.sw), (s.ph, s.pw), (s.dh, s.dw)
        found = f.im2col(x, (s.KH, s.KW), (s.OH, s.OW), *steps)
        return found.reshape(s.N, s.groups, s.K, s.P)

    def forward(x: Any, w: Any, b: Any = None, **params: Any) -> tuple[Any, tuple[Any, Any]]:
        s = ConvShape.of(x, w, **params)
        y = (w.reshape(s.groups, s.OG, s.K) @ patches(x, s)).reshape(s.N, s.O, s.OH, s.OW)
        return (y if b is None else y + b[:, None, None]), (x, w)

    return forward, plain.backward


PUZZLES: list[Puzzle] = [
    OpPuzzle(
        name="conv2d-bias",
        title="The gradient of a convolution's bias",
        kind=BACKWARD,
        topic="convolution",
        op="conv2d",
        implement=lambda f: gradient_of("conv2d", 2, lambda gy, x, w, **_: f.bias_gradient(gy)),
        functions=("bias_gradient",),
        task="""
        y[n, o, i, j] = b[o] + the rest, in every image n and at every place (i, j). Given gy, of
        the shape (N, O, OH, OW), return the gradient of b, of the shape (O,).
        """,
        hint="How often was b[o] used?",
        why="b[o] was added at every place of every image: its gradient is the sum over all of "
        "them. Where a mean is meant, 1/N is in gy already.",
        template="""
        import numpy as np


        def bias_gradient(gy):
            @@
        """,
        begun="return gy.mean(axis=(0, 2, 3))",
        solved="return gy.sum(axis=(0, 2, 3))",
    ),
    OpPuzzle(
        name="conv2d-weights",
        title="The gradient of a convolution's filters",
        kind=BACKWARD,
        topic="convolution",
        op="conv2d",
        implement=lambda f: gradient_of("conv2d", 1, f.weight_gradient),
        functions=("weight_gradient",),
        task="""
        y[n, o, i, j] = sum over c, k, l of w[o, c, k, l] x[n, c, i sh - ph + k dh, j sw - pw + l
        dw], x being 0 outside the image. With groups, filter o sees the channels of its own group
        alone: w is (O, C / groups, KH, KW). Write the gradient of w for one tap (k, l), given
        padded, which is x with its padding around it, and a slice of filters and of channels for
        each group.
        """,
        hint="Over which indices of the formula is the sum, seen from w[o, c, k, l]? Which "
        "elements of padded meet the tap (k, l), for all i and j?",
        why="w[o, c, k, l] is multiplied by padded[n, c, i sh + k dh, j sw + l dw] for all n, i, "
        "j; its gradient adds up these, each times gy[n, o, i, j].",
        template="""
        import numpy as np


        def weight_gradient(gy, x, w, *, stride, padding, dilation, groups):
            (O, CG, KH, KW), (OH, OW) = w.shape, gy.shape[2:]
            (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
            padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
            gw = np.zeros_like(w)
            for g in range(groups):
                filters = slice(g * (O // groups), (g + 1) * (O // groups))
                channels = slice(g * CG, (g + 1) * CG)
                for k in range(KH):
                    for l in range(KW):
                        @@
                        gw[filters, :, k, l] = np.einsum("noij,ncij->oc", gy[:, filters], seen)
            return gw
        """,
        begun="seen = padded[:, channels, k : k + OH, l : l + OW]",
        solved="""
        rows = slice(k * dh, k * dh + (OH - 1) * sh + 1, sh)
        columns = slice(l * dw, l * dw + (OW - 1) * sw + 1, sw)
        seen = padded[:, channels, rows, columns]
        """,
    ),
    OpPuzzle(
        name="conv2d-patches",
        title="Which way round do the filters go?",
        kind=BACKWARD,
        topic="convolution",
        op="conv2d",
        implement=_patch_gradient,
        functions=("patch_gradient",),
        task="""
        For each image and group, y = w patches: w is a matrix (OG, K), patches (K, P), y (OG, P),
        where a column of patches holds what a window sees. Given gy (N, groups, OG, P) and w
        (groups, OG, K), return the gradient of patches (N, groups, K, P).
        """,
        hint="The gradient of b in a b is a^T gy. Which axes of w are those of the matrix?",
        why="patches[k, p] meets w[o, k] for every filter o, so its gradient is the sum over o of "
        "w[o, k] gy[o, p]: w transposed within each group. Nothing is flipped here: where "
        "each patch is added to its pixels, the flip comes by itself.",
        template="""
        import numpy as np


        def patch_gradient(gy, w):
            @@
        """,
        begun="return np.einsum('ngop,gok->ngkp', gy, w[:, :, ::-1])",
        solved="return w.swapaxes(1, 2) @ gy",
    ),
    OpPuzzle(
        name="col2im",
        title="im2col's backward, at any stride",
        kind=BACKWARD,
        topic="convolution",
        op="conv2d",
        implement=_col2im,
        functions=("col2im",),
        task="""
        im2col copies x[n, c, i sh - ph + k dh, j sw - pw + l dw] to patches[n, c, k, l, i, j], 0
        where that is outside the image. Given the gradient of patches, return that of x, of the
        given shape (N, C, H, W).
        """,
        hint="With a stride smaller than the window, several patches hold the same pixel.",
        why="A pixel's gradient is the sum of what all patches that hold it have for it, hence "
        "+=; what fell on the padding belongs to no pixel.",
        template="""
        import numpy as np


        def col2im(patches, shape, stride, padding, dilation):
            (N, C, H, W), (KH, KW, OH, OW) = shape, patches.shape[2:]
            (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
            padded = np.zeros((N, C, H + 2 * ph, W + 2 * pw), patches.dtype)
            for k in range(KH):
                for l in range(KW):
                    rows = slice(k * dh, k * dh + (OH - 1) * sh + 1, sh)
                    columns = slice(l * dw, l * dw + (OW - 1) * sw + 1, sw)
                    @@
            return padded[:, :, ph : ph + H, pw : pw + W]
        """,
        begun="padded[:, :, rows, columns] = patches[:, :, k, l]",
        solved="padded[:, :, rows, columns] += patches[:, :, k, l]",
    ),
    OpPuzzle(
        name="im2col",
        title="im2col, with stride, padding and dilation",
        kind=BACKWARD,
        topic="convolution",
        op="conv2d",
        implement=_im2col,
        functions=("im2col",),
        task="""
        Write im2col: patches[n, c, k, l, i, j] = x[n, c, i sh - ph + k dh, j sw - pw + l dw], 0
        where that is outside the image. size is (OH, OW): so many windows there are, even where
        rows and columns are left over behind the last one.
        """,
        hint="For one tap (k, l), all windows together see a strided slice of the padded image.",
        why="Tap (k, l) of window (i, j) stands at (k dh + i sh, l dw + j sw) of the padded "
        "image: the stride is the slice's step, the dilation moves where it begins.",
        template="""
        import numpy as np


        def im2col(x, kernel, size, stride, padding, dilation):
            (N, C, H, W), (KH, KW), (OH, OW) = x.shape, kernel, size
            (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
            padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
            patches = np.zeros((N, C, KH, KW, OH, OW), x.dtype)
            for k in range(KH):
                for l in range(KW):
                    @@
            return patches
        """,
        begun="patches[:, :, k, l] = padded[:, :, k : k + OH, l : l + OW]",
        solved="""
        rows = slice(k * dh, k * dh + (OH - 1) * sh + 1, sh)
        columns = slice(l * dw, l * dw + (OW - 1) * sw + 1, sw)
        patches[:, :, k, l] = padded[:, :, rows, columns]
        """,
    ),
]
