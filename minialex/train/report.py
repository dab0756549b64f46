"""What a run reports while it goes on: the interface of a progress bar or a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from minialex.arrays import Device
from minialex.train.metrics import MetricsRecord, read_metrics
from minialex.train.settings import Settings
from minialex.train.signals import exit_status


@dataclass(frozen=True)
class RunPlan:
    """What is about to happen.

    Attributes
    ----------
    settings : Settings
    classes : tuple of str
    train_images, val_images : int
    batches : int
        Batches per epoch.
    warmup : int
        Batches over which the learning rate rises.
    parameters, trained_parameters : int
        Numbers that the network has, and how many of these are not frozen.
    device : Device
    folder : Path
        Where the run writes.
    epoch, batch : int
        How many epochs, and batches of the next, are done: 0 and 0 unless the run is resumed.
    """

    settings: Settings
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    batches: int
    warmup: int
    parameters: int
    trained_parameters: int
    device: Device
    folder: Path
    epoch: int
    batch: int


@dataclass(frozen=True)
class TrainingProgress:
    """Where training stands after a batch.

    Attributes
    ----------
    epoch, epochs : int
        The epoch that is running, from 1, and how many there are.
    batch, batches : int
        Batches of this epoch that are done, and how many there are.
    step : int
        Batches of the whole run that are done.
    loss, accuracy : float
        Over the images of this epoch so far; accuracy in percent.
    lr : float
    images_per_second : float
        Lately; 0 where it is not yet known.
    seconds_left : float or None
        Until the end of the run, validation included; None where it is not yet known.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    step: int
    loss: float
    accuracy: float
    lr: float
    images_per_second: float
    seconds_left: float | None


@dataclass(frozen=True)
class EpochEnd:
    """How an epoch went: loss, and accuracy in percent, on training and validation images.

    Attributes
    ----------
    epoch, epochs : int
        From 1.
    train_loss, train_accuracy, val_loss, val_accuracy : float
    best : bool
        Whether it is the best so far: more accurate on the validation images than all before, or as
        accurate at a lower loss.
    seconds : float
        How long it took, counted from where the run was taken up.
    """

    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    best: bool
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    folder : Path
    checkpoint : Path
        Where the run stands.
    best_checkpoint : Path or None
        Where it did best on the validation images; None before the first epoch's end.
    best_epoch : int
        Counted from 1; 0 before the first epoch's end.
    best_accuracy : float
        Of that epoch, in percent.
    epochs : int
        How many are done.
    step : int
        Batches of the whole run that are done.
    signal : Signals or None
        What stopped it before its end.
    finished : bool
        Whether all epochs are done.
    """

    folder: Path
    checkpoint: Path
    best_checkpoint: Path | None
    best_epoch: int
    best_accuracy: float
    epochs: int
    step: int
    signal: Signals | None
    finished: bool

    @property
    def metrics(self) -> list[MetricsRecord]:
        """What was measured from the run's first batch on, as its folder has it."""
        return read_metrics(self.folder)

    @property
    def exit_status(self) -> int:
        """What a program that did nothing else exits with: 0, or 128 plus the signal's number."""
        return 0 if self.signal is None else exit_status(self.signal)


class Reporter:
    """Callbacks of a run, called in the thread that trains; these do nothing: override some."""

    def opened(self, classes: Sequence[str], validation: str) -> None:
        """Take the classes of the images, and a description of the validation images."""

    def checking(self, done: int, total: int) -> None:
        """Take how many images were checked for ones that cannot be read, and of how many."""

    def started(self, plan: RunPlan) -> None:
        """Take what is about to start or go on."""

    def batch(self, progress: TrainingProgress) -> None:
        """Take a batch's end: of every one on the CPU, of every `log_every`-th on a GPU."""

    def line(self, text: str) -> None:
        """Take a line for the log: the article's ``[epoch, batch] loss: x.xxx``."""

    def validating(self, done: int, total: int) -> None:
        """Take how many validation images are done, and of how many."""

    def epoch_ended(self, end: EpochEnd) -> None:
        """Take how an epoch and its validation went."""

    def saved(self, path: Path, best: bool) -> None:
        """Take a checkpoint that was written; `best` says that it is the best so far."""

    def message(self, text: str) -> None:
        """Take a sentence that the user should read."""
