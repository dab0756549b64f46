"""The images of a cross-validation, and their division into folds."""

from __future__ import annotations

from minialex.data import (
    Dataset,
    Digits,
    ImageFolder,
    Subset,
    UnreadableImage,
    drop_unreadable,
    folds,
)
from minialex.data.folders import check_trainable, find_dataset_folders, folder_notes
from minialex.errors import MinialexError
from minialex.train.report import Reporter
from minialex.train.settings import DIGITS, Settings


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
    folder = ImageFolder(found.train)
    check_trainable(folder)
    unseen = [found.val.name] if found.val else []
    for line in folder_notes([folder], [*unseen, *found.unused]):
        reporter.message(line)
    if not settings.skip_unreadable:
        return folder, []
    return drop_unreadable(folder, progress=reporter.checking)


def divide(dataset: Dataset, k: int, seed: int) -> list[tuple[Subset, Subset]]:
    """Divide images into `k` stratified folds: for each, the training and validation images.

    Raises
    ------
    MinialexError
        If `k` is below 2 or a class has fewer images than there are folds.
    """
    if k < 2:
        raise MinialexError(f"k is {k}: give 2 folds or more")
    indices = folds(dataset.targets, k, seed, dataset.classes)
    return [(Subset(dataset, train), Subset(dataset, val)) for train, val in indices]
