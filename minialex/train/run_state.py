"""What a run carries from batch to batch, and its way into a checkpoint and back."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import minialex
from minialex.arrays import Array, Device, to_numpy
from minialex.data import Dataset, UnreadableImage
from minialex.data.fingerprint import (
    Fingerprint,
    fingerprint,
    parse_fingerprint,
    replaced_classes,
    split_difference,
)
from minialex.errors import MinialexError
from minialex.evaluation.evaluate import Evaluation
from minialex.files import link_or_copy
from minialex.models import AlexNet
from minialex.optim import Optimizer
from minialex.plain_json import is_count, typed
from minialex.train.metrics import validation_rank
from minialex.train.settings import Settings
from minialex.weights import checkpoint
from minialex.weights.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT, Checkpoint
from minialex.wording import enumerated


@dataclass(frozen=True)
class RunData:
    """The images of a run.

    Attributes
    ----------
    train, val : Dataset
    skipped : tuple of UnreadableImage
        Images that were left out because they cannot be read.
    fold : (int, int), optional
        Which fold, from 1, of how many `val` is, where cross-validation split the images.
    split : (Dataset, Dataset), optional
        `train` and `val` with the images that were left out: so it can be made again by names
        alone, without reading the images.
    """

    train: Dataset
    val: Dataset
    skipped: tuple[UnreadableImage, ...] = ()
    fold: tuple[int, int] | None = None
    split: tuple[Dataset, Dataset] | None = None

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What identifies the images and how they were split, unreadable ones included."""
        train, val = self.split or (self.train, self.val)
        return fingerprint(train=train, val=val)


@dataclass
class BestEpoch:
    """The best epoch by `validation_rank`, from 1; 0 before there is one."""

    epoch: int = 0
    accuracy: float = 0.0
    loss: float = 0.0


@dataclass
class Position:
    """How far a run is: epochs that are done, and batches of the epoch that is not."""

    epoch: int = 0
    batch: int = 0


class RunningTotals:
    """Loss and correct predictions of the epoch so far, added up where the network computes.

    Parameters
    ----------
    totals : (2,) float64
        Where that is: loss and correct predictions side by side, so that one copy brings both.

    Attributes
    ----------
    images : int
        How many images they are of.
    logged_images : int
        How many of these were in the records so far.
    """

    def __init__(self, totals: Array) -> None:
        self._totals = totals
        self.reset()

    def reset(self) -> None:
        """Start another epoch."""
        self._totals[...] = 0
        self._logged = [0.0, 0.0]
        self.images = self.logged_images = 0

    def means(self) -> tuple[float, float]:
        """Return the mean loss, and the accuracy in percent, of this epoch so far."""
        loss, correct = to_numpy(self._totals).tolist()
        n = max(1, self.images)
        return loss / n, 100 * correct / n

    def log(self) -> tuple[float, float]:
        """Return mean loss and accuracy since the last call, which must have been an image ago."""
        loss, correct = to_numpy(self._totals).tolist()
        n = self.images - self.logged_images
        means = (loss - self._logged[0]) / n, 100 * (correct - self._logged[1]) / n
        self._logged, self.logged_images = [loss, correct], self.images
        return means

    def to_json(self) -> dict[str, Any]:
        """Return the totals as a dictionary that JSON can hold, exactly."""
        return {
            "totals": to_numpy(self._totals).tolist(),
            "images": self.images,
            "logged_totals": self._logged,
            "logged_images": self.logged_images,
        }

    def load(self, table: dict[str, Any]) -> None:
        """Take over what `to_json` returned; raise ValueError if it cannot have returned that."""
        for i, total in enumerate(typed(tuple[float, float], table["totals"])):
            self._totals[i] = total
        self._logged = list(typed(tuple[float, float], table["logged_totals"]))
        self.images, self.logged_images = table["images"], table["logged_images"]
        if not is_count(self.images) or not is_count(self.images - self.logged_images):
            raise ValueError("load: the numbers of images")


@dataclass
class RunState:
    """Everything that changes while a network is trained, and what it belongs to.

    Attributes
    ----------
    settings : Settings
    data : RunData
    model : AlexNet
    optimizer : Optimizer
    totals : RunningTotals
    position : Position
    best : BestEpoch
    """

    settings: Settings
    data: RunData
    model: AlexNet
    optimizer: Optimizer
    totals: RunningTotals
    position: Position = field(default_factory=Position)
    best: BestEpoch = field(default_factory=BestEpoch)

    def count_batch(self, images: int) -> None:
        """Go on to the next batch, this one having had so many images."""
        self.position.batch += 1
        self.totals.images += images

    def close_epoch(self, evaluation: Evaluation) -> bool:
        """Go on to the next epoch; returns whether this one is the best so far."""
        self.position.epoch, self.position.batch = self.position.epoch + 1, 0
        self.totals.reset()
        now = validation_rank(evaluation.accuracy, evaluation.loss)
        if self.best.epoch and now <= validation_rank(self.best.accuracy, self.best.loss):
            return False
        self.best = BestEpoch(self.position.epoch, evaluation.accuracy, evaluation.loss)
        return True

    # Checkpoints --------------------------------------------------------------------------------

    def save(self, folder: Path, *, best: bool) -> None:
        """Write the last checkpoint of a run's folder, and the best one if this is it.

        Raises
        ------
        MinialexError
            If that fails; the previous checkpoints are intact then.
        """
        path = folder / LAST_CHECKPOINT
        checkpoint.save(path, tensors=self._tensors(), manifest=self._manifest())
        if best:
            link_or_copy(path, folder / BEST_CHECKPOINT)

    def finish_save(self, folder: Path) -> None:
        """Make up for a kill between the writing of the last checkpoint and its second name."""
        if self.position.batch == 0 and 0 < self.position.epoch == self.best.epoch:
            link_or_copy(folder / LAST_CHECKPOINT, folder / BEST_CHECKPOINT)

    def _tensors(self) -> dict[str, Any]:
        parameters = {name: to_numpy(p.array) for name, p in self.model.named_parameters()}
        slots: dict[str, dict[str, Array]] = {}
        state = self.optimizer.state_dict()["state"].values()
        for name, its in zip(self.optimizer.arena.names, state, strict=True):
            for slot in its.keys() - {"step"}:
                slots.setdefault(slot, {})[name] = to_numpy(its[slot])
        return {**parameters, **checkpoint.optimizer_tensors(slots)}

    def _manifest(self) -> dict[str, Any]:
        s, steps = self.settings, self.optimizer.steps
        schedule = ("schedule", "lr", "warmup", "lr_step", "lr_gamma", "epochs")
        generator = self.model.generator
        return {
            "model": s.variant,
            "num_classes": self.model.num_classes,
            "image_size": s.image_size,
            "classes": list(self.data.train.classes),
            "position": {"epoch": self.position.epoch, "batch": self.position.batch, "step": steps},
            "optimizer": {
                "param_groups": self.optimizer.state_dict()["param_groups"],
                "param_steps": self.optimizer.param_steps,
            },
            "schedule": {name: getattr(s, name) for name in schedule},
            "random": {
                "dropout": {"seed": generator.seed, "offset": generator.offset},
                "images": {"seed": s.seed, "epoch": self.position.epoch},
            },
            "minialex": minialex.__version__,
            "settings": s.result_settings(),
            "running_totals": self.totals.to_json(),
            "best": asdict(self.best),
            "images": _sizes(self.data),
            "split": self.data.fingerprint,
            "fold": list(self.data.fold or ()),
        }

    def restore(self, saved: Checkpoint) -> list[str]:
        """Take over what a checkpoint holds.

        Returns
        -------
        list of str
            What the user should read of images that changed since.

        Raises
        ------
        MinialexError
            If it is of another network or other images, or damaged.
        """
        manifest = saved.manifest
        try:
            classes = manifest["classes"]
            split = parse_fingerprint(
                manifest.get("split"), "train", "val", num_classes=len(classes)
            )
            _check_same_images(saved, split, self.data)
            replaced = replaced_classes(split, self.data.fingerprint, classes)
            saved.load_into(self.model)
            self._restore_optimizer(saved)
            generator, position = manifest["random"]["dropout"], manifest["position"]
            seed = typed(int, generator["seed"])
            if not 0 <= seed < 2**64 or not is_count(generator["offset"]):
                raise ValueError("restore: the state of dropout")
            self.model.generator.seed, self.model.generator.offset = seed, generator["offset"]
            self.position = Position(position["epoch"], position["batch"])
            self.best = typed(BestEpoch, manifest["best"])
            if (
                not 0 <= self.best.epoch <= self.position.epoch
                or not 0 <= self.best.accuracy <= 100
            ):
                raise ValueError("restore: the best epoch")
            self.totals.load(manifest["running_totals"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise MinialexError(
                f"{saved.path} is damaged (it lacks something of a run): use another copy"
            ) from error
        if not replaced:
            return []
        names = enumerated([repr(name) for name in replaced])
        return [
            f"images of class {names} were replaced since the run stopped (their files have other "
            "sizes): it goes on with the new ones"
        ]

    def _restore_optimizer(self, saved: Checkpoint) -> None:
        table, slots = saved.manifest["optimizer"], saved.optimizer_state
        names = zip(self.optimizer.arena.names, table["param_steps"], strict=True)
        self.optimizer.load_state_dict(
            {
                "state": {
                    i: {"step": steps, **{slot: slots[slot][name] for slot in slots}}
                    for i, (name, steps) in enumerate(names)
                },
                "param_groups": table["param_groups"],
                "steps": saved.manifest["position"]["step"],
            }
        )

    @property
    def device(self) -> Device:
        """Where the network is."""
        return next(self.model.parameters()).device


def _sizes(data: RunData) -> dict[str, int]:
    return {"train": len(data.train), "val": len(data.val)}


def _check_same_images(saved: Checkpoint, split: Fingerprint, data: RunData) -> None:
    then, now = saved.manifest.get("images"), _sizes(data)
    if saved.manifest["classes"] != list(data.train.classes):
        raise MinialexError(
            f"{saved.path} was trained on other classes: give the folder of images that it saw, "
            "or start a new run"
        )
    folds = saved.manifest.get("fold"), list(data.fold or ())
    if folds[0] != folds[1]:
        what = [f"fold {fold[0]} of {fold[1]}" if fold else "a run without folds" for fold in folds]
        where = shlex.quote(str(saved.path.parent.parent))
        here = f"by minialex kfold --resume {where}" if not data.fold else "where it was trained"
        raise MinialexError(f"{saved.path} is of {what[0]}, not of {what[1]}: go on with it {here}")
    difference = split_difference(split, data.fingerprint, data.train.classes)
    if not difference and then != now:
        difference = f"{_count(then)}; there are {_count(now)}"
    if difference:
        raise MinialexError(
            f"{saved.path} was trained on other images ({difference}): "
            "give the folder as it was, or start a new run"
        )


def _count(sizes: Any) -> str:
    if not isinstance(sizes, dict) or not all(
        is_count(sizes.get(part)) for part in ("train", "val")
    ):
        return "an unknown number"
    return f"{sizes['train']} for training and {sizes['val']} for validation"
