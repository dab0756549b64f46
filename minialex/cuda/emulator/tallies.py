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


def _dtype() -> np.dtype[np.void]:
    """Return the dtype of tallies as the runtime lays them out."""
    at, place = i.Tally, i.Location
    start = at.location.offset
    fields: dict[str, tuple[Any, int]] = {
        "block": (("u4", 3), start + place.block.offset),
        "pc": ("u8", start + place.pc.offset),
        "file": ("u8", start + place.file.offset),
        "line": ("i4", start + place.line.offset),
        "kind": ("i4", at.kind.offset),
        "region": ("i4", at.region.offset),
        "bytes": ("i4", at.bytes.offset),
        **{name: ("f8", getattr(at, name).offset) for name in NUMBERS},
    }
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": ctypes.sizeof(at),
        }
    )


TALLY = _dtype()


def work_of_blocks(tallies: Tallies, grid: Dim3) -> dict[int, float]:
    """Return how much each block did: requests, and branches that its warps came to."""
    blocks, which = np.unique(_block_numbers(tallies, grid), return_inverse=True)
    work = np.bincount(which.reshape(-1), tallies["requests"], len(blocks))
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
