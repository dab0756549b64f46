"""The training loop: batches, epochs, validation, checkpoints, and going on after a stop.

Whatever decides the rest of a run stands in its checkpoint: parameters, optimizer state, the
position in the epoch, the totals of the epoch so far, and the state of dropout's random generator.
The order of the images and their augmentation are functions of seed and epoch, the learning rate
is one of the step. So a run that was stopped anywhere and went on ends with the bytes of one that
was not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from signal import Signals

import numpy as np

from minialex import arrays
from minialex.autograd import check_precision, using
from minialex.data import UnreadableImageError
from minialex.evaluation.batch_memory import translate_memory_error
from minialex.evaluation.evaluate import Evaluation, NonFiniteOutputsError, evaluate
from minialex.train import factory
from minialex.train.metrics import MetricsWriter
from minialex.train.nonfinite import FiniteCheck
from minialex.train.recorder import RunRecorder, StopTrainingError
from minialex.train.report import Outcome, Reporter, RunPlan
from minialex.train.run_state import RunData, RunningTotals, RunState
from minialex.train.settings import Settings
from minialex.train.signals import stop_on_signals
from minialex.train.step import TrainStep
from minialex.weights.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT, Checkpoint
from minialex.wording import counted


class Trainer:
    """Trains one network on one set of images.

    Parameters
    ----------
    settings : Settings
    data : RunData
    folder : Path
        Where checkpoints and metrics go. It exists, and is ours.
    saved : Checkpoint, optional
        Where an earlier run of the same settings and images stopped.

    Attributes
    ----------
    state : RunState
        Network, optimizer, position: everything that training changes.
    step : TrainStep
    loader, eval_loader : DataLoader
        Of the training and of the validation images.
    notes : list of str
        What the user should read of how the network was made.

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
        data: RunData,
        folder: Path,
        *,
        saved: Checkpoint | None = None,
    ) -> None:
        self.folder = folder
        self.device = arrays.device(settings.device)
        check_precision(settings.precision, self.device)
        self.notes: list[str] = []
        self._tell: Callable[[str], object] = self.notes.append
        # a run that goes on has its weights in the checkpoint
        first = settings if saved is None else replace(settings, pretrained=None)
        classes = len(data.train.classes)
        model = factory.make_model(first, classes, self.device, self.notes.append)
        optimizer = factory.make_optimizer(settings, model)
        self.loader = factory.training_loader(settings, data.train, self.device)
        self.eval_loader = factory.eval_loader(settings, data.val, self.device)
        self.step = TrainStep(
            model,
            optimizer,
            schedule=factory.run_schedule(settings, len(self.loader)),
            weight=factory.loss_weights(settings, data.train, self.device),
            label_smoothing=settings.label_smoothing,
            clip=settings.clip,
            tell=lambda sentence: self._tell(sentence),
        )
        totals = RunningTotals(self.step.state.totals)
        self.state = RunState(settings, data, model, optimizer, totals)
        self._check = FiniteCheck(self.state, self.step, self.loader, folder)
        self._resumed_at: int | None = None
        if saved is not None:
            self.notes += self.state.restore(saved)
            self.state.finish_save(folder)
            self._resumed_at = optimizer.steps

    def run(
        self,
        reporter: Reporter | None = None,
        *,
        stop_after: int | None = None,
        asked: Callable[[], Signals | None] | None = None,
    ) -> Outcome:
        """Train to the last epoch, or until SIGINT, SIGTERM or SIGHUP asks for a stop.

        After a stop the checkpoint holds the position, and `Outcome.signal` says what it was.

        Parameters
        ----------
        reporter : Reporter, optional
            The run's progress callbacks.
        stop_after : int, optional
            Stop in the same way, without a signal, after so many batches.
        asked : callable, optional
            Returns the signal that asked for a stop elsewhere, or None: looked at after each batch.

        Raises
        ------
        NonFiniteLossError
            If the loss is no longer finite; the checkpoints are those from before.
        UnreadableImageError
            If an image cannot be read; what was done before is saved.
        MinialexError
            If memory does not suffice, or a file cannot be written.
        """
        reporter, state = reporter or Reporter(), self.state
        with (
            MetricsWriter(self.folder, self._resumed_at, reporter.message) as metrics,
            stop_on_signals(asked) as stop,
            arrays.on_device(self.device),
            using(precision=state.settings.precision),
            # numbers that are not finite are looked for, and explained, here
            np.errstate(all="ignore"),
        ):
            recorder = RunRecorder(
                state,
                batches=len(self.loader),
                folder=self.folder,
                check=self._check,
                reporter=reporter,
                metrics=metrics,
                stop=stop,
                last_step=None if stop_after is None else state.optimizer.steps + stop_after,
            )
            reporter.started(self.plan())
            for note in self.notes:
                reporter.message(note)
            self._tell = reporter.message
            try:
                while state.position.epoch < state.settings.epochs:
                    self._epoch(recorder)
            except StopTrainingError:
                recorder.save()
            except UnreadableImageError as error:
                recorder.save()
                raise UnreadableImageError(
                    error.name,
                    error.reason,
                    f"saved after {counted(state.optimizer.steps, 'batch')} in {self.folder}: "
                    "replace the file and resume, or start a new run with --skip-unreadable",
                ) from error
        return self._outcome(stop.signal)

    def _epoch(self, recorder: RunRecorder) -> None:
        """Train on what is left of an epoch, validate, and save."""
        state, began = self.state, time.monotonic()
        batches = self.loader.epoch(state.position.epoch, state.position.batch)
        with self._memory_errors(), contextlib.closing(batches):
            recorder.throughput.start()
            for batch in batches:
                self.step(batch)  # forward, loss, backward, schedule, update
                state.count_batch(len(batch))
                recorder.after_step(len(batch))  # logs, saves, stops
        recorder.log()
        recorder.end_epoch(self._validate(recorder), began)

    def _validate(self, recorder: RunRecorder) -> Evaluation:
        """Evaluate the network on the validation images."""
        began = time.monotonic()
        recorder.stop_if_asked()
        try:
            evaluation = evaluate(self.state.model, self.eval_loader, recorder.validating)
        except NonFiniteOutputsError:
            self._check.outputs(self.eval_loader)
            raise
        recorder.validated(evaluation, time.monotonic() - began)
        return evaluation

    def _memory_errors(self) -> contextlib.AbstractContextManager[None]:
        settings = self.state.settings
        return translate_memory_error(self.device, settings.batch_size, settings.image_size)

    def plan(self) -> RunPlan:
        """Return what is about to happen."""
        state = self.state
        return RunPlan(
            settings=state.settings,
            classes=tuple(state.data.train.classes),
            train_images=len(state.data.train),
            val_images=len(state.data.val),
            batches=len(self.loader),
            warmup=factory.warmup_batches(state.settings, len(self.loader)),
            parameters=sum(p.size for p in state.model.parameters()),
            trained_parameters=sum(p.size for p in state.optimizer.params),
            device=self.device,
            folder=self.folder,
            epoch=state.position.epoch,
            batch=state.position.batch,
        )

    def _outcome(self, signal: Signals | None) -> Outcome:
        state, best = self.state, self.state.best
        finished = state.position.epoch == state.settings.epochs
        return Outcome(
            folder=self.folder,
            checkpoint=self.folder / LAST_CHECKPOINT,
            best_checkpoint=self.folder / BEST_CHECKPOINT if best.epoch else None,
            best_epoch=best.epoch,
            best_accuracy=best.accuracy,
            epochs=state.position.epoch,
            step=state.optimizer.steps,
            signal=None if finished else signal,
            finished=finished,
        )
