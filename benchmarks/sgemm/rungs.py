"""Six kernels for one product of matrices, and the times that SGEMM_CUDA publishes for their likes.

The kernels (``sgemm.cu``) are ours; each has the tiles, the threads and the accesses of one that
Simon Boehm wrote, explained and timed, so that a model of time can be compared with a measurement
that is not ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minialex import cuda
from minialex.errors import MinialexError

FILE = Path(__file__).with_name("sgemm.cu")
PUBLISHED_SIZE = 4096
"""M, N and K of the published times."""
PUBLISHED_GPU = "RTX A6000"
ALPHA, BETA = 0.5, 3.0
"""As published, so that C is read as well as written."""


@dataclass(frozen=True)
class SgemmRung:
    """One of the kernels.

    Attributes
    ----------
    name : str
        The kernel.
    published_name : str
        What SGEMM_CUDA calls the kernel of the same shape.
    published_gflops : float
        10^9 operations per second, 2 M N K of them, at 4096 cubed on an RTX A6000. From the table
        of README.md at github.com/siboehm/SGEMM_CUDA, revision 60cba6f (2023-12-27); the article
        siboehm.com/articles/22/CUDA-MMM describes the kernels. Means of 50 launches, compiled for
        sm_86.
    tile : (int, int, int)
        What M, N and K have to be multiples of.
    threads : tuple of int
        Of a block.
    rows_first : bool
        Whether neighbouring blocks are neighbours along M; else along N.
    """

    name: str
    published_name: str
    published_gflops: float
    tile: tuple[int, int, int]
    threads: tuple[int, ...]
    rows_first: bool

    @property
    def published_seconds(self) -> float:
        """The published time of a launch at 4096 cubed."""
        return 2 * PUBLISHED_SIZE**3 / (self.published_gflops * 1e9)

    def grid(self, M: int, N: int) -> tuple[int, int]:
        """Return the blocks for a result (M, N)."""
        rows, columns = M // self.tile[0], N // self.tile[1]
        return (rows, columns) if self.rows_first else (columns, rows)

    def launch(
        self, A: np.ndarray, B: np.ndarray, C: np.ndarray, alpha: float = ALPHA, beta: float = BETA
    ) -> None:
        """Replace C by ``alpha A B + beta C``.

        Raises
        ------
        MinialexError
            If a size is no multiple of the tile.
        """
        (M, K), N = A.shape, B.shape[1]
        for axis, size, tile in zip("MNK", (M, N, K), self.tile, strict=True):
            if size % tile:
                raise MinialexError(
                    f"{self.name}: {axis} is {size}: use a multiple of {tile}, its tile's"
                )
        cuda.kernel(FILE, self.name)(
            *(self.grid(M, N), self.threads, A, B, C, M, N, K, alpha, beta),
            shapes={"A": (M, K), "B": (K, N), "C": (M, N)},
        )


RUNGS = (
    SgemmRung("sgemm_uncoalesced", "1: Naive", 309.0, (32, 32, 1), (32, 32), True),
    SgemmRung("sgemm_coalesced", "2: GMEM Coalescing", 1986.5, (32, 32, 1), (1024,), True),
    SgemmRung("sgemm_shared_tiles", "3: SMEM Caching", 2980.3, (32, 32, 32), (1024,), True),
    SgemmRung("sgemm_thread_columns", "4: 1D Blocktiling", 8474.7, (64, 64, 8), (512,), False),
    SgemmRung("sgemm_thread_tiles", "5: 2D Blocktiling", 15971.7, (128, 128, 8), (256,), False),
    SgemmRung(
        "sgemm_vectorised", "6: Vectorized Mem Access", 18237.3, (128, 128, 8), (256,), False
    ),
)
"""In the order of the ladder, each faster than the one before."""
