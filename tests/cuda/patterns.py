"""What the lines of ``kernels/patterns.cu`` take, computed by hand, not by any code.

The rules. A warp is 32 threads with neighbouring indices, x first. What its lanes do together at
one access is one request. Global memory is moved in sectors of 32 bytes, four to a line of 128
bytes; arrays begin at a line. Shared memory has 32 banks, word w (4 bytes) in bank w % 32, and
delivers one word per bank and wavefront; lanes that ask for the same word share it. A request of 8
bytes per lane goes in halves of the warp, one of 16 bytes in quarters.
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
    sectors, least_sectors : int
        Of global memory; 0 of shared memory.
    wavefronts : int
        Of shared memory; of global memory the lines of 128 bytes that requests touch.
    least_wavefronts : int
        Of shared memory, that hold the distinct bytes of each request; not given (-1) of global
        memory.
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
    wavefronts: int
    least_wavefronts: int = -1
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
        values = [*(str(n) for n in self.template.values()), self.inputs[0].dtype.name]
        return f"{self.name}-{'-'.join(values)}"

    def launch(self) -> list[np.ndarray]:
        """Run it and return its outputs."""
        found = [np.zeros(y.shape, y.dtype) for y in self.outputs]
        arguments = *(x.copy() for x in self.inputs), *found, *self.scalars
        kernel(FILE, self.name)(self.grid, self.block, *arguments, **self.template)
        return found


def _numbers(count: int, dtype: type = np.float32) -> np.ndarray:
    return (np.arange(count) % 251).astype(dtype)


def _global(where: tuple[str, str, str], *counts: int, first: int) -> KnownAccess:
    """Of floats in global memory: `where` is the marker, the access and the array."""
    return KnownAccess(*where, 4, *counts, first=first)


def _shared(
    marker: str, access: str, requests: int, wavefronts: int, least: int, width: int = 4
) -> KnownAccess:
    """Of whole warps in shared memory; wavefronts and the least of them are per request."""
    counts = requests, 32 * requests, 0, 0, wavefronts * requests, least * requests
    return KnownAccess(marker, access, "tile", width, *counts)


def _per_warp(
    *names: str, counts: tuple[int, int, int], width: int = 4, first: int | None = None
) -> KnownAccess:
    """Of one request of 32 lanes in each of the four warps: sectors, least, lines of one."""
    whole = [WARPS * count for count in counts]
    first = whole[0] if first is None else first
    return KnownAccess(*names, width, WARPS, WARPS * 32, *whole, first=first)


def _strided(stride: int, sectors: int, lines: int) -> Pattern:
    x = _numbers(128 * stride)
    return Pattern(
        "global_stride",
        (x,),
        (x[::stride],),
        (
            _per_warp("strided read", "read", "x", counts=(sectors, 4, lines)),
            _per_warp("coalesced write", "write", "y", counts=(4, 4, 1)),
        ),
        template={"STRIDE": stride},
    )


def _copied(dtype: type, sectors: int, lines: int) -> Pattern:
    x, width = _numbers(128, dtype), np.dtype(dtype).itemsize
    return Pattern(
        "global_copy",
        (x,),
        (x,),
        (
            _per_warp("copy", "read", "x", counts=(sectors, sectors, lines), width=width),
            _per_warp("copy", "write", "y", counts=(sectors, sectors, lines), width=width),
        ),
    )


def _backwards(x: np.ndarray, elements: int = 1) -> np.ndarray:
    """Return `x` with the order of each block's 64 elements of so many numbers reversed."""
    return x.reshape(2, 64, elements)[:, ::-1].reshape(-1).copy()


def _shared_strided(stride: int, wavefronts: int) -> Pattern:
    x = _numbers(128)
    return Pattern(
        "shared_stride",
        (x,),
        (_backwards(x),),
        (
            _shared("strided store", "write", WARPS, wavefronts, 1),
            _shared("strided load", "read", WARPS, wavefronts, 1),
        ),
        barriers=(("barrier", WARPS),),
        template={"STRIDE": stride},
    )


def _shared_vectors(stride: int, wavefronts: int) -> Pattern:
    x = _numbers(512)
    return Pattern(
        "shared_vectors",
        (x,),
        (_backwards(x, 4),),
        (
            _shared("vector store", "write", WARPS, wavefronts, 4, 16),
            _shared("vector load", "read", WARPS, wavefronts, 4, 16),
        ),
        template={"STRIDE": stride},
    )


def _shared_copied(dtype: type, wavefronts: int) -> Pattern:
    x, width = _numbers(128, dtype), np.dtype(dtype).itemsize
    return Pattern(
        "shared_copy",
        (x,),
        (_backwards(x),),
        (
            _shared("store", "write", WARPS, wavefronts, wavefronts, width),
            _shared("load", "read", WARPS, wavefronts, wavefronts, width),
        ),
    )


def _shared_transposed(width: int, wavefronts: int) -> Pattern:
    x = _numbers(2 * 1024).reshape(2, 32, 32)
    return Pattern(
        "shared_transpose",
        (x,),
        (x.transpose(0, 2, 1),),
        (
            # a warp has 16 of the 32 rows, so 16 requests
            _shared("rows", "write", WARPS * 16, 1, 1),
            _shared("columns", "read", WARPS * 16, wavefronts, 1),
        ),
        template={"WIDTH": width},
        block=(32, 2),
    )


def _branches() -> list[Pattern]:
    x, t = _numbers(128), np.arange(128)
    odd, odd_warp = t % 2 == 1, t // 32 % 2 == 1
    sums = np.tile(np.cumsum(x[:32]), 4)
    return [
        Pattern(
            "odd_and_even_lanes",
            (x,),
            (np.where(odd, x, 0), np.where(odd, 0, x), x),
            (
                # Every second float of 128 bytes: all 4 sectors, though 64 bytes would fit in 2.
                _global(("odd lanes", "write", "a"), 4, 64, 16, 8, 4, first=16),
                _global(("even lanes", "write", "b"), 4, 64, 16, 8, 4, first=16),
                _per_warp("all lanes again", "write", "y", counts=(4, 4, 1)),
            ),
            branches=(KnownBranch("lanes diverge", 4, 4),),
        ),
        Pattern(
            "odd_and_even_warps",
            (x,),
            (np.where(odd_warp, x, 0), np.where(odd_warp, 0, x)),
            (
                _global(("odd warps", "write", "a"), 2, 64, 8, 8, 2, first=8),
                _global(("even warps", "write", "b"), 2, 64, 8, 8, 2, first=8),
            ),
            branches=(KnownBranch("warps go different ways", 4, 0),),
        ),
        Pattern(
            "guarded",
            (x,),
            (np.where(t < 100, x, 0),),
            tuple(
                # Three whole warps of 4 sectors, and one of 4 lanes, 16 bytes, 1 sector.
                _global((f"guarded {access}", access, array), 4, 100, 13, 13, 4, first=13)
                for access, array in (("read", "x"), ("write", "y"))
            ),
            branches=(KnownBranch("guard", 4, 1),),
            scalars=(100,),
        ),
        Pattern(
            "lengthening_loop",
            (x,),
            (sums,),
            (
                # 32 turns with 32, 31, ... 1 lanes, 528 in all, which read the same element. A
                # block's two warps read the same 32 elements, 4 sectors.
                _global(("read in the loop", "read", "x"), 128, 4 * 528, 128, 128, 128, first=8),
                _per_warp("write after the loop", "write", "y", counts=(4, 4, 1)),
            ),
        ),
    ]


def _transposed() -> Pattern:
    x = _numbers(64 * 32).reshape(64, 32)
    return Pattern(
        "global_transpose",
        (x,),
        (x.T,),
        tuple(
            # 64 warps of one row each. Written are 32 elements 256 bytes apart. The two warps of a
            # block write neighbouring elements, which lie in the same sectors.
            _global(where, 64, 64 * 32, 64 * sectors, 64 * 4, 64 * lines, first=first)
            for where, sectors, lines, first in (
                (("row read", "read", "x"), 4, 1, 64 * 4),
                (("transposed write", "write", "y"), 32, 32, 32 * 32),
            )
        ),
        grid=32,
        block=(32, 2),
    )


def _half_rows() -> Pattern:
    x = _numbers(8 * 32).reshape(8, 32)
    return Pattern(
        "global_half_rows",
        (x,),
        (x[:, :16],),
        (
            # Two runs of 64 bytes, in two lines of 128.
            _per_warp("half rows read", "read", "x", counts=(4, 4, 2)),
            _per_warp("packed write", "write", "y", counts=(4, 4, 1)),
        ),
        block=(16, 4),
    )


def _atomics() -> Pattern:
    x = _numbers(128, np.int32)
    return Pattern(
        "global_atomics",
        (x,),
        (x.sum(keepdims=True, dtype=np.int32), x.reshape(4, 32).sum(0, dtype=np.int32)),
        (
            _per_warp("atomic on one element", "atomic", "total", counts=(1, 1, 1), first=2),
            _per_warp("atomic per lane", "atomic", "columns", counts=(4, 4, 1), first=2 * 4),
        ),
    )


def _shared_broadcasts() -> Pattern:
    x, t = _numbers(128), np.arange(64)
    tiles = x.reshape(2, 64)
    return Pattern(
        "shared_broadcast",
        (x,),
        ((tiles[:, :1] + tiles[:, t // 4] + tiles[:, t % 2 * 32]).reshape(-1),),
        (
            _shared("one word", "read", WARPS, 1, 1),
            _shared("eight words", "read", WARPS, 1, 1),
            _shared("two words of one bank", "read", WARPS, 2, 1),
        ),
    )


def _others() -> list[Pattern]:
    x, vectors = _numbers(129), _numbers(512)
    return [
        Pattern(
            "global_offset",
            (x,),
            (x[1:],),
            # Bytes 4 to 131: 5 sectors, 2 lines. A block's second warp begins in the sector that
            # the first ended in: 9 of 10 are new.
            (_per_warp("shifted read", "read", "x", counts=(5, 4, 2), first=2 * 9),),
        ),
        Pattern(
            "global_broadcast",
            (x,),
            (np.full(128, x[0]),),
            (_per_warp("broadcast read", "read", "x", counts=(1, 1, 1), first=2),),
        ),
        Pattern(
            "global_vectors",
            (vectors,),
            (vectors,),
            (
                # 512 bytes
                _per_warp("vector read", "read", "x", counts=(16, 16, 4), width=16),
                _per_warp("vector write", "write", "y", counts=(16, 16, 4), width=16),
            ),
        ),
        Pattern(
            "global_unvectorised",
            (vectors,),
            (vectors.reshape(128, 4).sum(1, dtype=np.float32),),
            (
                # Four requests per warp, each for 128 of the 512 bytes, 16 apart: all 16 sectors.
                _global(("unvectorised read", "read", "x"), 16, 512, 256, 64, 64, first=64),
            ),
        ),
    ]


PATTERNS = [
    _strided(1, sectors=4, lines=1),
    # 256 bytes
    _strided(2, sectors=8, lines=2),
    # A line apart, and a line and a word: each lane has a sector and a line of its own.
    _strided(32, sectors=32, lines=32),
    _strided(33, sectors=32, lines=32),
    *_others(),
    _copied(np.float32, sectors=4, lines=1),
    # 256 bytes, and 32
    _copied(np.float64, sectors=8, lines=2),
    _copied(np.uint8, sectors=1, lines=1),
    _transposed(),
    _half_rows(),
    _atomics(),
    _shared_strided(1, wavefronts=1),
    # 16 banks with two words each
    _shared_strided(2, wavefronts=2),
    # one bank with 32 words
    _shared_strided(32, wavefronts=32),
    # word 33 t is in bank t
    _shared_strided(33, wavefronts=1),
    _shared_broadcasts(),
    # four quarters of 8 lanes and 32 words
    _shared_vectors(1, wavefronts=4),
    # a quarter's 8 vectors are 8 words apart: lanes 0 and 4 meet in banks 0 to 3
    _shared_vectors(2, wavefronts=8),
    _shared_copied(np.float32, wavefronts=1),
    _shared_copied(np.float64, wavefronts=2),
    # 32 bytes, 8 words
    _shared_copied(np.uint8, wavefronts=1),
    _shared_transposed(32, wavefronts=32),
    _shared_transposed(33, wavefronts=1),
    *_branches(),
]
"""Every known pattern."""
