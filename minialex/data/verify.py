"""Finding the images of a data set that cannot be read, before training fails on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from minialex.cpu.threads import cores
from minialex.data.datasets import Dataset, Indices, Subset
from minialex.data.decode import UnreadableImageError
from minialex.errors import MinialexError
from minialex.wording import enumerated

PROGRESS_IMAGES = 64
"""Images checked between two calls of a progress callback."""


@dataclass(frozen=True)
class UnreadableImage:
    """An image that cannot be read: its `index` in the data set, `name`, and the `reason`."""

    index: int
    name: str
    reason: str


def find_unreadable(
    dataset: Dataset, *, progress: Callable[[int, int], None] | None = None
) -> list[UnreadableImage]:
    """Read every image of `dataset` to its end, on all cores, and return those that fail.

    Parameters
    ----------
    dataset : Dataset
    progress : callable, optional
        Called with the number of images read so far and in all.

    Returns
    -------
    list of UnreadableImage
        In order of index.
    """
    total = len(dataset)
    unreadable: list[UnreadableImage] = []
    with ThreadPoolExecutor(cores(), "minialex-verify") as pool:
        for start in range(0, total, PROGRESS_IMAGES):
            indices = range(start, min(start + PROGRESS_IMAGES, total))
            unreadable += [x for x in pool.map(lambda i: _check(dataset, i), indices) if x]
            if progress:
                progress(indices.stop, total)
    return unreadable


def drop_unreadable(
    dataset: Dataset, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Dataset, list[UnreadableImage]]:
    """Return `dataset` without the images that cannot be read, and the list of those.

    Raises
    ------
    MinialexError
        If no image of some class can be read.
    """
    unreadable = find_unreadable(dataset, progress=progress)
    if not unreadable:
        return dataset, unreadable
    indices = np.setdiff1d(np.arange(len(dataset)), [image.index for image in unreadable])
    readable = Subset(dataset, indices)
    check_classes_left(dataset, readable.targets, unreadable)
    return readable, unreadable


def check_classes_left(
    dataset: Dataset, left: Indices, unreadable: Sequence[UnreadableImage]
) -> None:
    """Raise MinialexError if no image of some class is left, now that the unreadable ones are not.

    Parameters
    ----------
    dataset : Dataset
        With all its images.
    left : (M,) int64
        The classes of those that can be read.
    unreadable : sequence of UnreadableImage
    """
    empty = np.setdiff1d(dataset.targets, left)
    if len(empty):
        first, names = unreadable[0], [repr(dataset.classes[c]) for c in empty]
        raise MinialexError(
            f"no readable image of class {enumerated(names)} "
            f"({first.name}: {first.reason}); replace the files or remove the folder"
        )


def _check(dataset: Dataset, index: int) -> UnreadableImage | None:
    try:
        dataset.load(index).verify()
    except UnreadableImageError as error:
        return UnreadableImage(index, error.name, error.reason)
    return None
