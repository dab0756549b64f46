"""What the lines of ``kernels/patterns.cu`` take, computed by hand, not by any code.

The rules. A warp is 32 threads with neighbouring indices, x first. What its lanes do together at
one access is one request. Global memory is moved in sectors of 32 bytes, four to a line of 128
bytes; arrays begin at a line. Shared memory and the L1 cache have 32 banks, word w (4 bytes) of an
array in bank w % 32, and deliver one word per bank and wavefront; lanes that ask for the same word
share it. A request of 8 bytes per lane goes in halves of the warp, one of 16 bytes in quarters,
each a wavefront or more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.cuda.tools import kernel

FILE = "patterns.cu"
WARPS = 4


@dataclass(frozen=True)
class KnownAccess:
    """What one line does to one array, over the whole launch.

    Attributes
    ----------
    marker : str
        The comment that the line ends in.
    width : int
        Bytes per lane.
    sectors, least_sectors, lines : int
        Of global memory, a line being 128 bytes; 0 of shared memory.
    wavefronts, least_wavefronts : int
        In the 32 banks, and without bank conflicts; those of global memory as its lines lie in the
        L1 cache.
    first : int
        Sectors of the array that a block had not touched before, over the blocks.
    """

    marker: str
    access: str
    array: str
    width: int
    requests: int
    lanes: int
    sectors: int
    least_sectors: int
    lines: int
    wavefronts: int
    least_wavefronts: int
    first: int = 0


@dataclass(frozen=True)
class KnownBranch:
    """How often warps come to the branch of one line, and at how many their lanes part."""

    marker: str
    executions: int
    divergent: int


@dataclass(frozen=True)
class Pattern:
    """One launch of a kernel of the file: inputs, outputs as they must be, and its counts."""

    name: str
    inputs: tuple[Any, ...]
    outputs: tuple[np.ndarray, ...]
    accesses: tuple[KnownAccess, ...]
    branches: tuple[KnownBranch, ...] = ()
    barriers: tuple[tuple[str, int], ...] = ()
    template: dict[str, int] = field(default_factory=dict)
    grid: int = 2
    block: int | tuple[int, int] = 64
    scalars: tuple[int, ...] = ()

    def __str__(self) -> str:
        values = [self.name, *(str(n) for n in self.template.values()), self.inputs[0].dtype.name]
        return "-".join(values)

    def launch(self) -> list[np.ndarray]:
        """Run it and return its outputs."""
        found = [np.zeros(y.shape, y.dtype) for y in self.outputs]
        arguments = *(x.copy() for x in self.inputs), *found, *self.scalars
        kernel(FILE, self.name)(self.grid, self.block, *arguments, **self.template)
        return found


def numbers(count: int, dtype: type = np.float32) -> np.ndarray:
    return (np.arange(count) % 251).astype(dtype)


def in_global(
    where: tuple[str, str, str],
    *,
    requests: int,
    lanes: int,
    sectors: int,
    least_sectors: int,
    lines: int,
    first: int,
) -> KnownAccess:
    """Of floats, each request one wavefront: `where` is the marker, the access and the array."""
    counts = requests, lanes, sectors, least_sectors, lines, requests, requests
    return KnownAccess(*where, 4, *counts, first=first)


def in_shared(
    marker: str, access: str, requests: int, wavefronts: int, least: int, width: int = 4
) -> KnownAccess:
    """Of whole warps in shared memory; wavefronts and the least of them are per request."""
    counts = requests, 32 * requests, 0, 0, 0, wavefronts * requests, least * requests
    return KnownAccess(marker, access, "tile", width, *counts)


def per_warp(
    *names: str,
    sectors: int,
    least_sectors: int,
    lines: int,
    wavefronts: int = 1,
    least_wavefronts: int = 1,
    width: int = 4,
    first: int | None = None,
) -> KnownAccess:
    """Of one request of 32 lanes in each of the four warps; the counts but `first` are of one."""
    each = sectors, least_sectors, lines, wavefronts, least_wavefronts
    return KnownAccess(
        *(*names, width, WARPS, WARPS * 32, *(WARPS * count for count in each)),
        first=WARPS * sectors if first is None else first,
    )
