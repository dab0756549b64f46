"""Accesses to shared memory.

A read of 8 or 16 bytes per lane takes half the wavefronts where all active lanes l and l ^ 1, or
all l and l ^ 2, read the same address: two neighbouring groups are then one. NVIDIA says so of
compute capability 7 (forums.developer.nvidia.com/t/77228); the reads marked "measured" were, with
the hardware counters of an A100, by zhuanlan.zhihu.com/p/690052715.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cuda.patterns.known import WARPS, KnownAccess, Pattern, in_shared, numbers


def _backwards(x: np.ndarray, elements: int = 1) -> np.ndarray:
    """Return `x` with the order of each block's 64 elements of so many numbers reversed."""
    return x.reshape(2, 64, elements)[:, ::-1].reshape(-1).copy()


def _shared_strided(stride: int, wavefronts: int) -> Pattern:
    x = numbers(128)
    return Pattern(
        "shared_stride",
        (x,),
        (_backwards(x),),
        (
            in_shared("strided store", "write", WARPS, wavefronts, 1),
            in_shared("strided load", "read", WARPS, wavefronts, 1),
        ),
        barriers=(("barrier", WARPS),),
        template={"STRIDE": stride},
    )


def _shared_vectors(stride: int, wavefronts: int) -> Pattern:
    x = numbers(512)
    return Pattern(
        "shared_vectors",
        (x,),
        (_backwards(x, 4),),
        (
            in_shared("vector store", "write", WARPS, wavefronts, 4, 16),
            in_shared("vector load", "read", WARPS, wavefronts, 4, 16),
        ),
        template={"STRIDE": stride},
    )


def _shared_copied(dtype: type, wavefronts: int) -> Pattern:
    x, width = numbers(128, dtype), np.dtype(dtype).itemsize
    return Pattern(
        "shared_copy",
        (x,),
        (_backwards(x),),
        (
            in_shared("store", "write", WARPS, wavefronts, wavefronts, width),
            in_shared("load", "read", WARPS, wavefronts, wavefronts, width),
        ),
    )


def _shared_transposed(width: int, wavefronts: int) -> Pattern:
    x = numbers(2 * 1024).reshape(2, 32, 32)
    return Pattern(
        "shared_transpose",
        (x,),
        (x.transpose(0, 2, 1),),
        (
            # a warp has 16 of the 32 rows, so 16 requests
            in_shared("rows", "write", WARPS * 16, 1, 1),
            in_shared("columns", "read", WARPS * 16, wavefronts, 1),
        ),
        template={"WIDTH": width},
        block=(32, 2),
    )


def _shared_broadcasts() -> Pattern:
    x, t = numbers(128), np.arange(64)
    tiles = x.reshape(2, 64)
    return Pattern(
        "shared_broadcast",
        (x,),
        ((tiles[:, :1] + tiles[:, t // 4] + tiles[:, t % 2 * 32]).reshape(-1),),
        (
            in_shared("one word", "read", WARPS, 1, 1),
            in_shared("eight words", "read", WARPS, 1, 1),
            in_shared("two words of one bank", "read", WARPS, 2, 1),
        ),
    )


def _gathered(name: str, width: int, index: list[int], wavefronts: int, least: int) -> Pattern:
    """One warp, whose lane l reads vector ``index[l]`` of the tile, and none where that is -1."""
    x, lanes = numbers(64 * width // 4).reshape(64, -1), np.array(index, np.int32)
    active = int((lanes >= 0).sum())
    return Pattern(
        name,
        (x, lanes),
        (np.where(lanes[:, None] >= 0, x[lanes], 0),),
        (
            KnownAccess(
                *(f"gathered {name.partition('_')[2]}", "read", "tile", width, 1, active),
                *(0, 0, 0, wavefronts, least),
            ),
        ),
        grid=1,
        block=32,
    )


def _pairs(index: Callable[[int], int], wavefronts: int, least: int) -> Pattern:
    return _gathered("shared_pairs", 8, [index(lane) for lane in range(32)], wavefronts, least)


def _quads(index: Callable[[int], int], wavefronts: int, least: int) -> Pattern:
    return _gathered("shared_quads", 16, [index(lane) for lane in range(32)], wavefronts, least)


def _neighbours_in_pairs(lane: int) -> int:
    """Lanes l and l ^ 1 read the same: 0 0 1 1 0 0 1 1, 2 2 3 3 2 2 3 3, ..."""
    return lane // 8 * 2 + lane % 8 // 2 % 2


SHARED = [
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
    # measured: two halves, and one whole
    _pairs(lambda lane: lane, wavefronts=2, least=2),
    _pairs(lambda lane: lane // 2, wavefronts=1, least=1),
    # two active lanes, in both halves of the warp, and in both quarters of one half: measured
    _quads(lambda lane: 4 if lane in (15, 16) else -1, wavefronts=2, least=2),
    _quads(lambda lane: 4 if lane in (0, 15) else -1, wavefronts=1, least=1),
    # two halves, each of 16 words: measured
    _quads(_neighbours_in_pairs, wavefronts=2, least=2),
    # lanes l and l ^ 1 read the same in one half, lanes l and l ^ 2 in the other: no whole warp
    # agrees, so four quarters; measured
    _quads(
        lambda lane: _neighbours_in_pairs(lane) if lane < 16 else lane // 8 * 2 + lane % 2,
        wavefronts=4,
        least=4,
    ),
    # two halves, of vectors 0, 8, 1, 9 and 4, 12, 5, 13; those 8 apart meet in banks: measured
    _quads(lambda lane: lane // 16 * 4 + lane % 16 // 8 + lane % 8 // 4 * 8, wavefronts=4, least=2),
    # all lanes read one vector: by the rule, not measured
    _pairs(lambda lane: 7, wavefronts=1, least=1),
    _quads(lambda lane: 7, wavefronts=2, least=2),
]
