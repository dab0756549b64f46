"""The kernel that docs/tuning.md tunes, in its three stages: how to launch it, and what is right.

python -m docs.tuning.layer_norm 2      the profile of the second stage
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minialex import cuda

HERE = Path(__file__).parent
EPS = 1e-6


@dataclass(frozen=True)
class TuningStage:
    """One stage.

    Attributes
    ----------
    file : str
        In this folder.
    pixels : int
        How many a block normalises.
    shared : int
        Bytes of dynamic shared memory per channel.
    templated : bool
        Whether C is a template argument, not an argument.
    """

    file: str
    pixels: int
    shared: int = 0
    templated: bool = False

    def __call__(self, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
        """Return x (N, C, H, W), normalised over C and scaled, as (N, H, W, C)."""
        N, C, H, W = x.shape
        y = np.empty((N, H, W, C), x.dtype)
        kernel = cuda.kernel(HERE / self.file, "layer_norm")
        grid = cuda.blocks(H * W, self.pixels), N
        if self.templated:
            kernel(grid, 256, x, gamma, beta, y, H * W, EPS, C=C)
        else:
            kernel(grid, 256, x, gamma, beta, y, C, H * W, EPS, shared=self.shared * C)
        return y


STAGES = (
    TuningStage("1_naive.cu", 8),
    TuningStage("2_shared_tile.cu", 32, shared=128),
    TuningStage("3_padded_vectors.cu", 32, templated=True),
)


def example(shape: tuple[int, int, int, int] = (2, 64, 8, 8)) -> tuple[np.ndarray, ...]:
    """Return random x of that shape (N, C, H, W), gamma and beta."""
    rng = np.random.default_rng(shape)
    return tuple(rng.standard_normal(one).astype(np.float32) for one in (shape, shape[1], shape[1]))


def by_definition(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Return what every stage has to return, in double precision."""
    rows = x.astype(np.float64).transpose(0, 2, 3, 1)
    centred = rows - rows.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return gamma * centred / np.sqrt(variance + EPS) + beta
