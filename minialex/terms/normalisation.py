"""The terms of local response normalisation: each channel, divided by what is near it."""

from __future__ import annotations

from minialex.terms.formula import Arrays, Formula, Index, Known, Term, inverse, term


def _near(c: int, channels: int, size: int) -> range:
    return range(max(0, c - size // 2), min(channels, c + size // 2 + 1))


def _scale(a: Arrays, index: Index, size: int, alpha: float, k: float) -> Formula:
    """Return s, what a channel is divided by a power of."""
    n, c, h, w = index
    squares = [
        term(Known("alpha", alpha), x, x)
        for x in (a.cell("x", n, j, h, w) for j in _near(c, a.shape("x")[1], size))
    ]
    name = f"s[{n}, {c}, {h}, {w}]"
    return Formula(name, "k + alpha sum of x[j]^2 nearby", (term(Known("k", k)), *squares))


def _y(a: Arrays, index: Index, *, size: int, alpha: float, beta: float, k: float) -> Formula:
    s = _scale(a, index, size, alpha, k)
    return Formula("y", "x[c] s[c]^-beta", (term(a.cell("x", *index), inverse(s, beta)),))


def _gx(a: Arrays, index: Index, *, size: int, alpha: float, beta: float, k: float) -> Formula:
    n, c, h, w = index

    def through(j: int) -> Term:
        """Return what comes back through the channel j, which was divided by this one too."""
        place = n, j, h, w
        s = inverse(_scale(a, place, size, alpha, k), beta + 1)
        factor = Known("-2 alpha beta", -2 * alpha * beta)
        return term(factor, a.cell("x", *index), a.cell("gy", *place), a.cell("x", *place), s)

    own = term(a.cell("gy", *index), inverse(_scale(a, index, size, alpha, k), beta))
    near = map(through, _near(c, a.shape("x")[1], size))
    text = "gy[c] s[c]^-beta - 2 alpha beta x[c] sum of gy[j] x[j] s[j]^(-beta - 1) nearby"
    return Formula("gx", text, (own, *near))


LOCAL_RESPONSE_NORM = {"y": _y, "gx": _gx}
