"""What a request costs: sectors of global, wavefronts of shared memory, and the least of each.

A request is one memory instruction of a warp: up to 32 lanes, each with an address and the same
width. The rules are those of compute capability 7.x to 9.x. Whether nvcc makes one instruction of
several accesses, or several of one, is not known here: requests are of accesses as written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SECTOR = 32
"""Bytes that global memory delivers at least: a quarter of a cache line."""

BANKS, WORD = 32, 4
"""Shared memory delivers one word of 4 bytes from each of its 32 banks per wavefront."""

Offsets = np.ndarray[Any, np.dtype[np.int64]]


def sectors(offsets: Offsets, width: int) -> tuple[int, int]:
    """Return how many sectors a request touches, and in how few its bytes would fit.

    Parameters
    ----------
    offsets : (32,) int64 array
        Where each lane's access begins, in bytes from the array's start, which is at a multiple of
        32 as CUDA allocates it; -1 for lanes that take no part.
    width : int
        Bytes per lane.
    """
    start = np.unique(offsets[offsets >= 0])
    touched = np.unique(np.concatenate([start // SECTOR, (start + width - 1) // SECTOR]))
    return len(touched), -(-len(start) * width // SECTOR)


def wavefronts(offsets: Offsets, width: int, access: str = "read") -> tuple[int, int]:
    """Return the wavefronts that a request to shared memory takes, and without bank conflicts.

    A group of lanes that go together takes as many as the busiest bank has distinct words to
    deliver; the same word for several lanes is one.

    Parameters
    ----------
    offsets, width
        As of `sectors`; the array begins at bank 0, which does not change what conflicts.
    access : str
        ``"read"``, ``"write"`` or ``"atomic"``: lanes of reads may merge, see `lane_groups`.
    """
    groups = lane_groups(offsets, width, access)
    return sum(max(map(len, bank_words(offsets[g], width))) for g in groups), len(groups)


def lane_groups(offsets: Offsets, width: int, access: str = "read") -> list[list[int]]:
    """Return the active lanes of a request in the groups in which shared memory takes them.

    Of 4 bytes per lane or less, the warp is one group; of 8, each half; of 16, each quarter. Two
    groups of a read, of 16 bytes those of one half, merge where all active lanes of the warp have
    the address of their neighbour, or all that of the next but one, if that is active (measured on
    an A100, and said of compute capability 7.x by NVIDIA's engineers in their forum).
    """
    size = 32 // max(1, width // WORD)
    if access == "read" and width > WORD and any(_paired(offsets, bit) for bit in (1, 2)):
        size *= 2
    halves = (range(first, first + size) for first in range(0, 32, size))
    groups = ([lane for lane in half if offsets[lane] >= 0] for half in halves)
    return [group for group in groups if group]


def bank_words(offsets: Offsets, width: int) -> list[list[int]]:
    """Return the distinct words, from the array's start, that lanes ask each of the banks for."""
    banks: list[list[int]] = [[] for _ in range(BANKS)]
    ends = (np.unique(offsets[offsets >= 0]) + width - 1) // WORD
    starts = np.unique(offsets[offsets >= 0]) // WORD
    words = {
        w for a, b in zip(starts.tolist(), ends.tolist(), strict=True) for w in range(a, b + 1)
    }
    for word in sorted(words):
        banks[word % BANKS].append(word)
    return banks


def _paired(offsets: Offsets, bit: int) -> bool:
    partner = offsets[np.arange(32) ^ bit]
    return bool(np.all((offsets < 0) | (partner < 0) | (offsets == partner)))
