"""A fully connected layer by its definition: y[..., o] = b[o] + sum over i of x[..., i] w[o, i]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def linear(
    x: npt.NDArray[Any], w: npt.NDArray[Any], b: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """Return `x` (..., I) times the transpose of `w` (O, I), plus `b` (O)."""
    O = len(w)
    y = np.zeros((*x.shape[:-1], O))
    for o in range(O):
        y[..., o] = (x.astype(np.float64) * w[o]).sum(axis=-1)
        if b is not None:
            y[..., o] += b[o]
    return y
