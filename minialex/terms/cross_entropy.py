"""The terms of the cross-entropy: of each row and class, and in the gradient p - q."""

from __future__ import annotations

from typing import Any

from minialex.terms.formula import Arrays, Formula, Index, Known, Term, term
from minialex.terms.softmax import log_probability, probability, total_along


def _is_ignored(a: Arrays, n: int, ignore_index: int) -> bool:
    return a["targets"].ndim == 1 and int(a["targets"][n]) == ignore_index


def _target(a: Arrays, n: int, c: int, smoothing: float) -> tuple[Known, str]:
    """Return how much class c of row n counts, and why."""
    targets, C = a["targets"], a.shape("x")[1]
    q = float(targets[n, c]) if targets.ndim == 2 else float(c == int(targets[n]))
    weight = float(a["w"][c]) if "w" in a else 1.0
    share = ((1 - smoothing) * q + smoothing / C) * weight
    reason = "the target's probability" if targets.ndim == 2 else "the target" if q else ""
    return Known(f"{share:.6g}", share), reason


def _divisor(a: Arrays, ignore_index: int, reduction: str) -> Known:
    """Return what the sum over rows is multiplied by."""
    if reduction != "mean":
        return Known("1", 1.0)
    targets, total = a["targets"], 0.0
    for n in range(a.shape("x")[0]):
        if targets.ndim == 2:
            total += 1.0
        elif not _is_ignored(a, n, ignore_index):
            total += float(a["w"][int(targets[n])]) if "w" in a else 1.0
    return Known(f"1/{total:g}", 1 / total) if total else Known("0", 0.0)


def _y(
    a: Arrays, index: Index, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Formula:
    share, terms = _divisor(a, ignore_index, reduction), []
    for n in index or range(a.shape("x")[0]):
        if _is_ignored(a, n, ignore_index):
            continue
        along = total_along(a, (n, 0), 1)
        for c in range(a.shape("x")[1]):
            s, note = _target(a, n, c, label_smoothing)
            if s.value:
                terms.append(term(-1.0, share, s, log_probability(a, (n, c), along), note=note))
    return Formula("y", "-sum over n, c of s[n, c] log p[n, c] / N", tuple(terms))


def _gx(
    a: Arrays, index: Index, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Formula:
    n, c = index
    text = "gy (p[c] sum over j of s[j] - s[c]) / N; p - 1 for the target, p for the others"
    if _is_ignored(a, n, ignore_index):
        return Formula("gx", text, (term(0.0, note="the row is ignored"),))
    share = _divisor(a, ignore_index, reduction)
    gy = a.cell("gy", n) if a.shape("gy") else a.cell("gy")
    p = probability(a, index, 1)

    def through(j: int) -> Term | None:
        s, note = _target(a, n, j, label_smoothing)
        return term(gy, share, s, p, note=note) if s.value else None

    found: list[Any] = [through(j) for j in range(a.shape("x")[1])]
    own, note = _target(a, n, c, label_smoothing)
    terms = [one for one in found if one is not None]
    return Formula("gx", text, (*terms, term(-1.0, gy, share, own, note=note)))


CROSS_ENTROPY = {"y": _y, "gx": _gx}
