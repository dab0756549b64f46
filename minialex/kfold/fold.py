"""One fold of a cross-validation: trained, evaluated and recorded, in this or another process."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from minialex.evaluation.evaluate import evaluate
from minialex.kfold.fold_records import FoldRecord, fold_folder, make_record, write_record
from minialex.train.loop import Trainer
from minialex.train.report import Reporter
from minialex.train.run_folder import LAST_CHECKPOINT
from minialex.train.run_state import RunData
from minialex.train.settings import Settings
from minialex.weights import checkpoint


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

    def train(self, reporter: Reporter | None = None) -> FoldRecord | None:
        """Train, evaluate and record the fold; None if a stop was requested before its end."""
        folder = fold_folder(self.out, self.number)
        saved = self._saved(folder)
        marker = stop_file(self.out)
        trainer = Trainer(self.settings, self.data, folder, saved=saved, marker=marker)
        outcome = trainer.run(reporter)
        if outcome.signal is not None:
            request_stop(self.out, outcome.signal)
            return None
        name = str(outcome.checkpoint.relative_to(self.out))
        evaluation = evaluate(trainer.state.model, trainer.eval_loader)
        record = make_record(self.number, self.k, name, len(self.data.train), evaluation)
        write_record(self.out, record)
        return record

    def _saved(self, folder: Path) -> checkpoint.Checkpoint | None:
        """Return the fold's checkpoint to resume from; without one, clear its folder."""
        if (folder / LAST_CHECKPOINT).exists():
            return checkpoint.load(folder / LAST_CHECKPOINT)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        return None


# Stopping: a file that every process looks for ----------------------------------------------------


def stop_file(out: Path) -> Path:
    """Return the file whose existence asks all folds in `out` to stop; it holds the signal."""
    return out / ".stop"


def request_stop(out: Path, signal: Signals) -> None:
    """Ask all folds in `out` to stop, in whichever process they are trained."""
    stop_file(out).write_text(str(int(signal)))
