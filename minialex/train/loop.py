"""The training loop: batches, epochs, validation, checkpoints, and going on after a stop.

Whatever decides the rest of a run stands in its checkpoint: parameters, optimizer state, the
place in the epoch, the sums of the epoch so far, and the state of dropout's random generator.
The order of the images and their augmentation are functions of seed and epoch, the learning rate
is one of the step. So a run that was stopped anywhere and went on ends with the bytes of one that
was not.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals

import numpy as np

from minialex import arrays
from minialex.autograd import Tensor, check_precision, using
from minialex.evaluation.batch_memory import translate_memory_error
from minialex.evaluation.evaluate import Evaluation, NonFiniteOutputsError, evaluate
from minialex.files import link_or_copy
from minialex.train import factory
from minialex.train.factory import BEST, LAST, Data
from minialex.train.metrics import MetricsRecord, MetricsWriter
from minialex.train.nonfinite import NonFiniteLossError, finite, first_nonfinite
from minialex.train.report import EpochEnd, Outcome, Reporter, RunPlan, TrainingProgress
from minialex.train.run_state import Position, RunningTotals, RunState
from minialex.train.settings import Settings
from minialex.train.signals import StopRequest, stop_on_signals
from minialex.train.step import TrainStep
from minialex.train.throughput import Throughput
from minialex.weights.checkpoint import Checkpoint


class _StopError(Exception):
    """Somebody asked for a stop, and this is a good place."""


@dataclass
class _Watch:
    """Who listens to a run while it runs."""

    reporter: Reporter
    metrics: MetricsWriter
    stop: StopRequest
    saved_at: float
    last_step: int | None

    def wants_stop(self, step: int) -> bool:
        """Return whether to stop after batch `step` of the run."""
        return bool(self.stop) or step == self.last_step


class Trainer:
    """Trains one network on one set of images.

    Parameters
    ----------
    settings : Settings
    data : Data
    folder : Path
        Where checkpoints and metrics go. It exists, and is ours.
    saved : Checkpoint, optional
        Where an earlier run of the same settings and images stopped.
    marker : Path, optional
        A file through which another process may ask for a stop.

    Raises
    ------
    MinialexError
        If the device is not there, the network does not fit into its memory, pretrained weights
        do not fit the network, the warm-up is longer than the run, or the checkpoint is of
        another run.
    """

    def __init__(
        self,
        settings: Settings,
        data: Data,
        folder: Path,
        *,
        saved: Checkpoint | None = None,
        marker: Path | None = None,
    ) -> None:
        self.settings, self.data, self.folder, self.marker = settings, data, folder, marker
        self.device = arrays.device(settings.device)
        check_precision(settings.precision, self.device)
        self.notes: list[str] = []
        self._tell: Callable[[str], object] = self.notes.append
        # a run that goes on has its weights in the checkpoint
        first = settings if saved is None else replace(settings, pretrained=None)
        classes = len(data.train.classes)
        self.model = factory.make_model(first, classes, self.device, self.notes.append)
        self.optimizer = factory.make_optimizer(settings, self.model)
        self.loader = factory.training_loader(settings, data.train, self.device)
        self.val_loader = factory.eval_loader(settings, data.val, self.device)
        self.schedule = factory.run_schedule(settings, len(self.loader))
        self.weights = factory.loss_weights(settings, data.train, self.device)
        self.step = TrainStep(
            self.model,
            self.optimizer,
            schedule=self.schedule,
            weight=self.weights,
            label_smoothing=settings.label_smoothing,
            tell=lambda sentence: self._tell(sentence),
        )
        self.totals, self.throughput = RunningTotals(self.step.state.totals), Throughput()
        self.state = RunState(settings, data, self.model, self.optimizer, Position(), self.totals)
        self.resumed_at: int | None = None
        if saved is not None:
            self.state.restore(saved)
            self._finish_saving()
            self.resumed_at = self.optimizer.steps

    @property
    def position(self) -> Position:
        """How far the run is."""
        return self.state.position

    def run(self, reporter: Reporter | None = None, *, stop_after: int | None = None) -> Outcome:
        """Train to the last epoch, or until SIGINT or SIGTERM asks for a stop.

        After a stop the checkpoint holds the place, and `Outcome.signal` says what it was.

        Parameters
        ----------
        reporter : Reporter, optional
            The run's progress callbacks.
        stop_after : int, optional
            Stop in the same way, without a signal, after so many batches.

        Raises
        ------
        NonFiniteLossError
            If the loss is no longer finite; the checkpoints are those from before.
        MinialexError
            If an image cannot be read, memory does not suffice, or a file cannot be written.
        """
        reporter = reporter or Reporter()
        with (
            MetricsWriter(self.folder, self.resumed_at) as metrics,
            stop_on_signals(self.marker) as stop,
            arrays.on_device(self.device),
            using(precision=self.settings.precision),
            # numbers that are not finite are looked for, and explained, here
            np.errstate(all="ignore"),
        ):
            last = None if stop_after is None else self.optimizer.steps + stop_after
            watch = _Watch(reporter, metrics, stop, time.monotonic(), last)
            reporter.started(self.plan())
            for note in self.notes:
                reporter.message(note)
            self._tell = reporter.message
            try:
                while self.position.epoch < self.settings.epochs:
                    self._epoch(watch)
            except _StopError:
                self._save(watch)
        return self._outcome(stop.signal)

    def plan(self) -> RunPlan:
        """Return what is about to happen."""
        return RunPlan(
            settings=self.settings,
            classes=tuple(self.data.train.classes),
            train_images=len(self.data.train),
            val_images=len(self.data.val),
            batches=len(self.loader),
            warmup=factory.warmup_batches(self.settings, len(self.loader)),
            parameters=sum(p.size for p in self.model.parameters()),
            device=self.device,
            folder=self.folder,
            epoch=self.position.epoch,
            batch=self.position.batch,
        )

    # One epoch ----------------------------------------------------------------------------------

    def _epoch(self, watch: _Watch) -> None:
        began = time.monotonic()
        self._train(watch)
        self._log(watch)
        evaluation = self._judge(watch)
        loss, accuracy = self.totals.means()
        best = self.position.close_epoch(evaluation)
        self.totals.reset()
        self._save(watch, best=best)
        watch.reporter.epoch_ended(
            EpochEnd(
                epoch=self.position.epoch,
                epochs=self.settings.epochs,
                train_loss=loss,
                train_accuracy=accuracy,
                val_loss=evaluation.loss,
                val_accuracy=evaluation.accuracy,
                best=best,
                seconds=time.monotonic() - began,
            )
        )

    def _train(self, watch: _Watch) -> None:
        """Train on what is left of the epoch."""
        epoch = self.loader.epoch(self.position.epoch, self.position.batch)
        s = self.settings
        enough = translate_memory_error(self.device, s.batch_size, s.image_size)
        with enough, contextlib.closing(epoch) as batches:
            self.throughput.start()
            for batch in batches:
                self.step(batch)
                self.position.batch += 1
                self.totals.images += len(batch)
                self.throughput.tick(len(batch))
                self._after_batch(watch)

    def _looks(self) -> bool:
        """Whether to bring numbers to the host: free on the CPU, now and then on a GPU."""
        batch = self.position.batch
        last = batch == len(self.loader)
        return self.device == arrays.CPU or batch % self.settings.log_every == 0 or last

    def _after_batch(self, watch: _Watch) -> None:
        if self._looks():
            self._refuse_failed()
            watch.reporter.batch(self._progress())
        if self.position.batch % self.settings.log_every == 0:
            loss = self._log(watch)
            watch.reporter.line(
                f"[{self.position.epoch + 1}, {self.position.batch:5d}] loss: {loss:.3f}"
            )
        if watch.wants_stop(self.optimizer.steps):
            raise _StopError
        every = 60 * self.settings.save_minutes
        if every and time.monotonic() - watch.saved_at >= every:
            self._save(watch)

    def _log(self, watch: _Watch) -> float:
        """Record what was measured since the last record; returns the loss."""
        if self.totals.images == self.totals.logged_images:
            return math.nan
        loss, accuracy = self.totals.log()
        watch.metrics.write(self._record("train", loss, accuracy, self.throughput.lap()))
        return loss

    def _judge(self, watch: _Watch) -> Evaluation:
        """Judge the network on the held-out images."""

        def progress(done: int, total: int) -> None:
            watch.reporter.validating(done, total)
            if watch.stop:
                raise _StopError

        began = time.monotonic()
        if watch.stop:
            raise _StopError
        try:
            evaluation = evaluate(self.model, self.val_loader, progress)
        except NonFiniteOutputsError:
            self._explain_judging()
            raise
        seconds = time.monotonic() - began
        self.throughput.validation_seconds = seconds
        rate = evaluation.images / seconds
        watch.metrics.write(self._record("val", evaluation.loss, evaluation.accuracy, rate))
        return evaluation

    def _record(self, split: str, loss: float, accuracy: float, rate: float) -> MetricsRecord:
        return MetricsRecord(
            split=split,
            epoch=self.position.epoch + 1,
            step=self.optimizer.steps,
            loss=loss,
            accuracy=accuracy,
            lr=self.optimizer.lr,
            images_per_second=rate,
        )

    def _progress(self) -> TrainingProgress:
        loss, accuracy = self.totals.means()
        batches, epochs = len(self.loader), self.settings.epochs
        to_do = (epochs - self.position.epoch) * batches - self.position.batch
        return TrainingProgress(
            epoch=self.position.epoch + 1,
            epochs=epochs,
            batch=self.position.batch,
            batches=batches,
            step=self.optimizer.steps,
            loss=loss,
            accuracy=accuracy,
            lr=self.optimizer.lr,
            images_per_second=self.throughput.images_per_second(),
            seconds_left=self.throughput.seconds_left(to_do, epochs - self.position.epoch),
        )

    # Saving -------------------------------------------------------------------------------------

    def _save(self, watch: _Watch, *, best: bool = False) -> None:
        self._refuse_failed()
        self._refuse_nonfinite()
        self.state.save(self.folder / LAST)
        if best:
            link_or_copy(self.folder / LAST, self.folder / BEST)
        watch.saved_at = time.monotonic()
        watch.reporter.saved(self.folder / LAST, best)

    def _finish_saving(self) -> None:
        """Make up for a kill between the writing of the last checkpoint and its second name."""
        position = self.position
        if position.batch == 0 and position.epoch and position.best.epoch == position.epoch:
            link_or_copy(self.folder / LAST, self.folder / BEST)

    def _outcome(self, signal: Signals | None) -> Outcome:
        best, finished = self.position.best, self.position.epoch == self.settings.epochs
        return Outcome(
            folder=self.folder,
            checkpoint=self.folder / LAST,
            best_checkpoint=self.folder / BEST if best.epoch else None,
            best_epoch=best.epoch,
            best_accuracy=best.accuracy,
            epochs=self.position.epoch,
            step=self.optimizer.steps,
            signal=None if finished else signal,
            finished=finished,
        )

    # What may go wrong --------------------------------------------------------------------------

    def _refuse_failed(self) -> None:
        """Raise NonFiniteLossError if a loss was not finite, naming the layer at which it began.

        Since then nothing was changed, so that the batch can be run once more.
        """
        if not self.step.failed():
            return
        self.position.batch = self.optimizer.steps - self.position.epoch * len(self.loader)
        epoch = self.loader.epoch(self.position.epoch, self.position.batch)
        with contextlib.closing(epoch) as batches:
            images = Tensor(next(batches).images)
        layer, cause = first_nonfinite(self.model, images) or (None, "the loss overflowed")
        raise self._nonfinite(layer, cause)

    def _explain_judging(self) -> None:
        """Raise NonFiniteLossError for the first held-out batch at which the numbers go wrong."""
        self.model.eval()
        for batch in self.val_loader.epoch(0):
            found = first_nonfinite(self.model, Tensor(batch.images))
            if found:
                raise self._nonfinite(*found)

    def _refuse_nonfinite(self) -> None:
        """Raise NonFiniteLossError rather than save numbers that are not finite."""
        arena = self.optimizer.arena
        if all(finite(flat) for flat in (arena.data, *arena.state.values())):
            return
        for name, parameter in self.model.named_parameters():
            if not finite(parameter.data):
                layer, _, what = name.rpartition(".")
                raise self._nonfinite(layer, f"its {what} is no longer finite")
        raise self._nonfinite(None, "the optimizer's running averages overflowed")

    def _nonfinite(self, layer: str | None, cause: str) -> NonFiniteLossError:
        kept = self.folder / LAST
        where = f"{kept} is from before" if kept.exists() else "no checkpoint was written yet"
        lr = self.optimizer.lr
        return NonFiniteLossError(
            layer=layer,
            cause=cause,
            step=self.optimizer.steps,
            lr=lr,
            rest=f"{where}; start again with a lower lr ({lr / 10:.2g}) or a longer warmup",
        )
