"""Deferred gradients: gradients that are computed when they are used.

The gradient of a linear layer's weights is the product of two matrices, gw = gy^T x, which for a
small batch are far smaller than it: in alexnet's first fully connected layer, at a batch of 32,
gy (32, 4096) and x (32, 9216) take 1.7 MB, gw (4096, 9216) takes 151 MB. An optimizer that computes
some rows of gw, updates these rows of the weights, and goes on to the next, needs no memory for it.

    makes it    the backward of an op: asked with `may_defer`, it returns a `DeferredGradient` in
                place of an array (``ops/linear`` does, on a CPU)
    holds it    the leaf, as ``Tensor.deferred_grad``, until its `grad` is read: that
                computes it, into the optimizer's memory, where any other gradient would be
    takes it    an optimizer's update that says so (``optim/blocked.py``), some rows at a time;
                for another update, `Optimizer.step` reads `grad`

Only the first gradient of a leaf that an optimizer holds may be deferred: there it is certain to be
used once. A second one is added to the first, which is computed for that.

Why it is worth a mechanism: a training step of alexnet takes 787 MiB in place of 1,001 at a batch
of 1, 962 in place of 1,164 at 32, and 1,129 in place of 1,328 at 128 (measured); it is 0 to 7 %
slower. A kernel that fuses the product with the update, and processes that exchange the factors in
place of the product, would take the same object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array


@dataclass(frozen=True, eq=False)
class DeferredGradient:
    """A gradient that is computed when it is used, as a whole or some rows at a time.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    compute_rows : ``compute_rows(rows, out)``
        Writes some rows, a slice of the first axis, to an array of their shape.
    row_block : int
        Rows are computed with the same bits as in the whole where the slice begins at a multiple
        of so many, and ends at one or at the last row; elsewhere they may differ by rounding.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    compute_rows: Callable[[slice, Array], None]
    row_block: int = 1

    def compute(self, out: Array) -> None:
        """Write the whole gradient to `out`."""
        self.compute_rows(slice(self.shape[0]), out)
