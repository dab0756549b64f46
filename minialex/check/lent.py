"""Tensors that are given other arrays for a while, whatever holds them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from minialex.arrays import Array
from minialex.autograd import Tensor


@contextlib.contextmanager
def lent(tensors: Sequence[Tensor], data: Sequence[Array]) -> Iterator[None]:
    """Make leaves of `tensors`, with other arrays and no gradients, and put all back afterwards."""
    kept = [[getattr(t, slot) for slot in _LENT] for t in tensors]
    try:
        for t, other in zip(tensors, data, strict=True):
            _fill(t, [other, None, None, None, None])
        yield
    finally:
        for t, own in zip(tensors, kept, strict=True):
            _fill(t, own)


_LENT = "data", "node", "grad_buffer", "deferred_grad", "_grad"
"""What makes a Tensor this leaf; of gradients the array itself, which `grad` would compute."""


def _fill(t: Tensor, values: Sequence[Any]) -> None:
    for slot, value in zip(_LENT, values, strict=True):
        setattr(t, slot, value)
