"""What is wrong with images: constant ones, copies in both parts of the split, labels that lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minialex.data import Dataset
from minialex.kfold.identical_images import same_content

LEVELS = 127.5
"""Levels of brightness between 0 and 1 of an image that goes from -1 to 1."""
GRID = 8
"""Images are compared at this many pixels in height and width."""

Images = npt.NDArray[np.float32]
Levels = npt.NDArray[np.float64]


def levels_spanned(images: Images) -> Levels:
    """Return how many of 255 levels the pixels of each image span, in its widest channel, (N,).

    Parameters
    ----------
    images : (N, 3, H, W) float32, from -1 to 1
    """
    span: Levels = (images.max(axis=(2, 3)) - images.min(axis=(2, 3))).astype(np.float64)
    return np.asarray(LEVELS * span.max(axis=1))


def copies_in_both(train: Dataset, val: Dataset) -> list[tuple[str, str]]:
    """Return the validation images whose files are, byte for byte, files of training images too.

    Each stands beside one of those. The built-in digits have no files: of them there are none.
    """
    files = [(part.name(i), n) for n, part in enumerate((train, val)) for i in range(len(part))]
    pairs = []
    for group in same_content(files):
        trained_on = [path for path, part in group if part == 0]
        pairs += [(path, trained_on[0]) for path, part in group if part == 1 and trained_on]
    return sorted(pairs)


def neighbours_agree(images: Images, targets: npt.NDArray[np.int64]) -> tuple[int, float]:
    """Count the images whose nearest other image has the same label, and what chance would give.

    Nearest in brightness and colour, at 8 x 8 pixels. By chance it is the sum over classes of
    n (n - 1) / (N - 1).

    Parameters
    ----------
    images : (N, 3, H, W) float32
    targets : (N,) int64
    """
    N = len(images)
    x = _pooled(images).reshape(N, -1)
    squares = np.square(x).sum(axis=1)
    distances = squares[:, None] - 2 * x @ x.T + squares
    np.fill_diagonal(distances, np.inf)
    agree = int((targets[distances.argmin(axis=1)] == targets).sum())
    counts = np.bincount(targets)
    return agree, float((counts * (counts - 1)).sum() / max(1, N - 1))


def _pooled(images: Images) -> npt.NDArray[np.float64]:
    """Return the means of a grid of cells as even as the pixels allow, (N, 3, cells, cells)."""
    x: npt.NDArray[Any] = images
    for axis in (2, 3):
        edges = np.unique(np.linspace(0, x.shape[axis], GRID + 1).astype(int))
        sums = np.add.reduceat(x, edges[:-1], axis=axis, dtype=np.float64)
        sizes = np.diff(edges).reshape((-1, 1) if axis == 2 else (-1,))
        x = sums / sizes
    return x


def unlikely(successes: int, trials: int, chance: float) -> float:
    """Return how many standard deviations so many successes lie above what chance gives.

    Half a success is taken off, as is usual where counts are compared with a normal distribution.
    """
    spread = (trials * chance * (1 - chance)) ** 0.5
    return (successes - 0.5 - trials * chance) / spread if spread else 0.0


def exchange(
    predicted: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64] | None:
    """Return as which class each class is mostly predicted, (C,), if these are all different.

    None if two classes are predicted as the same, or a class has no image here.
    """
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (targets, predicted), 1)
    if (confusion.sum(axis=1) == 0).any():
        return None
    as_class = confusion.argmax(axis=1)
    return as_class if len(set(as_class.tolist())) == classes else None
