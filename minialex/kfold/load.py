"""Trained networks, read from a file, and the images to judge them on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from minialex import arrays
from minialex.arrays import Device
from minialex.data import (
    Dataset,
    Digits,
    ImageFolder,
    Subset,
    UnreadableImage,
    drop_unreadable,
    folds,
    split,
)
from minialex.data.folders import find_dataset_folders, folder_notes
from minialex.data.listing import enumerated
from minialex.errors import MinialexError
from minialex.models import AlexNet, alexnet
from minialex.train.factory import (
    BEST,
    LAST,
    SPLIT_SEED,
    MessageCallback,
    ProgressCallback,
    move,
)
from minialex.train.settings import DIGITS, Settings
from minialex.weights import Checkpoint, WeightsFile, open_weights
from minialex.weights.pretrained import load_pretrained


@dataclass(frozen=True)
class Trained:
    """A network read from a file.

    Attributes
    ----------
    path : Path
        The file.
    model : AlexNet
        On the device that was asked for, in evaluation mode.
    classes : tuple of str
        The classes' names; empty where the file does not tell.
    settings : Settings
        Those of its run; for weights from elsewhere, the variant's image size and defaults.
    fold : (int, int) or None
        Which fold, from 1, of how many it was not trained on, if it comes from cross-validation.
    """

    path: Path
    model: AlexNet
    classes: tuple[str, ...]
    settings: Settings
    fold: tuple[int, int] | None = None


def load_trained(
    path: str | Path, *, device: str | Device = "auto", variant: str | None = None
) -> Trained:
    """Read a network from a checkpoint, the folder of a run, or a file of pretrained weights.

    Parameters
    ----------
    path : str or Path
        Of a run's folder the best checkpoint is taken.
    device : str or Device
    variant : str, optional
        The network that it must be. Weights from elsewhere do not say; "alexnet" is assumed.

    Raises
    ------
    MinialexError
        If there is no such file, it is damaged, or of another network.
    """
    where, saved = arrays.device(device), open_weights(checkpoint_in(path))
    if not isinstance(saved, Checkpoint):
        return _from_elsewhere(saved, variant or "alexnet", where)
    if variant is not None:
        saved.check_model(variant)
    settings = Settings.from_json(saved.manifest["settings"])
    classes = saved.manifest["classes"]
    model = alexnet(settings.variant, saved.manifest["num_classes"], dropout=settings.dropout)
    saved.load_into(model)
    move(model, where).eval()
    fold = saved.manifest.get("fold")
    return Trained(
        saved.path, model, tuple(classes), settings, (fold[0], fold[1]) if fold else None
    )


def checkpoint_in(path: str | Path) -> Path:
    """Return `path`, or of a run's folder the best checkpoint, or else the last."""
    path = Path(path)
    if not path.is_dir():
        return path
    for name in (BEST, LAST):
        if (path / name).exists():
            return path / name
    raise MinialexError(f"there is no checkpoint in {path}: name the folder of a run, or a file")


def _from_elsewhere(file: WeightsFile, variant: str, where: Device) -> Trained:
    bias = file.parameters.get(f"{alexnet(variant, 1).last_layer}.bias")
    model = alexnet(variant, 1 if bias is None else max(1, int(bias.size)))
    load_pretrained(model, file.parameters)
    move(model, where).eval()
    size = model.variant.image_size
    return Trained(file.path, model, (), Settings(variant=variant, image_size=size))


# What to judge them on ----------------------------------------------------------------------------


@dataclass(frozen=True)
class EvaluationSet:
    """Images to judge a network on.

    Attributes
    ----------
    dataset : Dataset
    what : str
        Which images these are, in words.
    skipped : tuple of UnreadableImage
        Images that were left out because they cannot be read.
    """

    dataset: Dataset
    what: str
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
    network was trained on, where they have none, it is the part that was held out then. Of other
    folders it is all images.

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
        Called with how many images were looked through, and of how many, while doing so.
    tell : callable, optional
        Called with a sentence about each kind of file that is passed over.

    Raises
    ------
    MinialexError
        If the folder is not as it must be, or its classes are not those of the network.
    """
    data = data or trained.settings.data
    dataset, what = _open(trained, data, everything, tell)
    check_classes(trained, dataset)
    if not skip_unreadable:
        return EvaluationSet(dataset, what)
    dataset, bad = drop_unreadable(dataset, progress=progress)
    return EvaluationSet(dataset, what, tuple(bad))


def _open(
    trained: Trained, data: str, everything: bool, tell: MessageCallback | None
) -> tuple[Dataset, str]:
    whole: Dataset
    if data == DIGITS:
        whole = Digits()
    else:
        parts = find_dataset_folders(data)
        whole = ImageFolder(parts.val or parts.train)
        if tell is not None:
            for line in folder_notes([whole]):
                tell(line)
        if parts.val:
            return whole, f"images of {parts.val}"
    if everything or not _same(data, trained.settings.data):
        return whole, f"all images of {data}"
    if trained.fold is None:
        held_out = split(whole, trained.settings.val_fraction, SPLIT_SEED)[1]
        return held_out, f"the held-out images of {data}"
    return _held_out_fold(trained.settings, whole, *trained.fold)


def _held_out_fold(settings: Settings, whole: Dataset, fold: int, k: int) -> tuple[Dataset, str]:
    if settings.skip_unreadable:
        whole, _ = drop_unreadable(whole)
    held_out = folds(whole.targets, k, settings.seed, whole.classes)[fold - 1][1]
    return Subset(whole, held_out), f"the images of fold {fold} of {k} of {settings.data}"


def _same(data: str, other: str) -> bool:
    if DIGITS in (data, other):
        return data == other
    return Path(data).resolve() == Path(other).resolve()


def check_classes(trained: Trained, dataset: Dataset) -> None:
    """Raise MinialexError unless a data set has the classes of the network, in the same order."""
    theirs, ours = list(trained.classes), dataset.classes
    if not theirs and len(ours) != trained.model.num_classes:
        raise MinialexError(
            f"{trained.path} tells {trained.model.num_classes} classes apart, but there are "
            f"{len(ours)} class folders: choose other images, or train its last layer anew"
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
