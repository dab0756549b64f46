"""Philox4x32-10, the counter-based random generator, in operations that NumPy and CuPy share.

A counter-based generator is a function of a counter and a key, without a state: word `i` of stream
`offset` under `seed` can be computed by any thread, in any order, on any device, and again in the
backward pass instead of being stored. A block of four 32-bit words is made by ten rounds of

    c0, c1, c2, c3 = hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0)

with the key (k0, k1) incremented by (W0, W1) between rounds. Here the counter is (block number,
block number >> 32, offset, offset >> 32) and the key is the seed's low and high halves.

A round needs both halves of each 64-bit product. Words are therefore held in pairs, the first of
each in the high half of a 64-bit number:

    c0:c1, c2:c3 = M1 c2 ^ (c1 ^ k0) << 32,  M0 c0 ^ (c3 ^ k1) << 32

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011, section 3.3 and table 2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_INCREMENTS = 0x9E3779B9, 0xBB67AE85
LOW_32_BITS = 0xFFFFFFFF
WORD_BITS = np.uint64(32)

BLOCK_BYTES = 32
"""The memory for a block while it is computed: two pairs, and their products."""


def philox4x32(counter: tuple[Array, Array, Array, Array], seed: int) -> tuple[Array, ...]:
    """Return the four words of each block.

    Parameters
    ----------
    counter : four arrays of one shape, uint64, each below 2**32
    seed : int
        From 0 to 2**64 - 1.

    Returns
    -------
    Four arrays of that shape, uint64, each below 2**32.
    """
    c0, c1, c2, c3 = counter
    pairs = array_module(c0).stack((c0 << WORD_BITS | c1, c2 << WORD_BITS | c3))
    _mix(pairs, seed)
    return tuple(
        word for pair in pairs for word in (pair >> WORD_BITS, pair & np.uint64(LOW_32_BITS))
    )


def _mix(pairs: Array, seed: int) -> None:
    """Turn counters, in pairs (2, ...), into random words."""
    xp, column = array_module(pairs), (2, *(1,) * (pairs.ndim - 1))
    multipliers = xp.asarray(MULTIPLIERS[::-1], xp.uint64).reshape(column)
    products = xp.empty_like(pairs)
    for key in xp.asarray(_keys(seed), xp.uint64) << WORD_BITS:
        xp.right_shift(pairs[::-1], WORD_BITS, out=products)
        products *= multipliers
        pairs <<= WORD_BITS
        pairs ^= key.reshape(column)
        pairs ^= products


def _keys(seed: int) -> list[list[int]]:
    """Return the key of each round."""
    key = seed & LOW_32_BITS, seed >> 32 & LOW_32_BITS
    steps = range(ROUNDS)
    return [
        [(k + i * w) & LOW_32_BITS for k, w in zip(key, KEY_INCREMENTS, strict=True)] for i in steps
    ]


def bits(xp: Any, n: int, *, seed: int, offset: int, block: int = 0) -> Array:
    """Return `n` random words of stream `offset` under `seed`: (n,) uint32 of `xp`.

    They begin with the first word of block number `block`, so that parts of a stream can be made
    alone. Word ``i`` of the stream is word ``i % 4`` of block ``i // 4``: one GPU thread
    computes four consecutive words.
    """
    blocks = xp.arange(block, block + (n + 3) // 4, dtype=xp.uint64)
    pairs = xp.empty((2, blocks.size), dtype=xp.uint64)
    pairs[0] = blocks << WORD_BITS | blocks >> WORD_BITS
    pairs[1] = np.uint64((offset & LOW_32_BITS) << 32 | offset >> 32 & LOW_32_BITS)
    _mix(pairs, seed)
    words = xp.empty((blocks.size, 2, 2), dtype=xp.uint32)
    for i, pair in enumerate(pairs):
        words[:, i, 0] = pair >> WORD_BITS
        words[:, i, 1] = pair
    return words.reshape(-1)[:n]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class DeviceOffset:
    """A stream's number that lies in a device's memory, so that a CUDA graph can replay a draw.

    Attributes
    ----------
    drawn : (1,) float64
        How many streams were drawn before, in the memory of the device.
    ahead : int
        What is added to that.
    """

    drawn: Array
    ahead: int

    def __int__(self) -> int:
        return int(self.drawn[0]) + self.ahead


@dataclass
class Generator:
    """A source of (seed, offset) pairs, each naming one random stream.

    Parameters
    ----------
    seed : int
        From 0 to 2**64 - 1.
    offset : int
        The number of streams drawn so far. Together with the seed this is the whole state.
    """

    seed: int = 0
    offset: int = 0
    _device_offset: tuple[Array, int] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def draw(self) -> dict[str, Any]:
        """Return the next stream as the keywords ``seed`` and ``offset``."""
        offset: int | DeviceOffset = self.offset
        if self._device_offset is not None:
            drawn, start = self._device_offset
            offset = DeviceOffset(drawn, self.offset - start)
        self.offset += 1
        return {"seed": self.seed, "offset": offset}

    @contextlib.contextmanager
    def offsets_on_device(self, drawn: Array) -> Iterator[None]:
        """While the block runs, draw streams as numbers relative to `drawn`, (1,) float64.

        What is launched then draws other streams each time `drawn` is incremented.
        """
        self._device_offset = drawn, self.offset
        try:
            yield
        finally:
            self._device_offset = None


default_generator = Generator()


def manual_seed(seed: int) -> None:
    """Start the default generator, which layers without one of their own draw from, at `seed`."""
    default_generator.seed, default_generator.offset = seed, 0
