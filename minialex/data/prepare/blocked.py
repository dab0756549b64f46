"""Image preparation of a few images at a time, so that what is computed stays in a core's cache.

It keeps to one thread: `DataLoader` has several of them prepare batches.
"""

from __future__ import annotations

from minialex.arrays import Array, array_module
from minialex.cpu.sharing import cache_blocks
from minialex.data.colour import Jitter
from minialex.data.prepare.crop import Crop
from minialex.data.prepare.plain import prepare_plain

BLOCK_BYTES = 1 << 20
"""How much of `out` is computed at a time."""


def prepare_blocked(images: Array, jitter: Jitter | None, crop: Crop | None, out: Array) -> None:
    """Write the prepared images to `out`."""
    N = len(out)
    for block in cache_blocks(
        array_module(images), slice(0, N), out.nbytes // max(N, 1), BLOCK_BYTES
    ):
        prepare_plain(images[block], jitter and jitter[block], crop and crop[block], out[block])
