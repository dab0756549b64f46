"""The terms of the cross-entropy: of each row and class, and in the gradient p - q."""

from __future__ import annotations

from collections.abc import Sequence

from minialex.terms.formula import Arrays, Cell, Factor, Formula, Index, Known, inverse, term
from minialex.terms.softmax import log_probability, probability, total_along


def _is_ignored(a: Arrays, n: int, ignore_index: int) -> bool:
    return a["targets"].ndim == 1 and int(a["targets"][n]) == ignore_index


def _gates(a: Arrays, rows: Sequence[int]) -> tuple[Cell, ...]:
    """Return the targets that choose a class each, and so which terms count."""
    return tuple(a.cell("targets", n) for n in rows) if a["targets"].ndim == 1 else ()


def _share(a: Arrays, n: int, c: int, smoothing: float) -> tuple[Formula, str]:
    """Return how much class c of row n counts, and why."""
    targets, C = a["targets"], a.shape("x")[1]
    weight = [a.cell("w", c)] if "w" in a else []
    terms, note = [], ""
    if targets.ndim == 2:
        terms = [term(*_unless_one(1 - smoothing), a.cell("targets", n, c), *weight)]
        note = "the target's probability"
    elif c == int(targets[n]):
        terms, note = [term(1 - smoothing, *weight)], "the target"
    if smoothing:
        terms.append(term(Known(f"{smoothing:g}/{C}", smoothing / C), *weight))
    return Formula(f"s[{n}, {c}]", "how much class c counts", tuple(terms)), note


def _unless_one(value: float) -> list[float]:
    return [] if value == 1 else [value]


def _factor_of(s: Formula) -> list[Formula]:
    """Return s as a factor, where it is not 1 beforehand."""
    is_one = not any(s.cells()) and s.value == 1
    return [] if is_one else [s]


def _divisor(a: Arrays, ignore_index: int, reduction: str) -> list[Factor]:
    """Return what the sum over rows is divided by: the rows that count, or their weights."""
    if reduction != "mean":
        return []
    rows = [n for n in range(a.shape("x")[0]) if not _is_ignored(a, n, ignore_index)]
    if "w" not in a or a["targets"].ndim == 2:
        return [term(Known(f"1/{len(rows)}", 1 / len(rows) if rows else 0.0)).factors[0]]
    terms = tuple(term(a.cell("w", int(a["targets"][n]))) for n in rows)
    total = Formula("N", "sum over n of w[target[n]]", terms)
    return [inverse(total)] if total.value else [term(0.0).factors[0]]


def _y(
    a: Arrays, index: Index, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Formula:
    rows = index or tuple(range(a.shape("x")[0]))
    divisor, terms = _divisor(a, ignore_index, reduction), []
    for n in rows:
        if _is_ignored(a, n, ignore_index):
            continue
        along = total_along(a, (n, 0), 1)
        for c in range(a.shape("x")[1]):
            s, note = _share(a, n, c, label_smoothing)
            if s.terms:
                logarithm = log_probability(a, (n, c), along)
                terms.append(
                    term(-1.0, *divisor, *_factor_of(s), logarithm, note=note, shut=not s.value)
                )
    text = "-sum over n, c of s[n, c] log p[n, c] / N"
    return Formula("y", text, tuple(terms), gates=_gates(a, range(a.shape("x")[0])))


def _gx(
    a: Arrays, index: Index, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Formula:
    n, c = index
    text = "gy (p[c] sum over j of s[j] - s[c]) / N; p - 1 for the target, p for the others"
    gates = _gates(a, range(a.shape("x")[0]))
    if _is_ignored(a, n, ignore_index):
        return Formula("gx", text, (term(0.0, note="the row is ignored"),), gates=gates)
    divisor = _divisor(a, ignore_index, reduction)
    gy = a.cell("gy", n) if a.shape("gy") else a.cell("gy")
    p, terms = probability(a, index, 1), []
    for j in range(a.shape("x")[1]):
        s, _ = _share(a, n, j, label_smoothing)
        if s.terms:
            terms.append(term(gy, *divisor, *_factor_of(s), p))
    own, note = _share(a, n, c, label_smoothing)
    if own.terms:
        terms.append(term(-1.0, gy, *divisor, *_factor_of(own), note=note))
    return Formula("gx", text, tuple(terms), gates=gates)


CROSS_ENTROPY = {"y": _y, "gx": _gx}
