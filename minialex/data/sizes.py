"""How large the images of a folder are, seen on a sample: no pixel is read, and no list is made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from minialex.data.decode import UnreadableImageError, stored_size
from minialex.data.folders import find_dataset_folders
from minialex.data.listing import IgnoredFiles, image_files, subfolders
from minialex.data.packed import PackedImages, is_pack
from minialex.data.seeded import SAMPLE, permutation

SAMPLE_IMAGES = 200
"""Images that are looked at, at most: the median of so many is near that of all."""

Size = tuple[int, int]


def sample_sizes(root: str | os.PathLike[str], classes: Sequence[str] | None = None) -> list[Size]:
    """Return width and height, as they are stored, of some of the training images of a folder.

    As many of each class, the same ones each time. Those that cannot be read are left out. Of a
    pack, which says how large they are, all.

    Parameters
    ----------
    root : str or path
        See `find_dataset_folders`.
    classes : sequence of str, optional
        Look at these class folders alone.

    Raises
    ------
    MinialexError
        As `find_dataset_folders`, or if a folder cannot be read, or as `PackedImages`.
    """
    train = find_dataset_folders(root).train
    if is_pack(train):
        return PackedImages(train, classes).sizes()
    names = [n for n in subfolders(train) if classes is None or n in classes]
    chosen = [names[i] for i in permutation(0, SAMPLE, 0, len(names))[:SAMPLE_IMAGES]]
    return [size for name in chosen for size in _sizes(train / name, SAMPLE_IMAGES // len(chosen))]


def _sizes(folder: Path, count: int) -> Iterator[Size]:
    paths = sorted(image_files(folder, IgnoredFiles()))
    for i in permutation(0, SAMPLE, 0, len(paths))[:count]:
        try:
            yield stored_size(paths[i])
        except UnreadableImageError:
            # who opens it will say so
            continue
