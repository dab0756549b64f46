"""Labelled images: the base of data sets, a subset, and a folder with one sub-folder per class."""

from __future__ import annotations

import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from minialex.data.decode import LazyImage, open_image
from minialex.data.listing import (
    IgnoredFiles,
    image_files,
    image_names,
    list_folder,
)
from minialex.data.resample import Box, Pixels
from minialex.errors import MinialexError
from minialex.wording import counted, enumerated, one_line, unknown

Indices: TypeAlias = npt.NDArray[np.int64]


class Picture(Protocol):
    """An image of a data set.

    Attributes
    ----------
    size : tuple of int
        Width and height in pixels, upright.
    """

    size: tuple[int, int]

    def pixels(self) -> Pixels:
        """Return the whole image as (H, W, 3) uint8."""

    def resized_crop(self, box: Box, size: int) -> Pixels:
        """Return the crop `box`, resized to (size, size, 3) uint8."""

    def verify(self) -> None:
        """Read the image to its end; raise UnreadableImageError if it is damaged."""


class Dataset(ABC):
    """Labelled images that can be loaded one by one, from several threads at once.

    ``dataset[i]`` is a pair of image i, upright RGB of (H, W, 3) uint8, and its class.

    Attributes
    ----------
    classes : list of str
        The name of each class.
    targets : (N,) int64
        The class of each image, an index into `classes`.
    in_memory : bool
        Whether the pixels of all images are there already, as those of a pack are.
    """

    in_memory = False
    classes: list[str]
    targets: Indices

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.targets)

    @abstractmethod
    def load(self, index: int) -> Picture:
        """Return image `index`; raise UnreadableImageError if it cannot be read."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the name of image `index` for messages."""

    def identity(self, index: int) -> tuple[str, int]:
        """Return what tells image `index` from others wherever the data lie: a name and a size.

        The size is that of its file in bytes, 0 where there is no file.
        """
        return self.name(index), 0

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        N = len(self)
        position = operator.index(index)
        if not -N <= position < N:
            raise IndexError(
                f"there is no image {position}: the data set has {counted(N, 'image')}"
            )
        position %= N
        return self.load(position).pixels(), int(self.targets[position])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._content()})"

    def _content(self) -> str:
        names = enumerated(list(map(one_line, self.classes)))
        classes = counted(len(self.classes), "class")
        return f"{counted(len(self), 'image')} of {classes}: {names}"


class Subset(Dataset):
    """The images of `dataset` at `indices`, in that order; all classes are kept.

    Parameters
    ----------
    dataset : Dataset
    indices : (M,) integers
    """

    def __init__(self, dataset: Dataset, indices: npt.ArrayLike) -> None:
        self.dataset = dataset
        self.indices: Indices = np.asarray(indices, np.int64)
        self.classes = dataset.classes
        self.in_memory = dataset.in_memory
        self.targets: Indices = dataset.targets[self.indices]

    def load(self, index: int) -> Picture:
        """Return image `index` of the subset."""
        return self.dataset.load(int(self.indices[index]))

    def name(self, index: int) -> str:
        """Return the name of image `index` of the subset."""
        return self.dataset.name(int(self.indices[index]))

    def identity(self, index: int) -> tuple[str, int]:
        """Return name and size of image `index` of the subset."""
        return self.dataset.identity(int(self.indices[index]))

    def _content(self) -> str:
        return f"{len(self):,} of {self.dataset!r}"


class ClassFolders(Dataset):
    """Images that lie, or lay before they were packed, in one folder per class.

    Parameters
    ----------
    root : str or path
        The folder, or the pack.

    Attributes
    ----------
    root : Path
    paths : list of str
        The file of each image; in a pack, where it would lie.
    unused_classes : list of str
        Class folders that are not used, because others were chosen.
    stray_images : list of str
        Images that are not used, because they lie beside the class folders.
    ignored : IgnoredFiles
        Files without an image suffix.
    """

    paths: list[str]

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.unused_classes: list[str] = []
        self.stray_images: list[str] = []
        self.ignored = IgnoredFiles()

    def select(self, found: list[str], chosen: Sequence[str] | None) -> None:
        """Use all the classes `found`, or only those `chosen`, which must be among them."""
        self.classes = found if chosen is None else list(chosen)
        _check_there(self.root, self.classes, found)
        self.unused_classes = [name for name in found if name not in self.classes]

    def name(self, index: int) -> str:
        """Return the path of image `index`."""
        return self.paths[index]

    def _content(self) -> str:
        return f"{one_line(str(self.root))}: {super()._content()}"


class ImageFolder(ClassFolders):
    """One folder per class: ``ROOT/<class>/*``.

    Classes are numbered in the order of their names. Images may lie deeper; they are sorted by
    path. Hidden files and folders, and system folders (``__MACOSX``, ``@eaDir``), are skipped.

    Parameters
    ----------
    root : str or path
        The folder.
    classes : sequence of str, optional
        Use these class folders alone, numbered in this order.

    Raises
    ------
    MinialexError
        If the folder is missing, has no class folders, or a class has no images, or a name that
        is not UTF-8.
    """

    def __init__(self, root: str | os.PathLike[str], classes: Sequence[str] | None = None) -> None:
        super().__init__(root)
        folders, files = list_folder(self.root)
        self.select(folders, classes)
        self.stray_images = [str(self.root / name) for name in image_names(files)]
        if not self.classes:
            raise _no_classes(self.root, holds_images=bool(self.stray_images))
        _check_names(self.root, self.classes)
        others = [IgnoredFiles() for _ in self.classes]
        found = [
            sorted(image_files(self.root / name, other))
            for name, other in zip(self.classes, others, strict=True)
        ]
        _check_filled(self.root, self.classes, found, others)
        self.ignored.count_names(self.root, set(files).difference(image_names(files)))
        for other in others:
            self.ignored.add(other)
        self.paths = [path for paths in found for path in paths]
        # of "photos/cat/1.jpg" that is "cat/1.jpg"
        self._prefix = len(str(self.root / "x")) - 1
        self.targets: Indices = np.repeat(
            np.arange(len(found)), np.array([len(paths) for paths in found])
        )

    def load(self, index: int) -> LazyImage:
        """Open image `index`."""
        return open_image(self.paths[index])

    def identity(self, index: int) -> tuple[str, int]:
        """Return the path of image `index` in the folder and the size of its file; -1 for none."""
        path = self.paths[index]
        try:
            size = os.stat(path).st_size
        except OSError:
            size = -1
        return path[self._prefix :], size


def _check_there(root: Path, classes: Sequence[str], found: list[str]) -> None:
    if missing := [name for name in classes if name not in found]:
        raise MinialexError(
            f"{root} has no {unknown('class folder', missing[0], found).removeprefix('unknown ')}"
        )


def _check_names(root: Path, classes: list[str]) -> None:
    """Refuse class names that are no text: neither JSON nor a plot can hold them."""
    for name in classes:
        if any("\udc80" <= c <= "\udcff" for c in name):
            shown = repr(os.fsencode(name))[2:-1]
            raise MinialexError(f"the name of class folder {root}/{shown} is not UTF-8: rename it")


def _no_classes(root: Path, *, holds_images: bool) -> MinialexError:
    above = root.absolute().parent
    hint = f"; if {root} is a class itself, give {above}" if holds_images else ""
    return MinialexError(
        f"no class folders in {root}: put the images of each class into a folder of its own, "
        f"{root}/<class>/*.jpg{hint}"
    )


def _check_filled(
    root: Path, classes: list[str], found: list[list[str]], others: list[IgnoredFiles]
) -> None:
    empty, ignored = [], IgnoredFiles()
    for name, paths, other in zip(classes, found, others, strict=True):
        if not paths:
            empty.append(f"{root / name} ({other})" if other.counts else str(root / name))
            ignored.add(other)
    if empty:
        hint = ignored.hint() or "add images (.jpg, .png, ...)"
        raise MinialexError(
            f"no images in class folder {enumerated(empty)}: {hint}, or remove the folder"
        )
