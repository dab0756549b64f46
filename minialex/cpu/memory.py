"""Memory for large arrays on the CPU that is used again, as CuPy's pool does it on a GPU.

The system clears a large new array page by page as it is first touched, and takes the pages back
when the array is freed: a training step would have page faults for all of its arrays anew each time
(measured: 130,000, and 19,000 with this pool). Arrays made here are cut from large regions instead,
and go back into them when nothing refers to them any more. A region is virtual memory at first, of
which the pages that are touched become real: as the lowest free addresses are taken first, the pool
needs about as much as was ever in use at once.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect
from collections import deque
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array

MIN_POOLED_BYTES = 1 << 17
"""Smaller arrays are left to NumPy: the C library reuses their memory itself."""

REGION_BYTES = 1 << 30
"""The virtual memory that is asked for at once; more where one array takes more."""

PAGE_BYTES = 4096
"""Blocks are whole pages."""

AddressRange = tuple[int, int]
"""From the first address up to, not including, the second."""


class MemoryPool:
    """Regions of memory, and what of them is free.

    Attributes
    ----------
    regions : dict from address range to array
        The memory itself.
    free : list of address ranges
        In rising order; adjacent ones are merged.
    """

    def __init__(self) -> None:
        self.regions: dict[AddressRange, Array] = {}
        self.free: list[AddressRange] = []
        # a block may be freed while this thread is within `take`: it waits for the next call
        self._back: deque[AddressRange] = deque()
        self._lock = threading.Lock()

    def take(self, size: int) -> AddressRange:
        """Return the lowest free block of `size` bytes or more, in whole pages."""
        size = _pages(size)
        with self._lock:
            self._collect()
            i = next((i for i, (a, b) in enumerate(self.free) if b - a >= size), None)
            if i is None:
                i = self._insert(self._new_region(size))
            start, stop = self.free.pop(i)
            if start + size < stop:
                self.free.insert(i, (start + size, stop))
        return start, start + size

    def give_back(self, block: AddressRange) -> None:
        """Make a block free; at any time, from any thread."""
        self._back.append(block)

    def release(self) -> None:
        """Return the regions that are free as a whole to the system."""
        with self._lock:
            self._collect()
            for region in [region for region in self.regions if region in self.free]:
                self.free.remove(region)
                del self.regions[region]

    def _new_region(self, size: int) -> AddressRange:
        """Return a new region that holds a block of `size` bytes."""
        try:
            return self._reserve(max(size, REGION_BYTES))
        except MemoryError:
            # where the system counts addresses as memory (ulimit -v), there may be as many as that
            return self._reserve(size)

    def _reserve(self, size: int) -> AddressRange:
        # the page beyond keeps blocks of two regions from being adjacent
        memory = np.empty(size + 2 * PAGE_BYTES, np.uint8)
        start = _pages(memory.ctypes.data)
        self.regions[start, start + size] = memory
        return start, start + size

    def _collect(self) -> None:
        while self._back:
            self._insert(self._back.popleft())

    def _insert(self, block: AddressRange) -> int:
        """Add a free block, merged with adjacent ones, and return its index in the list."""
        start, stop = block
        i = bisect(self.free, block)
        if i < len(self.free) and self.free[i][0] == stop:
            stop = self.free.pop(i)[1]
        if i > 0 and self.free[i - 1][1] == start:
            i -= 1
            start = self.free.pop(i)[0]
        self.free.insert(i, (start, stop))
        return i


class _PooledBuffer:
    """A block behind arrays: NumPy holds a reference to it until the last of them is freed."""

    def __init__(
        self,
        block: AddressRange,
        give_back: Callable[[AddressRange], None],
        shape: tuple[int, ...],
        typestr: str,
    ) -> None:
        self.block, self.give_back = block, give_back
        self.__array_interface__ = {
            "version": 3,
            "data": (block[0], False),
            "shape": shape,
            "typestr": typestr,
        }

    def __del__(self) -> None:
        self.give_back(self.block)


POOL = MemoryPool()

if hasattr(os, "register_at_fork"):
    # a thread that the child does not have may hold the lock
    os.register_at_fork(after_in_child=lambda: setattr(POOL, "_lock", threading.Lock()))


def empty(xp: Any, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return a new array of `xp`, ``numpy`` or ``cupy``, uninitialised."""
    kind = np.dtype(dtype)
    size = prod(shape) * kind.itemsize
    if xp is not np or size < MIN_POOLED_BYTES:
        return xp.empty(shape, kind)  # type: ignore[no-any-return]
    return np.asarray(_PooledBuffer(POOL.take(size), POOL.give_back, shape, kind.str))


def zeros(xp: Any, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return a new array of zeros, likewise."""
    a = empty(xp, shape, dtype)
    a.fill(0)
    return a


def release() -> None:
    """Return memory that no array uses to the system."""
    POOL.release()


def _pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
