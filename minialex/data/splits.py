"""Stratified split: both parts have the same proportion of each class.

Only labels are read, never images. scikit-learn's `train_test_split` is not used: at 10 % it leaves
a class of 2 beside one of 100 without a validation image, and refuses ten classes of 2. Where both
of them have enough, classes have as many validation images as there.
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
        The fraction, in (0, 1), of all images and of each class that goes to the second part.
        Both parts get at least one image of every class; apart from that, each class and the
        whole have within one image what the fraction says.
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
    second_counts = _shares(counts, fraction, seed)
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels]
    second = rank < second_counts[labels]
    return (
        Subset(dataset, np.sort(shuffled[~second])),
        Subset(dataset, np.sort(shuffled[second])),
    )


def _shares(counts: Indices, fraction: float, seed: int) -> Indices:
    """Return how many images of each class make up a fraction of all: the largest remainder method.

    Each class gets the whole number below its share, and what is then missing from the share of
    all images goes to the classes that lost most by that; the seed decides between equals.
    """
    exact = fraction * counts
    shares: Indices = np.clip(np.floor(exact), 1, counts - 1).astype(np.int64)
    lost = np.where(shares < counts - 1, exact - shares, 0)
    # sorted stably: the order in which equals are found is that of the permutation
    order = permutation(seed, SPLIT, 1, len(counts))
    order = order[np.argsort(-np.round(lost[order], 9), kind="stable")]
    missing = max(0, round(fraction * float(counts.sum())) - int(shares.sum()))
    largest = order[:missing]
    shares[largest[lost[largest] > 0]] += 1
    return shares


def _by_class(targets: npt.ArrayLike, seed: int) -> tuple[Indices, Indices]:
    """Return the indices shuffled and then sorted by class, and the classes in that order."""
    labels = np.asarray(targets, np.int64)
    shuffled = permutation(seed, SPLIT, 0, len(labels))
    shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return shuffled, labels[shuffled]
