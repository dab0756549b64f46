"""Adds up what the runtime counted block by block."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np

from minialex.cuda.emulator import interface as i
from minialex.cuda.plan import Dim3

NUMBERS = tuple(name for name, kind in i.Tally._fields_ if kind is ctypes.c_double)
"""What is counted."""

Tallies = np.ndarray[Any, np.dtype[np.void]]


TALLY = i.dtype_of(
    i.Tally,
    {
        "block": ("location.block", ("u4", 3)),
        "pc": ("location.pc", "u8"),
        "file": ("location.file", "u8"),
        "line": ("location.line", "i4"),
        "kind": ("kind", "i4"),
        "region": ("region", "i4"),
        "bytes": ("bytes", "i4"),
        **{name: (name, "f8") for name in NUMBERS},
    },
)
"""Tallies as the runtime lays them out."""


def work_of_blocks(tallies: Tallies, grid: Dim3, number: str = "requests") -> dict[int, float]:
    """Return the sum of one of `NUMBERS` for each block: how much it did.

    Requests are also branches that its warps came to.
    """
    blocks, which = np.unique(_block_numbers(tallies, grid), return_inverse=True)
    work = np.bincount(which.reshape(-1), tallies[number], len(blocks))
    return dict(zip(blocks.tolist(), work.tolist(), strict=True))


def weighted(tallies: Tallies, weights: Mapping[int, float], grid: Dim3) -> list[i.Tally]:
    """Return the sum over blocks of what was counted at each place, each with its weight."""
    blocks = _block_numbers(tallies, grid)
    weight = np.array([weights[block] for block in blocks.tolist()])
    places = tallies[["pc", "file", "line", "kind", "region", "bytes"]].tolist()
    rows: dict[tuple[int, ...], int] = {}
    which = np.array([rows.setdefault(place, len(rows)) for place in places], np.intp)
    sums = {
        name: np.bincount(which, weight * tallies[name], len(rows)).tolist() for name in NUMBERS
    }
    return [
        i.Tally(
            i.Location(pc=pc, file=ctypes.string_at(file) if file else None, line=line),
            *(kind, region, nbytes),
            **{name: sums[name][row] for name in NUMBERS},
        )
        for (pc, file, line, kind, region, nbytes), row in rows.items()
    ]


def _block_numbers(tallies: Tallies, grid: Dim3) -> np.ndarray[Any, np.dtype[np.int64]]:
    x, y, z = tallies["block"].astype(np.int64).T
    numbers: np.ndarray[Any, np.dtype[np.int64]] = (z * grid[1] + y) * grid[0] + x
    return numbers
