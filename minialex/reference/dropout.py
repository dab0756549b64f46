"""Definition of dropout, with the Philox generator in Python integers."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

WORD = 2**32


def philox_block(counter: list[int], key: list[int]) -> list[int]:
    """Return four words: ten rounds of Philox4x32 (Salmon et al. 2011, section 3.3)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c[0], WORD)
        high1, low1 = divmod(0xCD9E8D57 * c[2], WORD)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % WORD, (k[1] + 0xBB67AE85) % WORD]
    return c


def random_word(i: int, seed: int, offset: int) -> int:
    """Return word `i` of the stream (seed, offset)."""
    block = i // 4
    counter = [block % WORD, block // WORD, offset % WORD, offset // WORD]
    return philox_block(counter, [seed % WORD, seed // WORD])[i % 4]


def dropout(x: Array, *, p: float, seed: int, offset: int) -> Array:
    """Keep element i where its random word is at least p 2^32, and divide it by 1 - p."""
    y = np.zeros(x.shape)
    for i, place in enumerate(np.ndindex(x.shape)):
        if p < 1 and random_word(i, seed, offset) >= round(p * WORD):
            y[place] = x[place] / (1 - p)
    return y
