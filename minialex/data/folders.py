"""The layouts of a folder of images, and how each becomes a training and a validation set."""

from __future__ import annotations

import os
from pathlib import Path

from minialex.data.datasets import Dataset, ImageFolder, enumerated, subfolders
from minialex.data.splits import split
from minialex.errors import MinialexError

TRAIN = "train"
HELD_OUT = ("val", "valid", "validation", "test")


def open_folder(
    root: str | os.PathLike[str], val_fraction: float, seed: int
) -> tuple[Dataset, Dataset]:
    """Open a folder of images as a training and a validation set.

    Parameters
    ----------
    root : str or path
        Either holds ``train/<class>/*`` and ``val/<class>/*`` (or ``valid``, ``validation``,
        ``test``: the first of these that is there), or ``train/<class>/*`` alone, or
        ``<class>/*``. Without a validation folder the images are split.
    val_fraction : float
        The share of each class, in (0, 1), that a split holds out.
    seed : int
        Decides the split.

    Raises
    ------
    MinialexError
        If a folder is missing or holds no classes, a class holds no images, the classes of the
        two folders differ, or a class has too few images to be split.
    """
    parts = find_parts(root)
    if len(parts) == 1:
        return split(ImageFolder(parts[0]), val_fraction, seed)
    train, val = ImageFolder(parts[0]), ImageFolder(parts[1])
    _check_same_classes(train, val)
    return train, val


def find_parts(root: str | os.PathLike[str]) -> tuple[Path] | tuple[Path, Path]:
    """Return the folders whose sub-folders are classes: the training and validation folder, or one.

    A folder called ``train`` that holds images but no folders is a class of that name.

    Raises
    ------
    MinialexError
        If `root` is missing or is no folder.
    """
    root = Path(root)
    names = subfolders(root)
    if TRAIN not in names or not subfolders(root / TRAIN):
        return (root,)
    held_out = [root / name for name in HELD_OUT if name in names]
    return (root / TRAIN, held_out[0]) if held_out else (root / TRAIN,)


def _check_same_classes(train: ImageFolder, val: ImageFolder) -> None:
    differences = [
        f"only in {folder.root.name}: {enumerated(extra)}"
        for folder, other in ((train, val), (val, train))
        if (extra := [name for name in folder.classes if name not in other.classes])
    ]
    if differences:
        raise MinialexError(
            f"classes differ between {train.root} and {val.root}: {'; '.join(differences)}; "
            "give both the same class folders"
        )
