"""Random numbers that are functions of seed, purpose, epoch and image: no generator has a state.

The counter-based generator Philox computes them (`minialex.philox`), so they do not depend on the
order of the draws or on the thread that draws.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minialex.philox import philox4x32

# The purposes: the highest word of the counter. Dropout counts its streams from 0, far below.
ORDER, AUGMENT, SPLIT, SAMPLE = 0xDA7A0000, 0xDA7A0001, 0xDA7A0002, 0xDA7A0003


def random_words(
    seed: int, purpose: int, epoch: int, images: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.uint64]:
    """Return `count` random 32-bit words per image, (N, count) uint64.

    Parameters
    ----------
    seed : int
        From 0 to 2**64 - 1.
    purpose : int
        `ORDER`, `AUGMENT`, `SPLIT` or `SAMPLE`.
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
    """Return `count` uniform numbers in [0, 1) per image, for augmentation: (N, count) float64."""
    return random_words(seed, AUGMENT, epoch, images, count).astype(np.float64) * 2.0**-32


def permutation(seed: int, purpose: int, epoch: int, length: int) -> npt.NDArray[np.int64]:
    """Return a random permutation of `length` numbers from 0, (length,) int64."""
    keys = random_words(seed, purpose, epoch, np.arange(length), 4)
    # sort keys of 64 bits: among a million, two are equal with a probability of 3e-8
    return np.argsort(keys[:, 0] << np.uint64(32) | keys[:, 1], kind="stable")
