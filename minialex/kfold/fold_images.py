"""The images of a cross-validation, and their division into folds."""

from __future__ import annotations

import numpy as np

from minialex.data import (
    Dataset,
    Digits,
    Subset,
    UnreadableImage,
    drop_unreadable,
)
from minialex.data.folders import check_trainable, find_dataset_folders, folder_notes
from minialex.data.packed import open_class_folders
from minialex.errors import MinialexError
from minialex.train.factory import chosen_classes
from minialex.train.report import Reporter
from minialex.train.settings import DIGITS, Settings
from minialex.wording import counted, enumerated


def open_images(
    settings: Settings, reporter: Reporter | None = None
) -> tuple[Dataset, list[UnreadableImage]]:
    """Return the images to divide into folds, and those left out because they are unreadable.

    Of a folder with ``train`` and ``val`` these are the images in ``train``, so that those in
    ``val`` remain unseen; of other folders, and of the digits, they are all images. The reporter
    is told what is not used, and how many images were checked.
    """
    if settings.data == DIGITS:
        return Digits(), []
    reporter, found = reporter or Reporter(), find_dataset_folders(settings.data)
    folder = open_class_folders(found.train, chosen_classes(settings))
    check_trainable(folder)
    unseen = [found.val.name] if found.val else []
    for line in folder_notes([folder], [*unseen, *found.unused]):
        reporter.message(line)
    if not settings.skip_unreadable:
        return folder, []
    return drop_unreadable(folder, progress=reporter.checking)


def divide(dataset: Dataset, k: int, seed: int) -> list[tuple[Subset, Subset]]:
    """Divide images into `k` stratified folds: for each, the training and validation images.

    They are those of scikit-learn's ``StratifiedKFold(k, shuffle=True, random_state=seed)``, whose
    seeds end at 2^32 - 1; a larger one is given to NumPy's `RandomState` as its two halves. Every
    image is validated on in exactly one fold, and the counts of a class in the folds differ by one
    at most.

    Parameters
    ----------
    dataset : Dataset
    k : int
        At least 2.
    seed : int
        From 0 to 2^64 - 1.

    Raises
    ------
    MinialexError
        If `k` is below 2 or a class has fewer images than there are folds.
    """
    if k < 2:
        raise MinialexError(f"k is {k}: give 2 folds or more")
    _check_enough(dataset, k)
    from sklearn.model_selection import StratifiedKFold  # 1 s to import

    high, low = divmod(seed, 1 << 32)
    state = np.random.RandomState([low, high]) if high else low
    stratified = StratifiedKFold(k, shuffle=True, random_state=state)
    indices = stratified.split(dataset.targets, dataset.targets)
    return [(Subset(dataset, train), Subset(dataset, val)) for train, val in indices]


def _check_enough(dataset: Dataset, k: int) -> None:
    counts = np.bincount(dataset.targets, minlength=len(dataset.classes))
    few = [
        f"{name!r} has {counted(n, 'image')}"
        for name, n in zip(dataset.classes, counts.tolist(), strict=True)
        if n < k
    ]
    if few:
        least = counts.min()
        remedy = f"give --folds {least}, or more images" if least > 1 else "add images"
        raise MinialexError(f"class {enumerated(few)}, fewer than {k} folds: {remedy}")
