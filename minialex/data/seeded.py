"""Random numbers that depend on what they are for, never on the order in which they are drawn.

Each is a word of the counter-based generator Philox, found by seed, purpose, epoch and image:
whichever thread draws it, and whatever was drawn before, it is the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minialex.philox import philox4x32

# The highest word of the counter. Streams of dropout, which number on from 0, never reach these.
ORDER, AUGMENT, SPLIT = 0xDA7A0000, 0xDA7A0001, 0xDA7A0002


def words(
    seed: int, purpose: int, epoch: int, images: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.uint64]:
    """Return `count` random 32-bit words for each image, (N, count) uint64.

    Parameters
    ----------
    seed : int
        From 0 to 2**64 - 1.
    purpose : int
        `ORDER`, `AUGMENT` or `SPLIT`.
    epoch : int
        From 0 to 2**32 - 1.
    images : (N,) int64
        Each from 0 to 2**32 - 1.
    count : int
        A multiple of 4.
    """
    shape = (len(images), count // 4)
    block = np.broadcast_to(np.arange(count // 4, dtype=np.uint64), shape)
    image = np.broadcast_to(images.astype(np.uint64)[:, None], shape)
    rest = [np.full(shape, number, np.uint64) for number in (epoch, purpose)]
    blocks = philox4x32((block, image, rest[0], rest[1]), seed)
    return np.stack(blocks, axis=-1).reshape(len(images), count)


def uniforms(
    seed: int, epoch: int, images: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """Return `count` numbers in [0, 1) to augment each image with, (N, count) float64."""
    return words(seed, AUGMENT, epoch, images, count).astype(np.float64) * 2.0**-32


def permutation(seed: int, purpose: int, epoch: int, length: int) -> npt.NDArray[np.int64]:
    """Return the numbers below `length` in random order, (length,) int64."""
    keys = words(seed, purpose, epoch, np.arange(length), 4)
    # Two words make a sort key of 64 bits, in which ties are out of the question.
    return np.argsort(keys[:, 0] << np.uint64(32) | keys[:, 1], kind="stable")
