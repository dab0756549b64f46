"""The images to evaluate a trained network on: validation images, a fold, or another folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from minialex.data import (
    Dataset,
    Digits,
    Subset,
    UnreadableImage,
    drop_unreadable,
    split,
)
from minialex.data.fingerprint import Fingerprint, fingerprint, replaced_classes, split_difference
from minialex.data.folders import find_dataset_folders, folder_notes
from minialex.data.packed import open_class_folders
from minialex.errors import MinialexError
from minialex.kfold.fold_images import divide
from minialex.persistence import Trained
from minialex.train.factory import (
    SPLIT_SEED,
    MessageCallback,
    ProgressCallback,
    check_data_is_there,
)
from minialex.train.settings import DIGITS
from minialex.wording import counted, enumerated


@dataclass(frozen=True)
class EvaluationSet:
    """Images to evaluate a network on.

    Attributes
    ----------
    dataset : Dataset
    description : str
        Which images these are: ``validation images of photos``.
    skipped : tuple of UnreadableImage
        Images that were left out because they cannot be read.
    """

    dataset: Dataset
    description: str
    skipped: tuple[UnreadableImage, ...] = ()


def evaluation_set(
    trained: Trained,
    data: str | None = None,
    *,
    everything: bool = False,
    skip_unreadable: bool = False,
    progress: ProgressCallback | None = None,
    tell: MessageCallback | None = None,
) -> EvaluationSet:
    """Return images that the network has not been trained on, as far as can be known.

    Of a folder with a validation folder these are the images in that. Of the images that the
    network was trained on, if they were split, these are the validation images, or those of its
    fold. Of other folders these are all images.

    Parameters
    ----------
    trained : Trained
    data : str, optional
        A folder of images, or "digits"; without it what the network was trained on.
    everything : bool
        Take all images of the folder instead, but for those in a folder beside ``val``.
    skip_unreadable : bool
        Leave out images that cannot be read.
    progress : callable, optional
        Called with the number of images checked so far and in all.
    tell : callable, optional
        Called with a sentence about each kind of file that is ignored.

    Raises
    ------
    MinialexError
        If the folder is not as it must be, or its classes are not those of the network.
    """
    if data is None:
        if not trained.split:
            raise MinialexError(
                f"{trained.path} does not say which images it was trained on: name some as DATA"
            )
        data = trained.settings.data
        check_data_is_there(trained.settings, "name the folder where they are now as DATA")
    dataset, description = _open(trained, data, everything, tell or _tell_nobody)
    if not skip_unreadable:
        return EvaluationSet(dataset, description)
    dataset, unreadable = drop_unreadable(dataset, progress=progress)
    return EvaluationSet(dataset, description, tuple(unreadable))


def _tell_nobody(sentence: str) -> None:
    pass


def _open(
    trained: Trained, data: str, everything: bool, tell: MessageCallback
) -> tuple[Dataset, str]:
    """Return the images of `data` to evaluate on, and a description of them."""
    images: Dataset
    val = None
    if data == DIGITS:
        images = Digits()
    else:
        found = find_dataset_folders(data)
        chosen = list(trained.classes) if trained.settings.classes else None
        # the val beside a fold's images was no part of the cross-validation
        val = None if trained.fold and _same_data(data, trained.settings.data) else found.val
        images = open_class_folders(val or found.train, chosen)
        for line in folder_notes([images]):
            tell(line)
    check_classes(trained, images)
    same_place = _same_data(data, trained.settings.data)
    if val:
        if same_place:
            now = fingerprint(val=images)
            change = split_difference(trained.split, now, trained.classes)
            _tell_change(trained, now, change, tell)
        return images, f"images of {val}"
    if not everything and (parts := _split_again(trained, images)):
        now = fingerprint(train=parts[0], val=parts[1])
        change = split_difference(trained.split, now, trained.classes)
        if not change:
            _tell_change(trained, now, "", tell)
            return parts[1], _description(trained, data)
        if same_place:
            raise MinialexError(
                f"the images in {data} are not those that {trained.path} was trained on "
                f"({change}), and which of them it has not seen is not known: restore them, name "
                "another folder, or give --all"
            )
    return images, f"all images of {data}"


def _tell_change(trained: Trained, now: Fingerprint, change: str, tell: MessageCallback) -> None:
    """Tell the user how images differ from those of training, if they do."""
    replaced = replaced_classes(trained.split, now, trained.classes)
    if not change and replaced:
        names = enumerated([repr(name) for name in replaced])
        change = f"files of class {names} have other sizes"
    if change:
        tell(f"the images changed since the network was trained: {change}")


def _split_again(trained: Trained, images: Dataset) -> tuple[Dataset, Dataset] | None:
    """Return the parts into which training split these images, if they are those; else None."""
    settings = trained.settings
    if not trained.split:
        return None
    try:
        if trained.fold is None:
            return split(images, settings.val_fraction, SPLIT_SEED)
        if settings.skip_unreadable:
            # the folds were made of the rest
            images, _ = drop_unreadable(images)
        fold, k = trained.fold
        return divide(images, k, settings.seed)[fold - 1]
    except MinialexError:
        # a class has too few images: others, then
        return Subset(images, ()), images


def _description(trained: Trained, data: str) -> str:
    if trained.fold is None:
        return f"validation images of {data}"
    fold, k = trained.fold
    return f"images of fold {fold} of {k} of {data}"


def _same_data(data: str, other: str) -> bool:
    if DIGITS in (data, other):
        return data == other
    return Path(data).resolve() == Path(other).resolve()


def check_classes(trained: Trained, dataset: Dataset) -> None:
    """Raise MinialexError unless a data set has the classes of the network, in the same order."""
    theirs, ours = list(trained.classes), dataset.classes
    if not theirs and len(ours) != trained.model.num_classes:
        classes = counted(trained.model.num_classes, "class")
        raise MinialexError(
            f"{trained.path} has {classes}, but the images have {len(ours):,}: "
            "choose other images, or train its last layer anew"
        )
    if not theirs or theirs == ours:
        return
    only_theirs = [name for name in theirs if name not in ours]
    only_ours = [name for name in ours if name not in theirs]
    differences = [
        f"only {where}: {enumerated(names)}"
        for where, names in (("the network knows", only_theirs), ("the images show", only_ours))
        if names
    ]
    raise MinialexError(
        f"the images' classes are not those of {trained.path} "
        f"({'; '.join(differences) or 'they are in another order'}): "
        "give images of the same classes"
    )
