"""One fold of a cross-validation: trained, evaluated and recorded, in this or another process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from minialex.evaluation.evaluate import evaluate
from minialex.files import write_errors
from minialex.kfold.fold_records import FoldRecord, fold_folder, make_record, write_record
from minialex.train.loop import Trainer
from minialex.train.report import Reporter
from minialex.train.run_state import RunData
from minialex.train.settings import Settings
from minialex.weights import checkpoint
from minialex.weights.checkpoint import LAST_CHECKPOINT


@dataclass(frozen=True)
class Fold:
    """A fold to be trained. It can be pickled.

    Attributes
    ----------
    settings : Settings
    data : RunData
        The images of the other folds to train on, and its own to validate on.
    number, k : int
        Which fold of how many, from 1.
    out : Path
        The folder of all folds.
    """

    settings: Settings
    data: RunData
    number: int
    k: int
    out: Path

    def train(
        self, reporter: Reporter, asked: Callable[[], Signals | None]
    ) -> FoldRecord | Signals:
        """Train, evaluate and record the fold; returns what stopped it where it was stopped.

        Parameters
        ----------
        reporter : Reporter
            The progress callbacks of its run.
        asked : callable
            Returns the signal that asked for a stop elsewhere, or None.
        """
        folder = fold_folder(self.out, self.number)
        trainer = Trainer(self.settings, self.data, folder, saved=self._saved(folder))
        outcome = trainer.run(reporter, asked=asked)
        if outcome.signal is not None:
            return outcome.signal
        name = str(outcome.checkpoint.relative_to(self.out))
        evaluation = evaluate(trainer.state.model, trainer.eval_loader, reporter.validating)
        record = make_record(self.number, self.k, name, len(self.data.train), evaluation)
        write_record(self.out, record)
        return record

    def _saved(self, folder: Path) -> checkpoint.Checkpoint | None:
        """Return the fold's checkpoint to resume from; without one, clear its folder."""
        if (folder / LAST_CHECKPOINT).exists():
            return checkpoint.load(folder / LAST_CHECKPOINT)
        with write_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
        return None
