"""The terms of a convolution: one for each tap of the filter, padding among them.

Along one axis output i reads input ``i s - p + k d`` at tap k. So input h is read at tap k by
output ``(h + p - k d) / s``, where that is a whole number: that gx has the filter flipped is
these two minus signs, and its holes at stride 2 are the divisions that leave a rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from minialex.terms.formula import Arrays, Cell, Formula, Index, indices, term

Pair = tuple[int, int]


def _x(a: Arrays, n: int, c: int, h: int, w: int) -> tuple[Cell, str]:
    """Return an element of the image; 0 beyond its border, which is said."""
    H, W = a.shape("x")[2:]
    if 0 <= h < H and 0 <= w < W:
        return a.cell("x", n, c, h, w), ""
    return Cell("x", (n, c, h, w), 0.0, is_outside=True), "padding"


def _y(
    a: Arrays, index: Index, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Formula:
    n, o, i, j = index
    O, C, KH, KW = a.shape("w")
    first = o // (O // groups) * C
    terms = [term(a.cell("b", o), note="bias")] if "b" in a else []
    for c, k, l in indices(range(C), range(KH), range(KW)):
        h = i * stride[0] - padding[0] + k * dilation[0]
        w = j * stride[1] - padding[1] + l * dilation[1]
        x, note = _x(a, n, first + c, h, w)
        terms.append(term(a.cell("w", o, c, k, l), x, note=note))
    text = "b[o] + sum over c, k, l of w[o, c, k, l] x[n, c, i s - p + k d, j s - p + l d]"
    return Formula("y", text, tuple(terms))


def reading(
    at: int, outputs: int, taps: int, stride: int, padding: int, dilation: int
) -> Iterator[tuple[int, int]]:
    """Yield the outputs that read an input along an axis, each with the tap at which it does."""
    for k in range(taps):
        i, rest = divmod(at + padding - k * dilation, stride)
        if rest == 0 and 0 <= i < outputs:
            yield i, k


def _gx(
    a: Arrays, index: Index, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Formula:
    n, channel, h, w = index
    (O, C, KH, KW), (OH, OW) = a.shape("w"), a.shape("gy")[2:]
    group, c = divmod(channel, C)
    along_h = list(reading(h, OH, KH, stride[0], padding[0], dilation[0]))
    along_w = list(reading(w, OW, KW, stride[1], padding[1], dilation[1]))
    terms = [
        term(a.cell("gy", n, o, i, j), a.cell("w", o, c, k, l))
        for o in range(group * (O // groups), (group + 1) * (O // groups))
        for i, k in along_h
        for j, l in along_w
    ]
    text = (
        "sum over o, k, l of gy[n, o, (h + p - k d) / s, (w + p - l d) / s] w[o, c, k, l], where "
        "those are whole; the later the row of gy the earlier the tap, which flips the filter"
    )
    return Formula("gx", text, tuple(terms))


def _gw(
    a: Arrays, index: Index, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Formula:
    o, c, k, l = index
    O, C = a.shape("w")[:2]
    channel = o // (O // groups) * C + c
    N, _, OH, OW = a.shape("gy")
    terms = []
    for n, i, j in indices(range(N), range(OH), range(OW)):
        h = i * stride[0] - padding[0] + k * dilation[0]
        w = j * stride[1] - padding[1] + l * dilation[1]
        x, note = _x(a, n, channel, h, w)
        terms.append(term(a.cell("gy", n, o, i, j), x, note=note))
    text = "sum over n, i, j of gy[n, o, i, j] x[n, c, i s - p + k d, j s - p + l d]"
    return Formula("gw", text, tuple(terms))


def _gb(
    a: Arrays, index: Index, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Formula:
    N, _, OH, OW = a.shape("gy")
    over = indices(range(N), range(OH), range(OW))
    terms = tuple(term(a.cell("gy", n, *index, i, j)) for n, i, j in over)
    return Formula("gb", "sum over n, i, j of gy[n, o, i, j], not their mean", terms)


CONV2D = {"y": _y, "gx": _gx, "gw": _gw, "gb": _gb}
