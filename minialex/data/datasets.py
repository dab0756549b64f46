"""Labelled images: what a data set is, a folder of them, and a part of one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from minialex.data.decode import Picture, open_picture
from minialex.errors import MinialexError

Indices: TypeAlias = npt.NDArray[np.int64]

SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip


class Dataset(Protocol):
    """Labelled images that can be loaded one by one, from several threads at once.

    Attributes
    ----------
    classes : list of str
        The name of each class.
    targets : (N,) int64
        The class of each image, an index into `classes`.
    """

    classes: list[str]
    targets: Indices

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def load(self, index: int) -> Picture:
        """Return image `index`; raise BadImageError if it cannot be read."""
        ...

    def name(self, index: int) -> str:
        """Return what to call image `index` in messages."""
        ...


class Subset:
    """The images of `dataset` that `indices` choose, in that order; every class is kept.

    Parameters
    ----------
    dataset : Dataset
    indices : (M,) integers
    """

    def __init__(self, dataset: Dataset, indices: npt.ArrayLike) -> None:
        self.dataset = dataset
        self.indices: Indices = np.asarray(indices, np.int64)
        self.classes = dataset.classes
        self.targets: Indices = dataset.targets[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def load(self, index: int) -> Picture:
        """Return image `index` of the subset."""
        return self.dataset.load(int(self.indices[index]))

    def name(self, index: int) -> str:
        """Return the name of image `index` of the subset."""
        return self.dataset.name(int(self.indices[index]))


class ImageFolder:
    """One folder a class: ``ROOT/<class>/*``.

    Classes are numbered in the order of their names. Images may lie deeper; their order is
    that of their paths. Hidden files and folders, and files that are not named as images, are
    passed over.

    Parameters
    ----------
    root : str or path
        The folder.

    Attributes
    ----------
    root : Path
        The folder.
    paths : list of str
        The file of each image.

    Raises
    ------
    MinialexError
        If the folder is missing, has no class folders, or a class has no images.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.classes = class_names(self.root)
        found = [sorted(image_files(self.root / name)) for name in self.classes]
        _check_filled(self.root, self.classes, found)
        self.paths = [path for paths in found for path in paths]
        self.targets: Indices = np.repeat(
            np.arange(len(found)), np.array([len(paths) for paths in found])
        )

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> Picture:
        """Open image `index`."""
        return open_picture(self.paths[index])

    def name(self, index: int) -> str:
        """Return the path of image `index`."""
        return self.paths[index]


def subfolders(root: Path) -> list[str]:
    """Return the names of the folders in `root` that are not hidden, sorted.

    Raises
    ------
    MinialexError
        If `root` is missing, is no folder, or cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not _hidden(e.name))
    except FileNotFoundError:
        raise MinialexError(f"no folder {root}: check the path") from None
    except NotADirectoryError:
        raise MinialexError(f"{root} is a file: give a folder that holds class folders") from None
    except OSError as error:
        raise MinialexError(f"cannot read folder {root}: {error.strerror}") from error


def class_names(root: Path) -> list[str]:
    """Return the class folders of `root`, sorted.

    Raises
    ------
    MinialexError
        If there are none.
    """
    names = subfolders(root)
    if not names:
        raise MinialexError(
            f"no class folders in {root}: put the images of each class into a folder of its own, "
            f"{root}/<class>/*.jpg"
        )
    return names


def enumerated(names: Sequence[str], most: int = 8) -> str:
    """Return `names` with commas between, those beyond `most` as a count."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _check_filled(root: Path, classes: list[str], found: list[list[str]]) -> None:
    empty = [str(root / name) for name, paths in zip(classes, found, strict=True) if not paths]
    if empty:
        raise MinialexError(
            f"no images in class folder {enumerated(empty)}: add images "
            f"({' '.join(SUFFIXES)}) or remove the folder"
        )


def image_files(folder: Path) -> Iterator[str]:
    """Yield the image files in `folder` and below, in no order, hidden ones left out."""
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(where)
        # A link to a folder above it would be followed again and again.
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not _hidden(name)]
        for name in files:
            if name.lower().endswith(SUFFIXES) and not _hidden(name):
                yield os.path.join(where, name)


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _unreadable(error: OSError) -> None:
    raise MinialexError(f"cannot read folder {error.filename}: {error.strerror}") from error
