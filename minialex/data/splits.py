"""Stratified parts of a data set: every class keeps its share in every part.

Only labels are looked at, never images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from minialex.data.datasets import Dataset, Indices, Subset
from minialex.data.listing import enumerated
from minialex.data.seeded import SPLIT, permutation
from minialex.errors import MinialexError


def split(dataset: Dataset, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Split a data set in two, class by class.

    Parameters
    ----------
    dataset : Dataset
    fraction : float
        The share of each class, in (0, 1), that goes to the second part. Both parts get at
        least one image of every class.
    seed : int
        The same seed gives the same split.

    Raises
    ------
    ValueError
        If `fraction` is not between 0 and 1.
    MinialexError
        If a class has a single image.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"split: fraction must lie between 0 and 1, got {fraction}")
    shuffled, labels = _by_class(dataset.targets, seed)
    counts = np.bincount(labels, minlength=len(dataset.classes))
    single = [repr(dataset.classes[c]) for c in np.flatnonzero(counts == 1)]
    if single:
        raise MinialexError(
            f"only one image of class {enumerated(single)}: a split needs two or more; "
            "add images, or give a train and a val folder"
        )
    held_out = np.clip(np.rint(fraction * counts), 1, counts - 1)
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels]
    second = rank < held_out[labels]
    return (
        Subset(dataset, np.sort(shuffled[~second])),
        Subset(dataset, np.sort(shuffled[second])),
    )


def folds(
    targets: npt.ArrayLike, k: int, seed: int, classes: Sequence[str] | None = None
) -> list[tuple[Indices, Indices]]:
    """Return `k` stratified folds, each a pair of training and held-out indices.

    Every index is held out in exactly one fold. Fold sizes, and the counts of each class in
    them, differ by at most one.

    Parameters
    ----------
    targets : (N,) integers
        The class of each image.
    k : int
        At least 2.
    seed : int
        The same seed gives the same folds.
    classes : sequence of str, optional
        Names for errors; the class numbers without it.

    Raises
    ------
    ValueError
        If `k` is below 2.
    MinialexError
        If a class has fewer images than there are folds.
    """
    if k < 2:
        raise ValueError(f"folds: k must be at least 2, got {k}")
    shuffled, labels = _by_class(targets, seed)
    _check_enough(labels, k, classes)
    # Dealt like cards from a pack sorted by class: every class, and the whole, spreads evenly.
    fold = np.empty(len(labels), np.int64)
    fold[shuffled] = np.arange(len(labels)) % k
    return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)]


def _by_class(targets: npt.ArrayLike, seed: int) -> tuple[Indices, Indices]:
    """Return the indices shuffled and then sorted by class, and the classes in that order."""
    labels = np.asarray(targets, np.int64)
    shuffled = permutation(seed, SPLIT, 0, len(labels))
    shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return shuffled, labels[shuffled]


def _check_enough(labels: Indices, k: int, classes: Sequence[str] | None) -> None:
    present, counts = np.unique(labels, return_counts=True)
    names = [repr(classes[c]) if classes else str(c) for c in present]
    few = [f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < k]
    if few:
        raise MinialexError(
            f"too few images for {k} folds in class {enumerated(few)}: "
            f"add images or take at most {max(int(counts.min()), 1)} folds"
        )
