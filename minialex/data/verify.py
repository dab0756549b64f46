"""Finding the images of a data set that cannot be read, before training meets them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from minialex.cpu.threads import cores
from minialex.data.datasets import Dataset, Subset
from minialex.data.decode import BadImageError
from minialex.data.listing import enumerated
from minialex.errors import MinialexError

# Images handed to the threads at a time; progress is told after each lot.
LOT = 64


@dataclass(frozen=True)
class UnreadableImage:
    """An image that cannot be read: its `index` in the data set, `name`, and the `reason`."""

    index: int
    name: str
    reason: str


def find_bad(
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
    bad: list[UnreadableImage] = []
    with ThreadPoolExecutor(cores(), "minialex-verify") as pool:
        for start in range(0, total, LOT):
            lot = range(start, min(start + LOT, total))
            bad += [found for found in pool.map(lambda i: _try(dataset, i), lot) if found]
            if progress:
                progress(lot.stop, total)
    return bad


def drop_unreadable(
    dataset: Dataset, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Dataset, list[UnreadableImage]]:
    """Return `dataset` without the images that cannot be read, and the list of those.

    Raises
    ------
    MinialexError
        If no image of some class can be read.
    """
    bad = find_bad(dataset, progress=progress)
    if not bad:
        return dataset, bad
    good = Subset(dataset, np.setdiff1d(np.arange(len(dataset)), [b.index for b in bad]))
    lost = np.setdiff1d(dataset.targets, good.targets)
    if len(lost):
        names = [repr(dataset.classes[c]) for c in lost]
        raise MinialexError(
            f"no readable image of class {enumerated(names)} "
            f"({bad[0].name}: {bad[0].reason}); replace the files or remove the folder"
        )
    return good, bad


def _try(dataset: Dataset, index: int) -> UnreadableImage | None:
    try:
        picture = dataset.load(index)
        # A view of one pixel reads the whole file and decodes as little as the format allows.
        picture.view((0, 0, *picture.size), 1)
    except BadImageError as error:
        return UnreadableImage(index, error.name, error.reason)
    return None
