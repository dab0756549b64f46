"""Philox4x32-10, the counter-based random generator, in operations that NumPy and CuPy share.

A counter-based generator is a function, not a state: word `i` of stream `offset` under `seed`
can be computed at any place, in any order, on any device, and again in the backward pass
instead of being stored. One block of four 32-bit words comes from ten rounds of

    c0, c1, c2, c3 = hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0)

with the key (k0, k1) raised by (W0, W1) between rounds. Here the counter is (block number,
block number >> 32, offset, offset >> 32) and the key is the seed's low and high halves.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011, section 3.3 and table 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
LOW = 0xFFFFFFFF


def philox4x32(counter: tuple[Array, Array, Array, Array], seed: int) -> tuple[Array, ...]:
    """Return the four words of each block.

    Parameters
    ----------
    counter : four arrays of one shape, uint64, each below 2**32
        Overwritten.
    seed : int
        From 0 to 2**64 - 1.

    Returns
    -------
    Four arrays of that shape, uint64, each below 2**32.
    """
    c0, c1, c2, c3 = counter
    key = [seed & LOW, seed >> 32 & LOW]
    for _ in range(ROUNDS):
        p0, p1 = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        c0 = p1 >> np.uint64(32) ^ c1 ^ np.uint64(key[0])
        c1 = p1 & np.uint64(LOW)
        c2 = p0 >> np.uint64(32) ^ c3 ^ np.uint64(key[1])
        c3 = p0 & np.uint64(LOW)
        key = [(k + w) & LOW for k, w in zip(key, KEY_STEPS, strict=True)]
    return c0, c1, c2, c3


def bits(xp: Any, n: int, *, seed: int, offset: int) -> Array:
    """Return the first `n` random words of stream `offset` under `seed`: (n,) uint32 of `xp`.

    Word ``i`` is word ``i % 4`` of block ``i // 4``, so that one GPU thread makes four neighbours.
    """
    block = xp.arange((n + 3) // 4, dtype=xp.uint64)
    words = xp.empty((block.size, 4), dtype=xp.uint32)
    high = block >> np.uint64(32)
    stream = [xp.full_like(block, half) for half in (offset & LOW, offset >> 32 & LOW)]
    for i, word in enumerate(philox4x32((block & np.uint64(LOW), high, *stream), seed)):
        words[:, i] = word
    return words.reshape(-1)[:n]  # type: ignore[no-any-return]


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

    def draw(self) -> dict[str, int]:
        """Return the next stream as the keywords ``seed`` and ``offset``."""
        stream = {"seed": self.seed, "offset": self.offset}
        self.offset += 1
        return stream


default_generator = Generator()


def manual_seed(seed: int) -> None:
    """Start the default generator, which layers without one of their own draw from, at `seed`."""
    default_generator.seed, default_generator.offset = seed, 0
