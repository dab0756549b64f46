"""Stratified split: both parts have the same proportion of each class.

Only labels are read, never images. scikit-learn's `train_test_split` is not used: at 10 % it leaves
a class of 2 beside one of 100 without a validation image, and refuses ten classes of 2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minialex.data.datasets import Dataset, Indices, Subset
from minialex.data.seeded import SPLIT, permutation
from minialex.errors import MinialexError
from minialex.wording import enumerated


def split(dataset: Dataset, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Split a data set in two, stratified by class.

    Parameters
    ----------
    dataset : Dataset
    fraction : float
        The fraction of each class, in (0, 1), that goes to the second part. Both parts get at
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
    second_counts = np.clip(np.rint(fraction * counts), 1, counts - 1)
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels]
    second = rank < second_counts[labels]
    return (
        Subset(dataset, np.sort(shuffled[~second])),
        Subset(dataset, np.sort(shuffled[second])),
    )


def _by_class(targets: npt.ArrayLike, seed: int) -> tuple[Indices, Indices]:
    """Return the indices shuffled and then sorted by class, and the classes in that order."""
    labels = np.asarray(targets, np.int64)
    shuffled = permutation(seed, SPLIT, 0, len(labels))
    shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return shuffled, labels[shuffled]
