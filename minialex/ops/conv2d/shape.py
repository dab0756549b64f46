"""The sizes of one convolution, under the names that formulas, engines and kernels share."""

from __future__ import annotations

from dataclasses import dataclass

from minialex.arrays import Array
from minialex.ops._windows import Pair, output_length, strided_slice


@dataclass(frozen=True)
class ConvShape:
    """The sizes of a convolution of x (N, C, H, W) with w (O, C / G, KH, KW) in G groups.

    (sh, sw) is the stride, (ph, pw) the padding and (dh, dw) the dilation, along the height and
    the width.

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
    sh: int
    sw: int
    ph: int
    pw: int
    dh: int
    dw: int
    G: int

    @classmethod
    def of(
        cls, x: Array, w: Array, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> ConvShape:
        """Return that of the convolution of `x` with `w`."""
        (N, C, H, W), (O, _, KH, KW) = x.shape, w.shape
        return cls(N, C, H, W, O, KH, KW, *stride, *padding, *dilation, groups)

    @property
    def OH(self) -> int:
        """The height of the output."""
        return output_length(self.H, self.KH, self.sh, self.ph, self.dh)

    @property
    def OW(self) -> int:
        """The width of the output."""
        return output_length(self.W, self.KW, self.sw, self.pw, self.dw)

    @property
    def P(self) -> int:
        """The output positions of an image."""
        return self.OH * self.OW

    @property
    def CG(self) -> int:
        """The input channels per group."""
        return self.C // self.G

    @property
    def OG(self) -> int:
        """The filters, or output channels, per group."""
        return self.O // self.G

    @property
    def K(self) -> int:
        """The weights of a filter, and numbers of a patch: terms of the sum for one output."""
        return self.CG * self.KH * self.KW

    def rows(self, kh: int) -> slice:
        """Return the rows of padded images that row `kh` of the window meets."""
        return strided_slice(kh * self.dh, self.OH, self.sh)

    def columns(self, kw: int) -> slice:
        """Return the columns of padded images that column `kw` of the window meets."""
        return strided_slice(kw * self.dw, self.OW, self.sw)
