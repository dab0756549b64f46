"""Puts guard zones around the arrays of a checked launch, so that out-of-bounds accesses are seen.

One past the end of `x` may well be the first element of `y`, and a parameter is a slice of an
arena of all of them. A checked launch works on copies that lie far apart and copies back what was
written. So does any launch of an array that lies in a file or buffer where its vectors are across
the processor's alignment, though on a GPU they would not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minialex.arrays import Array, address_of, extent_of

_GUARD_BYTES = 16 << 20
# As CUDA aligns what it allocates; a view is as much off as it is from the array it views.
_ALIGNMENT_BYTES = 512
_WIDEST_BYTES = 16
"""Of one access, as of a float4."""


class Copies:
    """Copies of the arrays of one launch.

    Parameters
    ----------
    arrays : sequence of NumPy array
        C-contiguous. Those that overlap in memory overlap in the copies too.

    Attributes
    ----------
    addresses : list of int
        Where the copy of each array lies.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._arrays = arrays
        spans = [extent_of(a) for a in arrays]
        groups = _merge(spans)
        room = sum(_room(low, high) for low, high in groups) + _ALIGNMENT_BYTES
        self._memory: np.ndarray[Any, np.dtype[np.uint8]] = np.empty(room, np.uint8)
        start = address_of(self._memory)
        moved: dict[tuple[int, int], int] = {}
        for low, high in groups:
            offset = min(phase_of(a) for a, (at, _) in zip(arrays, spans, strict=True) if at == low)
            middle = start + (_room(low, high) - (high - low)) // 2
            moved[low, high] = _align(middle) + offset
            start += _room(low, high)
        self.addresses = [
            next(to + (at - low) for (low, high), to in moved.items() if low <= at and end <= high)
            for at, end in spans
        ]
        for array, copy in zip(arrays, self._views(), strict=True):
            copy[...] = array.reshape(-1).view(np.uint8)

    def copy_back(self, written: Sequence[bool]) -> None:
        """Copy those arrays back whose flag in `written` is set."""
        for array, copy, changed in zip(self._arrays, self._views(), written, strict=True):
            if changed:
                array.reshape(-1).view(np.uint8)[...] = copy

    def _views(self) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
        start = address_of(self._memory)
        return [
            self._memory[at - start : at - start + array.nbytes]
            for at, array in zip(self.addresses, self._arrays, strict=True)
        ]


def _merge(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join the address ranges that overlap."""
    groups: list[tuple[int, int]] = []
    for low, high in sorted(set(spans)):
        if groups and low < groups[-1][1]:
            groups[-1] = (groups[-1][0], max(groups[-1][1], high))
        else:
            groups.append((low, high))
    return groups


def _room(low: int, high: int) -> int:
    # The larger an array, the farther a wrong stride may lead. Untouched pages cost nothing.
    return 3 * (high - low) + 2 * _GUARD_BYTES


def _align(address: int) -> int:
    return -(-address // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def phase_of(array: Array) -> int:
    """Return how many bytes `array` is off the alignment that its memory as a whole would have."""
    whole: Any = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    return (address_of(array) - address_of(whole)) % _ALIGNMENT_BYTES


def lies_as_on_a_gpu(array: Array) -> bool:
    """Return whether vectors that are aligned on a GPU are aligned in the array's own memory."""
    return (address_of(array) - phase_of(array)) % _WIDEST_BYTES == 0
