"""The terms of dropout: each element is kept and made larger, or dropped."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.reference.dropout import WORD, random_word
from minialex.terms.formula import Arrays, Formula, Index, Known, Terms, term


def _of(name: str, array: str, text: str) -> Terms:
    def terms(a: Arrays, index: Index, *, p: float, seed: int, offset: Any) -> Formula:
        shape = a.shape(array)
        number = int(np.ravel_multi_index(index, shape)) if shape else 0
        kept = p < 1 and random_word(number, seed, int(offset)) >= round(p * WORD)
        share = [Known(f"1 / (1 - {p:g})", 1 / (1 - p))] if kept else []
        note = "kept" if kept else "dropped"
        return Formula(name, text, (term(*share, a.cell(array, *index), note=note, shut=not kept),))

    return terms


DROPOUT = {
    "y": _of("y", "x", "x / (1 - p) where it is kept, else 0"),
    "gx": _of("gx", "gy", "gy / (1 - p) where x was kept, else 0"),
}
