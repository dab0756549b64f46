"""Everything that is measured of a run, before it is decided what of it is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minialex import arrays
from minialex.arrays import Device
from minialex.data import Dataset
from minialex.data.fingerprint import parse_fingerprint, replaced_classes, split_difference
from minialex.errors import MinialexError
from minialex.study.doctor import images
from minialex.study.doctor.network import Batches, Labels, NetworkSigns, look, take_batches
from minialex.study.doctor.reading import OpenedRun, or_note
from minialex.train.settings import Settings
from minialex.wording import counted, enumerated

TAIL = 0.25
"""The share of the run, at its end, whose losses are averaged."""


@dataclass(frozen=True)
class Losses:
    """The training loss of a run, and what it is compared with.

    Attributes
    ----------
    tail : float
        Its mean over the last quarter of the run, in nats.
    peak : float
        The highest that was recorded.
    peak_step, steps : int
        The batch of that record, and of the last one.
    guessing : float
        The loss of the best answer that does not look at the image: the entropy of the classes,
        ln C where all are equally frequent, with the class weights and the label smoothing.
    """

    tail: float
    peak: float
    peak_step: int
    steps: int
    guessing: float

    @property
    def progress(self) -> float:
        """How far the loss has come from guessing towards 0, from 1 down to any negative number."""
        return 1 - self.tail / self.guessing


@dataclass(frozen=True)
class Validation:
    """How a run did on its validation images in its last epoch, and what guessing would get."""

    correct: int
    images: int
    majority: float

    @property
    def unlikely(self) -> float:
        """Standard deviations above the answer "always the most frequent class"."""
        return images.unlikely(self.correct, self.images, self.majority)


@dataclass(frozen=True, eq=False)
class ImageSigns:
    """What the images of three batches are like.

    Attributes
    ----------
    names : list of str
    targets : (N,) int64
    levels : (N,) float64
        How many of 255 levels each image spans.
    agree, by_chance : int, float
        How many have the label of their nearest neighbour, and how many would by chance.
    """

    names: list[str]
    targets: Labels
    levels: images.Levels
    agree: int
    by_chance: float

    @property
    def unlikely(self) -> float:
        """How many standard deviations more neighbours agree than would by chance."""
        N = len(self.targets)
        return images.unlikely(self.agree, N, self.by_chance / N)


@dataclass(frozen=True, eq=False)
class RunMeasures:
    """What was measured. What could not be is None, and `unseen` says why.

    Attributes
    ----------
    path : Path
    settings : Settings
    steps : int or None
        Batches that the run was trained on.
    planned : (int, int) or None
        Batches of the warm-up, and of the whole run.
    classes : list of str
    losses : Losses or None
    validation : Validation or None
    sample : ImageSigns or None
    signs : NetworkSigns or None
    copies : list of (str, str)
        Validation images that are training images too, and one of those.
    changed : str
        How the images differ from those that the run was trained on; empty if they do not.
    unseen : list of str
    """

    path: Path
    settings: Settings
    steps: int | None
    planned: tuple[int, int] | None
    classes: list[str]
    losses: Losses | None = None
    validation: Validation | None = None
    sample: ImageSigns | None = None
    signs: NetworkSigns | None = None
    copies: list[tuple[str, str]] = field(default_factory=list)
    changed: str = ""
    unseen: list[str] = field(default_factory=list)


def measure(run: OpenedRun, device: str = "auto") -> RunMeasures:
    """Measure what there is of a run.

    Raises
    ------
    MinialexError
        If there is no such device.
    """
    where, unseen = arrays.device(device), list(run.unseen)
    batches = or_note(unseen, "the images", lambda: _batches(run, where))
    data = run.data
    sample = _sample(data.train, batches) if data and batches else None
    if data and sample:
        unseen += _not_among(sample, data.train.classes)
    return RunMeasures(
        path=run.path,
        settings=run.settings,
        steps=run.steps,
        planned=run.planned,
        classes=list(data.train.classes) if data else [],
        losses=_losses(run),
        validation=_validation(run),
        sample=sample,
        signs=or_note(unseen, "the network", lambda: _signs(run, batches)),
        copies=images.copies_in_both(data.train, data.val) if data else [],
        changed=_changed(run),
        unseen=unseen,
    )


def _batches(run: OpenedRun, where: Device) -> Batches | None:
    return take_batches(run.settings, run.data, where) if run.data else None


def _losses(run: OpenedRun) -> Losses | None:
    # a loss that is not finite is read as NaN
    train = {
        record.step: math.inf if math.isnan(record.loss) else record.loss
        for record in run.metrics
        if record.split == "train"
    }
    if not train or run.data is None:
        return None
    last = max(train)
    tail = [loss for step, loss in train.items() if step > (1 - TAIL) * last]
    peak = max(train, key=lambda step: train[step])
    guessing = guessing_loss(run.settings, run.data.train)
    return Losses(sum(tail) / len(tail), train[peak], peak, last, guessing)


def guessing_loss(settings: Settings, dataset: Dataset) -> float:
    """Return the training loss of the best answer that does not look at the image, in nats.

    With label smoothing e the target is (1 - e) of the class and e / C of each; the answer q that
    is best on average is that for the classes' shares p, and its loss the entropy of q.
    """
    C = len(dataset.classes)
    p = np.bincount(dataset.targets, minlength=C) / len(dataset)
    if settings.class_weights == "balanced":
        p = (p > 0) / (p > 0).sum()
    q = (1 - settings.label_smoothing) * p + settings.label_smoothing / C
    q = q[q > 0]
    return float(-(q * np.log(q)).sum())


def _validation(run: OpenedRun) -> Validation | None:
    val = [r for r in run.metrics if r.split == "val" and math.isfinite(r.accuracy)]
    if not val or run.data is None:
        return None
    N = len(run.data.val)
    majority = float(np.bincount(run.data.val.targets).max()) / N
    return Validation(round(val[-1].accuracy * N / 100), N, majority)


def _sample(train: Dataset, batches: Batches) -> ImageSigns:
    pixels, targets = batches.images, batches.targets
    names = [train.name(int(i)) for i in batches.indices]
    agree, by_chance = images.neighbours_agree(pixels, targets)
    return ImageSigns(names, targets, images.levels_spanned(pixels), agree, by_chance)


def _not_among(sample: ImageSigns, classes: list[str]) -> list[str]:
    """Return a line on the classes of which the sample has no image; none if there are none."""
    missing = [repr(name) for c, name in enumerate(classes) if c not in sample.targets]
    if not missing:
        return []
    return [
        f"whether these are predicted: none of {counted(len(sample.targets), 'training image')} "
        f"is of class {enumerated(missing)}"
    ]


def _signs(run: OpenedRun, batches: Batches | None) -> NetworkSigns | None:
    if run.data is None or run.saved is None or batches is None:
        return None
    now, then = len(run.data.train.classes), run.saved.manifest["num_classes"]
    if now != then:
        raise MinialexError(f"it knows {counted(then, 'class')}, and the images have {now:,}")
    return look(run.settings, run.saved, run.data, batches)


def _changed(run: OpenedRun) -> str:
    """Return how the images differ from those of the last checkpoint; empty if they do not."""
    if run.saved is None or run.data is None or "split" not in run.saved.manifest:
        return ""
    classes, now = run.saved.manifest["classes"], run.data.fingerprint
    if classes != run.data.train.classes:
        return (
            f"the classes were {enumerated(classes)}, and are {enumerated(run.data.train.classes)}"
        )
    try:
        then = parse_fingerprint(run.saved.manifest["split"], "train", "val")
    except ValueError:
        return ""
    replaced = [repr(name) for name in replaced_classes(then, now, classes)]
    return split_difference(then, now, classes) or (
        f"files of class {enumerated(replaced)} have other sizes" if replaced else ""
    )
