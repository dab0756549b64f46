"""Image preparation of a few images at a time, so that what is computed stays in a core's cache.

It keeps to one thread: `DataLoader` has several of them prepare batches.
"""

from __future__ import annotations

import numpy as np

from minialex.arrays import Array, array_module
from minialex.cpu.sharing import cache_blocks
from minialex.data.colour import Jitter
from minialex.data.prepare.crop import Crop
from minialex.data.prepare.plain import prepare_plain, windows

BLOCK_BYTES = 1 << 20
"""How much of `out` is computed at a time."""


def prepare_blocked(images: Array, jitter: Jitter | None, crop: Crop | None, out: Array) -> None:
    """Write the prepared images to `out`."""
    if jitter is None or not jitter.changes_colours:
        _flip_and_normalise(images, jitter, crop, out)
        return
    N = len(out)
    for block in cache_blocks(
        array_module(images), slice(0, N), out.nbytes // max(N, 1), BLOCK_BYTES
    ):
        prepare_plain(images[block], jitter[block], crop and crop[block], out[block])


def _flip_and_normalise(
    images: Array, jitter: Jitter | None, crop: Crop | None, out: Array
) -> None:
    """Do it image by image: bytes are mirrored as they are read.

    To divide by 255 and then double rounds as one product with 2 / 255 does.
    """
    pixels = images if crop is None else windows(images, crop)
    flips = np.zeros(len(out), bool) if jitter is None else jitter.flip
    for image, mirrored, y in zip(pixels, flips, out, strict=True):
        y[...] = (image[:, ::-1] if mirrored else image).transpose(2, 0, 1)
        y *= np.float32(2) * np.float32(1 / 255)
        y -= np.float32(1)
