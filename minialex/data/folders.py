"""The layouts that an image folder may have, and the training and validation set of each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minialex.data.datasets import ClassFolders, Dataset
from minialex.data.listing import (
    IgnoredFiles,
    image_names,
    list_folder,
    subfolders,
)
from minialex.data.packed import is_pack, open_class_folders
from minialex.data.splits import split
from minialex.errors import MinialexError
from minialex.wording import counted, enumerated

TRAIN, VAL, TEST = "train", "val", "test"
ROLES = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VAL),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout"), TEST),
}
"""The split that a folder holds, by its name in lower case."""

_FILLERS = re.compile(r"(dataset|data|set|image|img|split)s?$")

Folders = tuple[ClassFolders] | tuple[ClassFolders, ClassFolders]


@dataclass(frozen=True)
class DatasetFolders:
    """The one or two folders of a data set whose sub-folders are its classes.

    Attributes
    ----------
    train : Path
        The folder of the training images, or of all images.
    val : Path or None
        The folder of the validation images; None where training images are to be split.
    unused : tuple of str
        What else the folder holds.
    """

    train: Path
    val: Path | None = None
    unused: tuple[str, ...] = ()

    def open(self, classes: Sequence[str] | None = None) -> Folders:
        """Open the one or two folders, with all their classes or these alone."""
        train = open_class_folders(self.train, classes)
        return (train,) if self.val is None else (train, open_class_folders(self.val, classes))


def open_folder(
    root: str | os.PathLike[str], val_fraction: float, seed: int
) -> tuple[Dataset, Dataset]:
    """Open a folder of images as a training and a validation set.

    Parameters
    ----------
    root : str or path
        See `find_dataset_folders`. Without a validation folder the images are split.
    val_fraction : float
        The fraction of each class, in (0, 1), that a split puts into the validation set.
    seed : int
        Of the split.

    Raises
    ------
    MinialexError
        If a folder is missing or holds no classes or a single one, a class holds no images, the
        classes of the two folders differ, a class has too few images to be split, or as
        `find_dataset_folders`.
    """
    return train_and_val(find_dataset_folders(root).open(), val_fraction, seed)


def train_and_val(folders: Folders, val_fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return the two folders as they are, or split the one; as `open_folder`."""
    check_trainable(folders[0])
    if len(folders) == 1:
        return split(folders[0], val_fraction, seed)
    check_same_classes(*folders)
    return folders


# Finding the folders ------------------------------------------------------------------------------


def find_dataset_folders(root: str | os.PathLike[str]) -> DatasetFolders:
    """Find the folders whose sub-folders are classes.

    Parameters
    ----------
    root : str or path
        Either holds ``train/<class>/*`` and ``val/<class>/*``, or ``train/<class>/*`` alone, or
        ``<class>/*``. Other spellings are known (`ROLES`; ``Training``, ``test_set``). A ``test``
        folder stands in for one called ``val``. A folder called ``train`` that holds images but
        no folders is a class of that name. A pack stands for the folder that it was made of.

    Raises
    ------
    MinialexError
        If `root` is missing or is no folder; if its folders have names of splits but
        cannot be told to be such; or if the classes lie one level deeper.
    """
    root = Path(root)
    folders, files = list_folder(root)
    if is_pack(root):
        return DatasetFolders(root)
    named = {name: role for name in folders if (role := _role(name))}
    nested = {name: role for name, role in named.items() if _holds_classes(root / name)}
    train, val, test = ([n for n in nested if nested[n] == role] for role in (TRAIN, VAL, TEST))
    if len(train) == len(nested) == 1 < len(folders) and _images_in(root / train[0]):
        train = []
    if not train:
        _refuse_missing_train(root, named, nested)
        _refuse_unknown_split_names(root, folders)
        _refuse_extra_level(root, "give {}")
        return DatasetFolders(root)
    _refuse_flat_val(root, train[0], [n for n in named if n not in nested and named[n] == VAL])
    used = [_only(root, names) for names in (train, val or test) if names]
    for name in used:
        _refuse_extra_level(root / name, "move these up, out of {}")
    flat = [n for n in folders if n in named and n not in nested]
    unused = [f"{n} (no class folders)" if n in flat else n for n in folders if n not in used]
    loose = len(image_names(files))
    return DatasetFolders(
        root / used[0],
        root / used[1] if len(used) == 2 else None,
        (*unused, counted(loose, "image")) if loose else tuple(unused),
    )


def _holds_classes(folder: Path) -> bool:
    return is_pack(folder) or bool(subfolders(folder))


def _only(root: Path, names: Sequence[str]) -> str:
    if len(names) > 1:
        raise MinialexError(
            f"{root} holds {enumerated(names)}, which mean the same: move all but one elsewhere"
        )
    return names[0]


def _role(name: str) -> str | None:
    """Return the split that a folder name stands for: ``training_set``, ``Train2017`` for training.

    A name with any other word in it does not count: ``passenger_train`` is a class.
    """
    words = (_FILLERS.sub("", word) for word in _name_words(name))
    return ROLES.get("".join(words))


def _name_words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name.lower())


def _images_in(folder: Path) -> list[str]:
    return image_names(list_folder(folder)[1])


def _refuse_flat_val(root: Path, train: str, flat: Sequence[str]) -> None:
    """Refuse ``val/*.jpg`` beside ``train/<class>/*``."""
    if flat:
        raise MinialexError(
            f"{root / flat[0]} holds no class folders: sort its images into class folders as in "
            f"{root / train}, or move it elsewhere"
        )


def _refuse_missing_train(root: Path, named: dict[str, str], nested: dict[str, str]) -> None:
    """Refuse ``val/<class>`` without ``train/<class>``, and ``train`` and ``test`` as classes."""
    for name, role in nested.items():
        if role != TRAIN:
            raise MinialexError(
                f"{root / name} holds class folders, but no folder train beside it does: "
                f"add {root}/train/<class>/*, or give {root / name} to use that alone"
            )
    if TRAIN in named.values() and set(named.values()) != {TRAIN}:
        raise MinialexError(
            f"{enumerated(list(named))} in {root} hold no class folders: "
            f"sort their images into {root}/train/<class>/* and {root}/val/<class>/*"
        )


def _refuse_unknown_split_names(root: Path, folders: Sequence[str]) -> None:
    """Refuse ``birds_train/<class>`` beside ``birds_test/<class>``, which look like splits."""
    found: dict[str, str] = {}
    for name in folders:
        roles = {ROLES[word] for word in _name_words(name) if word in ROLES}
        if len(roles) == 1 and subfolders(root / name):
            found[name] = roles.pop()
    if TRAIN in found.values() and set(found.values()) != {TRAIN}:
        raise MinialexError(
            f"{enumerated(list(found))} in {root} look like training and validation images: "
            "call them train and val"
        )


def _refuse_extra_level(root: Path, remedy: str) -> None:
    """Refuse a folder whose only sub-folder holds the classes; the remedy names that."""
    inner = root
    # bounded, since a symbolic link may lead back up
    for _ in range(8):
        deeper = subfolders(inner)
        below, images = list_folder(inner / deeper[0]) if len(deeper) == 1 else ([], [])
        if not below or image_names(images):
            break
        inner = inner / deeper[0]
    if inner != root:
        raise MinialexError(
            f"the only folder in {root} holds folders in turn "
            f"({enumerated(subfolders(inner), 4)}): {remedy.format(inner)}"
        )


# Checking their content ---------------------------------------------------------------------------


def check_trainable(folder: ClassFolders) -> None:
    """Raise MinialexError if there is a single class, or a class folder holds splits."""
    if len(folder.classes) == 1:
        raise MinialexError(
            f"{folder.root} holds one class folder only, {folder.classes[0]}: "
            "training needs two or more"
        )
    for name, inner in _inner_folders(folder).items():
        roles = {role: part for part in sorted(inner) if (role := _role(part))}
        if TRAIN in roles and len(roles) > 1:
            raise MinialexError(
                f"{folder.root / name} holds {enumerated(list(roles.values()))}: give it, if it is "
                f"a data set of its own, or else put the classes inside, {folder.root}/train/{name}"
            )


def folder_notes(folders: Sequence[ClassFolders], unused: Sequence[str] = ()) -> list[str]:
    """Return notes for the user, one line each, on what of the folders is not used.

    Parameters
    ----------
    folders : sequence of ClassFolders
        Those that are used.
    unused : sequence of str
        What else lies beside them: see `DatasetFolders`.
    """
    unused = [*unused, *(f"class {name}" for name in folders[0].unused_classes)]
    lines = [f"not used: {enumerated(unused)}"] if unused else []
    ignored = IgnoredFiles()
    lines += _nesting_notes(folders[0])
    for folder in folders:
        if folder.stray_images:
            lines.append(
                f"ignored {counted(len(folder.stray_images), 'image')} beside the class folders of "
                f"{folder.root}: move them into one"
            )
        ignored.add(folder.ignored)
    return [line for line in (*lines, ignored.summary()) if line]


def _nesting_notes(folder: ClassFolders) -> list[str]:
    """Return a note if the folders inside the class folders may be the real classes."""
    inner = _inner_folders(folder)
    if any("" in names or len(names) == 1 for names in inner.values()):
        return []
    alike = len(set(map(frozenset, inner.values()))) == 1
    remedy = f"give {folder.root / folder.classes[0]}" if alike else f"move them to {folder.root}"
    names = enumerated(sorted(set().union(*inner.values())), 4)
    return [f"the class folders hold no images but folders ({names}): if these are meant, {remedy}"]


def _inner_folders(folder: ClassFolders) -> dict[str, set[str]]:
    """Return for each class the folders in it that hold images; "" for the class folder itself."""
    inner: dict[str, set[str]] = {}
    for where in {os.path.dirname(path) for path in folder.paths}:
        name, *deeper = Path(where).relative_to(folder.root).parts
        inner.setdefault(name, set()).add(deeper[0] if deeper else "")
    return inner


def check_same_classes(train: ClassFolders, val: ClassFolders) -> None:
    """Raise MinialexError if two folders do not have the same classes."""
    differences = [
        f"only in {folder.root.name}: {enumerated(extra)}"
        for folder, other in ((train, val), (val, train))
        if (extra := [name for name in folder.classes if name not in other.classes])
    ]
    if differences:
        raise MinialexError(
            f"classes differ between {train.root} and {val.root}: {'; '.join(differences)}; "
            f"give both the same class folders, or move {val.root.name} elsewhere"
        )
