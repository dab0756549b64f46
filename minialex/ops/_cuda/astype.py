"""astype as a CUDA kernel: kernels/astype.cu, one thread per four elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import check_counts, contiguous

PER_THREAD = 4
"""How many elements a thread takes."""

_astype = cuda.kernel("astype.cu", "astype")


def _converted(x: Array, dtype: np.dtype[Any]) -> Array:
    check_counts("astype", x=x.size)
    y: Array = array_module(x).empty(x.shape, dtype)
    _astype(
        cuda.blocks(x.size, PER_THREAD * cuda.BLOCK_SIZE), cuda.BLOCK_SIZE, contiguous(x), y, x.size
    )
    return y


def forward(x: Array, *, dtype: np.dtype[Any]) -> tuple[Array, tuple[np.dtype[Any]]]:
    """Return `x` in another type."""
    return _converted(x, dtype), (x.dtype,)


def backward(gy: Array, saved: tuple[np.dtype[Any]], *, dtype: np.dtype[Any]) -> Gradients:
    """Return `gy` in the type of the input."""
    return (_converted(gy, saved[0]),)


KERNEL = Implementation(
    forward, backward, why_not=cuda.why_not, dtypes=("float32", "float64", "bfloat16")
)
