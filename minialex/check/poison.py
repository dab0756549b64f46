"""Memory that is not initialised holds NaN, so that what is read of it is never right by chance."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minialex import arrays
from minialex.arrays import Array, is_floating
from minialex.cpu import memory

_NAMES = "empty", "empty_like"


@contextlib.contextmanager
def poisoned_memory() -> Iterator[None]:
    """While the block runs, ``empty`` of NumPy and CuPy gives arrays of NaN, in all threads."""
    modules = (np, importlib.import_module("cupy")) if arrays.cuda_count() else (np,)
    before = [(xp, name, getattr(xp, name)) for xp in modules for name in _NAMES]
    pooled = memory.MIN_POOLED_BYTES
    try:
        for xp, name, plain in before:
            setattr(xp, name, _poisoned(plain))
        # what the pool hands out again holds old numbers
        memory.MIN_POOLED_BYTES = 1 << 62
        yield
    finally:
        memory.MIN_POOLED_BYTES = pooled
        for xp, name, plain in before:
            setattr(xp, name, plain)


def _poisoned(plain: Callable[..., Array]) -> Callable[..., Array]:
    def empty(*args: Any, **options: Any) -> Array:
        a = plain(*args, **options)
        if is_floating(a.dtype):
            a.fill(np.nan)
        return a

    return empty
