"""The sizes of one convolution, under the names that formulas, engines and kernels share."""

from __future__ import annotations

from typing import NamedTuple

from minialex.arrays import Array
from minialex.ops._windows import Pair, output_length, strided_slice


class ConvShape(NamedTuple):
    """The sizes of a convolution of x (N, C, H, W) with w (O, C / groups, KH, KW).

    y is (N, O, OH, OW); (sh, sw) is the stride, (ph, pw) the padding and (dh, dw) the dilation,
    along the height and the width. Kernels take it as a struct of the same fields.

    Of x (8, 96, 27, 27) and w (256, 48, 5, 5) in 2 groups, at stride 1 and padding 2, each group
    has CG = 48 channels and OG = 128 filters of K = 48 x 5 x 5 weights, at P = 27 x 27 positions.
    """

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
        cls, x: Array, w: Array, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> ConvShape:
        """Return that of the convolution of `x` with `w`."""
        (N, C, H, W), (O, _, KH, KW) = x.shape, w.shape
        OH, OW = map(output_length, (H, W), (KH, KW), stride, padding, dilation)
        return cls(N, C, H, W, O, KH, KW, OH, OW, *stride, *padding, *dilation, groups)

    @property
    def P(self) -> int:
        """The output positions of an image."""
        return self.OH * self.OW

    @property
    def CG(self) -> int:
        """The input channels per group."""
        return self.C // self.groups

    @property
    def OG(self) -> int:
        """The filters, or output channels, per group."""
        return self.O // self.groups

    @property
    def K(self) -> int:
        """The weights of a filter, and elements of a patch: terms of the sum for one output."""
        return self.CG * self.KH * self.KW

    def rows(self, kh: int) -> slice:
        """Return the rows of padded images that row `kh` of the window meets."""
        return strided_slice(kh * self.dh, self.OH, self.sh)

    def columns(self, kw: int) -> slice:
        """Return the columns of padded images that column `kw` of the window meets."""
        return strided_slice(kw * self.dw, self.OW, self.sw)
