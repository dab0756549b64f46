"""What happens between the steps of training: logs, progress, checkpoints, and stopping."""

from __future__ import annotations

import math
import time
from pathlib import Path

from minialex import arrays
from minialex.evaluation.evaluate import Evaluation
from minialex.train.metrics import MetricsRecord, MetricsWriter
from minialex.train.nonfinite import FiniteCheck
from minialex.train.report import EpochEnd, Reporter, TrainingProgress
from minialex.train.run_state import RunState
from minialex.train.signals import StopRequest
from minialex.train.throughput import Throughput
from minialex.weights.checkpoint import LAST_CHECKPOINT


class StopTrainingError(Exception):
    """A stop was requested, and the state can be saved here."""


class RunRecorder:
    """Follows a run: writes metrics and checkpoints, calls back, and stops it when asked to.

    Parameters
    ----------
    state : RunState
    batches : int
        Batches per epoch.
    folder : Path
        Where checkpoints go.
    check : FiniteCheck
    reporter : Reporter
    metrics : MetricsWriter
    stop : StopRequest
    last_step : int, optional
        The step of the run after which to stop without being asked to.
    """

    def __init__(
        self,
        state: RunState,
        *,
        batches: int,
        folder: Path,
        check: FiniteCheck,
        reporter: Reporter,
        metrics: MetricsWriter,
        stop: StopRequest,
        last_step: int | None,
    ) -> None:
        self.state, self.batches, self.folder, self.check = state, batches, folder, check
        self.reporter, self.metrics, self.stop = reporter, metrics, stop
        self.last_step = last_step
        self.throughput = Throughput()
        self._on_cpu = state.device == arrays.CPU
        self._saved_at = time.monotonic()

    def after_step(self, images: int) -> None:
        """Log, report, stop or save after a step on so many images.

        Raises
        ------
        NonFiniteLossError
            If a loss was not finite.
        StopTrainingError
            If a stop was asked for, or the last step of a run that is cut short was taken.
        """
        settings, batch = self.state.settings, self.state.position.batch
        self.throughput.tick(images)
        at_log_line = batch % settings.log_every == 0
        # to bring numbers to the host is free on a CPU; a GPU would be waited for
        if self._on_cpu or at_log_line or batch == self.batches:
            self.check.losses()
            self.reporter.batch(self._progress())
        if at_log_line:
            loss = self.log()
            self.reporter.line(f"[{self.state.position.epoch + 1}, {batch:5d}] loss: {loss:.3f}")
        if self.stop or self.state.optimizer.steps == self.last_step:
            raise StopTrainingError
        if settings.save_minutes and self._minutes_since_save() >= settings.save_minutes:
            self.save()

    def log(self) -> float:
        """Record what was measured since the last record; returns the loss."""
        totals = self.state.totals
        if totals.images == totals.logged_images:
            return math.nan
        loss, accuracy = totals.log()
        self._write("train", loss, accuracy, self.throughput.lap())
        return loss

    def validating(self, done: int, total: int) -> None:
        """Report that so many validation images are done; raise StopTrainingError if asked to."""
        self.reporter.validating(done, total)
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Raise StopTrainingError if a stop was asked for."""
        if self.stop:
            raise StopTrainingError

    def validated(self, evaluation: Evaluation, seconds: float) -> None:
        """Record what validation found in so many seconds."""
        self.throughput.validation_seconds = seconds
        self._write("val", evaluation.loss, evaluation.accuracy, evaluation.images / seconds)

    def end_epoch(self, evaluation: Evaluation, began: float) -> None:
        """Close the epoch that began at this time of `time.monotonic`: save and report it."""
        state = self.state
        loss, accuracy = state.totals.means()
        best = state.close_epoch(evaluation)
        self.save(best=best)
        self.reporter.epoch_ended(
            EpochEnd(
                epoch=state.position.epoch,
                epochs=state.settings.epochs,
                train_loss=loss,
                train_accuracy=accuracy,
                val_loss=evaluation.loss,
                val_accuracy=evaluation.accuracy,
                best=best,
                seconds=time.monotonic() - began,
            )
        )

    def save(self, *, best: bool = False) -> None:
        """Write a checkpoint, of numbers that are finite."""
        self.check.losses()
        self.check.weights()
        self.state.save(self.folder, best=best)
        self._saved_at = time.monotonic()
        self.reporter.saved(self.folder / LAST_CHECKPOINT, best)

    def _minutes_since_save(self) -> float:
        return (time.monotonic() - self._saved_at) / 60

    def _write(self, split: str, loss: float, accuracy: float, rate: float) -> None:
        state = self.state
        self.metrics.write(
            MetricsRecord(
                split=split,
                epoch=state.position.epoch + 1,
                step=state.optimizer.steps,
                loss=loss,
                accuracy=accuracy,
                lr=state.optimizer.param_groups[0]["lr"],
                images_per_second=rate,
            )
        )

    def _progress(self) -> TrainingProgress:
        state, epochs = self.state, self.state.settings.epochs
        loss, accuracy = state.totals.means()
        epochs_left = epochs - state.position.epoch
        batches_left = epochs_left * self.batches - state.position.batch
        return TrainingProgress(
            epoch=state.position.epoch + 1,
            epochs=epochs,
            batch=state.position.batch,
            batches=self.batches,
            step=state.optimizer.steps,
            loss=loss,
            accuracy=accuracy,
            lr=state.optimizer.param_groups[0]["lr"],
            images_per_second=self.throughput.images_per_second(),
            seconds_left=self.throughput.seconds_left(batches_left, epochs_left),
        )
