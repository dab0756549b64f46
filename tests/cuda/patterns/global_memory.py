"""Accesses to global memory.

The wavefronts of strides 1 to 33 are also those that RRZE-HPC's gpu-benches (gpu-strides) counted
with an A100's and an H200's hardware counters.
"""

from __future__ import annotations

import numpy as np

from tests.cuda.patterns.known import WARPS, KnownAccess, Pattern, numbers, per_warp


def _strided(stride: int, sectors: int, lines: int, wavefronts: int) -> Pattern:
    x = numbers(128 * stride)
    counts = {"sectors": sectors, "lines": lines, "wavefronts": wavefronts}
    return Pattern(
        "global_stride",
        (x,),
        (x[::stride],),
        (
            per_warp("strided read", "read", "x", least_sectors=4, **counts),
            per_warp("coalesced write", "write", "y", sectors=4, least_sectors=4, lines=1),
        ),
        template={"STRIDE": stride},
    )


def _copied(dtype: type, sectors: int, lines: int, wavefronts: int) -> Pattern:
    x, width = numbers(128, dtype), np.dtype(dtype).itemsize
    counts = {"sectors": sectors, "least_sectors": sectors, "lines": lines, "width": width}
    counts |= {"wavefronts": wavefronts, "least_wavefronts": wavefronts}
    return Pattern(
        "global_copy",
        (x,),
        (x,),
        (per_warp("copy", "read", "x", **counts), per_warp("copy", "write", "y", **counts)),
    )


def _transposed() -> Pattern:
    x = numbers(64 * 32).reshape(64, 32)
    warps = 64
    return Pattern(
        "global_transpose",
        (x,),
        (x.T,),
        (
            KnownAccess(
                *("row read", "read", "x", 4, warps, warps * 32),
                *(warps * 4, warps * 4, warps, warps, warps),
                first=warps * 4,
            ),
            # 32 elements 256 bytes apart, all in one bank. The two warps of a block write
            # neighbours, which lie in the same sectors.
            KnownAccess(
                *("transposed write", "write", "y", 4, warps, warps * 32),
                *(warps * 32, warps * 4, warps * 32, warps * 32, warps),
                first=32 * 32,
            ),
        ),
        grid=32,
        block=(32, 2),
    )


def _half_rows() -> Pattern:
    x = numbers(8 * 32).reshape(8, 32)
    # two runs of 64 bytes, at the start of two lines, so in the same 16 banks
    two_runs = {"sectors": 4, "least_sectors": 4, "lines": 2, "wavefronts": 2}
    return Pattern(
        "global_half_rows",
        (x,),
        (x[:, :16],),
        (
            per_warp("half rows read", "read", "x", **two_runs),
            per_warp("packed write", "write", "y", sectors=4, least_sectors=4, lines=1),
        ),
        block=(16, 4),
    )


def _atomics() -> Pattern:
    x = numbers(128, np.int32)
    one = {"sectors": 1, "least_sectors": 1, "lines": 1, "first": 2}
    row = {"sectors": 4, "least_sectors": 4, "lines": 1, "first": 2 * 4}
    return Pattern(
        "global_atomics",
        (x,),
        (x.sum(keepdims=True, dtype=np.int32), x.reshape(4, 32).sum(0, dtype=np.int32)),
        (
            per_warp("atomic on one element", "atomic", "total", **one),
            per_warp("atomic per lane", "atomic", "columns", **row),
        ),
    )


def _offset() -> Pattern:
    x = numbers(129)
    # Bytes 4 to 131: 5 sectors, 2 lines. A block's second warp begins in the sector that the first
    # ended in: 9 of 10 are new.
    counts = {"sectors": 5, "least_sectors": 4, "lines": 2, "first": 2 * 9}
    return Pattern(
        "global_offset", (x,), (x[1:],), (per_warp("shifted read", "read", "x", **counts),)
    )


def _broadcast() -> Pattern:
    x = numbers(1) + 5
    counts = {"sectors": 1, "least_sectors": 1, "lines": 1, "first": 2}
    return Pattern(
        *("global_broadcast", (x,), (np.full(128, x[0]),)),
        (per_warp("broadcast read", "read", "x", **counts),),
    )


def _vectors() -> Pattern:
    x = numbers(512)
    # 512 bytes, in four quarters of 128
    counts = {"sectors": 16, "least_sectors": 16, "lines": 4, "width": 16}
    counts |= {"wavefronts": 4, "least_wavefronts": 4}
    return Pattern(
        "global_vectors",
        (x,),
        (x,),
        (
            per_warp("vector read", "read", "x", **counts),
            per_warp("vector write", "write", "y", **counts),
        ),
    )


def _unvectorised() -> Pattern:
    x = numbers(512)
    # Four requests per warp, each for 128 of the 512 bytes, 16 apart: all 16 sectors, four lanes to
    # a bank.
    requests = 4 * WARPS
    return Pattern(
        "global_unvectorised",
        (x,),
        (x.reshape(128, 4).sum(1, dtype=np.float32),),
        (
            KnownAccess(
                *("unvectorised read", "read", "x", 4, requests, requests * 32),
                *(requests * 16, requests * 4, requests * 4, requests * 4, requests),
                first=WARPS * 16,
            ),
        ),
    )


GLOBAL = [
    _strided(1, sectors=4, lines=1, wavefronts=1),
    # 256, 384, 512 and 1024 bytes; an even stride skips banks
    _strided(2, sectors=8, lines=2, wavefronts=2),
    _strided(3, sectors=12, lines=3, wavefronts=1),
    _strided(4, sectors=16, lines=4, wavefronts=4),
    _strided(8, sectors=32, lines=8, wavefronts=8),
    # from here on each lane has a sector of its own; stride 29 goes 3712 bytes far, 29 lines
    _strided(16, sectors=32, lines=16, wavefronts=16),
    _strided(29, sectors=32, lines=29, wavefronts=1),
    _strided(32, sectors=32, lines=32, wavefronts=32),
    _strided(33, sectors=32, lines=32, wavefronts=1),
    _offset(),
    _broadcast(),
    _vectors(),
    _unvectorised(),
    _copied(np.float32, sectors=4, lines=1, wavefronts=1),
    # 256 bytes, and 32
    _copied(np.float64, sectors=8, lines=2, wavefronts=2),
    _copied(np.uint8, sectors=1, lines=1, wavefronts=1),
    _transposed(),
    _half_rows(),
    _atomics(),
]
