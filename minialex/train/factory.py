"""From settings to what they describe: images, network, optimizer, schedule."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from minialex import arrays
from minialex.arrays import Array, Device
from minialex.autograd import Tensor, no_grad, record_calls
from minialex.data import DataLoader, Dataset, Digits, drop_unreadable, split
from minialex.data.folders import find_dataset_folders, folder_notes, train_and_val
from minialex.data.listing import read_classes
from minialex.errors import MinialexError
from minialex.evaluation.batch_memory import check_memory
from minialex.models import AlexNet, alexnet
from minialex.optim import SGD, Adam, Optimizer, RMSprop, Schedule, make_schedule
from minialex.train.report import Reporter
from minialex.train.run_state import RunData
from minialex.train.settings import DIGITS, MAX_AUTOMATIC_WARMUP, Settings
from minialex.weights import open_weights
from minialex.weights.pretrained import load_pretrained
from minialex.wording import counted, unknown

SPLIT_SEED = 0
"""The split depends on the images alone: runs of any seed have the same validation images."""

MessageCallback = Callable[[str], None]
ProgressCallback = Callable[[int, int], None]


def open_data(settings: Settings, reporter: Reporter | None = None) -> RunData:
    """Open the images that the settings name.

    Parameters
    ----------
    settings : Settings
    reporter : Reporter, optional
        Called with what was found and, where `skip_unreadable` has all images read once, with how
        many were checked.

    Raises
    ------
    MinialexError
        If the folder is not as it must be.
    """
    reporter = reporter or Reporter()
    described = f"{100 * settings.val_fraction:g} % of each class, split off"
    if settings.data == DIGITS:
        if settings.classes is not None:
            raise MinialexError("--classes is for a folder of images: leave it out, or name DATA")
        digits = Digits()
        reporter.opened(digits.classes, described)
        return RunData(*split(digits, settings.val_fraction, SPLIT_SEED))
    parts = find_dataset_folders(settings.data)
    folders = parts.open(chosen_classes(settings))
    train, val = train_and_val(folders, settings.val_fraction, SPLIT_SEED)
    reporter.opened(train.classes, f"the images in {parts.val.name}" if parts.val else described)
    for line in folder_notes(folders, parts.unused):
        reporter.message(line)
    if not settings.skip_unreadable:
        return RunData(train, val)
    readable, bad = drop_unreadable(train, progress=reporter.checking)
    readable_val, also_bad = drop_unreadable(val, progress=reporter.checking)
    return RunData(readable, readable_val, (*bad, *also_bad), split=(train, val))


def chosen_classes(settings: Settings) -> list[str] | None:
    """Return the classes that the settings choose, in their order, or None for all of a folder."""
    return None if settings.classes is None else read_classes(settings.classes)


def check_data_is_there(settings: Settings, remedy: str) -> None:
    """Raise MinialexError, which names the remedy, if the folder of images is gone."""
    if settings.data != DIGITS and not os.path.isdir(settings.data):
        raise MinialexError(f"the images are no longer in {settings.data}: {remedy}")


def training_loader(settings: Settings, dataset: Dataset, device: Device) -> DataLoader:
    """Return a shuffling, augmenting loader."""
    return DataLoader(
        dataset,
        settings.batch_size,
        settings.training_transform(),
        shuffle=True,
        seed=settings.seed,
        workers=settings.workers,
        device=device,
    )


def eval_loader(settings: Settings, dataset: Dataset, device: Device) -> DataLoader:
    """Return a loader of whole images in their order, without augmentation."""
    return DataLoader(
        dataset,
        settings.batch_size,
        settings.eval_transform(),
        workers=settings.workers,
        device=device,
    )


def make_model(
    settings: Settings, num_classes: int, device: Device, tell: MessageCallback | None = None
) -> AlexNet:
    """Return the network that the settings name, on `device`, with its first weights.

    Parameters
    ----------
    settings : Settings
    num_classes : int
    device : Device
    tell : callable, optional
        Called with a sentence if pretrained weights are for another number of classes.

    Raises
    ------
    MinialexError
        If the images are too small for the network, batches too large for the memory, the
        pretrained weights do not fit, or what is to be frozen is not there.
    """
    model = alexnet(settings.variant, num_classes, dropout=settings.dropout, seed=settings.seed)
    outputs = output_bytes(model, settings.image_size)
    check_memory(outputs, device, settings.batch_size, settings.image_size)
    if settings.pretrained is not None:
        note = load_pretrained(
            model, open_weights(settings.pretrained), last_layer=model.last_layer
        )
        if note and tell is not None:
            tell(note)
    freeze(model, settings.freeze)
    return move_model(model, device)


def output_bytes(model: AlexNet, size: int) -> int:
    """Run a blank image of `size` x `size` pixels through; returns the bytes of all ops' outputs.

    Raises
    ------
    MinialexError
        If the image is too small for the network.
    """
    training = model.training
    # nothing is drawn for dropout then
    model.eval()
    try:
        with translate_size_error(model, size), no_grad(), record_calls() as calls:
            model(Tensor(np.zeros((1, 3, size, size), np.float32)))
    finally:
        model.train(training)
    return sum(call.y.nbytes for call in calls)


@contextlib.contextmanager
def translate_size_error(model: AlexNet, size: int | None) -> Iterator[None]:
    """Translate to MinialexError that images of `size` x `size` pixels, run inside, do not fit.

    Raises
    ------
    MinialexError
        In place of a layer's `ValueError`.
    """
    try:
        yield
    except ValueError as error:
        made_for = model.variant.image_size
        how = "large" if size is not None and size > made_for else "small"
        raise MinialexError(
            f"image_size {size} is too {how} for {model.variant.name}: it is made for {made_for}"
        ) from error


def move_model(model: AlexNet, device: Device) -> AlexNet:
    """Move a network to a device; raise MinialexError if it does not fit there."""
    try:
        model.to(device)
    except MemoryError as error:
        raise MinialexError(
            f"the network does not fit into the memory of {device}: "
            "choose a smaller variant, or another device"
        ) from error
    return model


def freeze(model: AlexNet, names: str) -> None:
    """Make parameters require no gradient: those of a block, a layer, or by their own names.

    Parameters
    ----------
    model : AlexNet
    names : str
        ``features``, ``features.0``, ``classifier.6.bias``, or several with commas between.

    Raises
    ------
    MinialexError
        If there is no such name, a comma has none beside it, or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    parts = [name.split(".") for name in parameters]
    known = dict.fromkeys(".".join(part[:n]) for n in (1, 2, 3) for part in parts)
    for name in (name.strip() for name in names.split(",") if names):
        if not name:
            raise MinialexError(
                f"freeze is {names!r}, where a name is missing: give one on both sides of a comma"
            )
        frozen = [p for own, p in parameters.items() if f"{own}.".startswith(f"{name}.")]
        if not frozen:
            which = unknown(f"part of {model.variant.name}", name, known)
            raise MinialexError(f"freeze is {names!r}: {which}")
        for p in frozen:
            p.requires_grad = False
    if not any(p.requires_grad for p in parameters.values()):
        raise MinialexError(f"freeze is {names!r}, which leaves nothing to train: give less")


def make_optimizer(settings: Settings, model: AlexNet) -> Optimizer:
    """Return the optimizer that the settings name, over the parameters that are not frozen."""
    s = settings
    params = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    makers: dict[str, Callable[[], Optimizer]] = {
        "rmsprop": partial(
            RMSprop, params, s.lr, s.alpha, s.eps, s.weight_decay, momentum=s.momentum
        ),
        "sgd": partial(SGD, params, s.lr, s.momentum, s.weight_decay),
        "adam": partial(Adam, params, s.lr, eps=s.eps, weight_decay=s.weight_decay),
    }
    try:
        return makers[s.optimizer]()
    except MemoryError as error:
        raise MinialexError(
            f"not enough memory for the state of {s.optimizer}: "
            "choose a smaller variant, or optimizer sgd"
        ) from error


def warmup_batches(settings: Settings, batches: int) -> int:
    """Return over how many batches the learning rate rises, in a run of so many per epoch.

    Raises
    ------
    MinialexError
        If the settings ask for more than the run has.
    """
    total = settings.epochs * batches
    if settings.warmup is None:
        return min(MAX_AUTOMATIC_WARMUP, total // 10)
    if settings.warmup > total:
        raise MinialexError(
            f"warmup is {counted(settings.warmup, 'batch')}, but the run has {total:,} "
            f"({counted(settings.epochs, 'epoch')} of {batches:,}): give a shorter warmup, or "
            "more epochs"
        )
    return settings.warmup


def run_schedule(settings: Settings, batches: int) -> Schedule:
    """Return the schedule that the settings name, for a run of so many batches per epoch."""
    return make_schedule(
        settings.schedule,
        total=settings.epochs * batches,
        warmup=warmup_batches(settings, batches),
        step_size=settings.lr_step,
        gamma=settings.lr_gamma,
    )


def loss_weights(settings: Settings, dataset: Dataset, device: Device) -> Array | None:
    """Return how much each class counts in the loss, (C,) float32, or None if all count alike.

    "balanced" is scikit-learn's: images / (classes x images of the class).
    """
    if settings.class_weights == "none":
        return None
    counts = np.bincount(dataset.targets, minlength=len(dataset.classes))
    weights = len(dataset) / (len(counts) * np.maximum(counts, 1))
    return arrays.to_device(weights.astype(np.float32), device)
