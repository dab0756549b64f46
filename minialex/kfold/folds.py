"""k-fold cross-validation: train on all folds but one, evaluate on that one, in turn.

The article (its section 3.5) loads saved models and evaluates them on folds of the test set; it
never trains them (`minialex.kfold.evaluate_folds` does that). Here each fold has a new network,
trained on the other folds.

Folds trained at the same time, each with its share of the cores, give the same networks as one
after the other: equal to the last bit where each has as many threads as before, and otherwise
equal but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from signal import Signals

from minialex import arrays
from minialex.errors import MinialexError
from minialex.kfold.fold import Fold, request_stop, stop_file
from minialex.kfold.fold_images import divide, open_images
from minialex.kfold.fold_records import (
    FoldRecord,
    KFoldResult,
    check_same_plan,
    read_record,
    write_plan,
)
from minialex.kfold.parallel import remove_device_locks, train_in_parallel
from minialex.train.report import Reporter
from minialex.train.run import new_folder, with_absolute_path
from minialex.train.run_folder import claim
from minialex.train.run_state import RunData
from minialex.train.settings import Settings
from minialex.train.signals import StopRequest, stop_on_signals


class FoldReporter(Reporter):
    """Callbacks of a cross-validation; those of training only where folds run one by one."""

    def fold_started(self, fold: int, k: int) -> None:
        """Take the number, from 1, of a fold that is about to be trained or to go on."""

    def fold_ended(self, record: FoldRecord) -> None:
        """Take the record of a fold; also of those that were done before."""


def kfold(
    settings: Settings,
    k: int = 5,
    *,
    jobs: int = 1,
    resume: bool = False,
    dask: str | None = None,
    reporter: FoldReporter | None = None,
) -> KFoldResult:
    """Train and evaluate a network on each of `k` folds.

    Each fold writes a folder of its own in that of the settings, with a checkpoint and, at its
    end, a record. The accuracy is that after the last epoch: to choose the best epoch would be to
    choose by the validation images.

    Parameters
    ----------
    settings : Settings
        Every fold is trained with these. `seed` is that of the folds too.
    k : int
        At least 2, at most the number of images of the smallest class.
    jobs : int
        How many folds to train at the same time, in processes that share the cores, and the GPUs
        where there are several.
    resume : bool
        Go on in the settings' folder, in the middle of the fold where it stopped.
    dask : str, optional
        The address of a Dask scheduler whose workers train the folds. They must see the same
        files under the same names.
    reporter : FoldReporter, optional
        Its methods are called as the folds go on.

    Returns
    -------
    KFoldResult
        Also after a signal asked for a stop; of the folds that are done by then.

    Raises
    ------
    MinialexError
        If a class has too few images, if the folder was begun with other settings, or as `train`.
    """
    if jobs < 1:
        raise MinialexError(f"jobs is {jobs}: give 1 or more")
    reporter, settings = reporter or FoldReporter(), with_absolute_path(settings)
    arrays.device(settings.device)
    dataset, unreadable = open_images(settings, reporter)
    parts = divide(dataset, k, settings.seed)
    reporter.opened(dataset.classes, f"each of {k} folds of {len(dataset):,} images in turn")
    out = settings.out or str(new_folder(settings, "kfold"))
    with claim(out, resume=resume) as folder:
        if resume:
            check_same_plan(folder.path, settings, k)
        write_plan(folder.path, settings, k)
        folds = [
            Fold(settings, RunData(*part, fold=(i, k)), i, k, folder.path)
            for i, part in enumerate(parts, 1)
        ]
        signal = _train_folds(folder.path, folds, jobs, dask, reporter)
        records = (read_record(folder.path, fold.number) for fold in folds)
        return KFoldResult(
            tuple(r for r in records if r), k, signal, tuple(unreadable), folder.path
        )


def _train_folds(
    out: Path, folds: Sequence[Fold], jobs: int, dask: str | None, reporter: FoldReporter
) -> Signals | None:
    """Train the folds that are not done; returns the signal that asked for a stop."""
    marker = stop_file(out)
    # a killed cross-validation may have left these
    marker.unlink(missing_ok=True)
    remove_device_locks(out)
    remaining = []
    for fold in folds:
        record = read_record(out, fold.number)
        if record is None:
            remaining.append(fold)
        else:
            reporter.fold_ended(record)
    with stop_on_signals(marker, on_signal=lambda signal: request_stop(out, signal)) as stop:
        try:
            if dask is None and min(jobs, len(remaining)) < 2:
                _train_one_by_one(remaining, stop, reporter)
            elif remaining:
                train_in_parallel(remaining, jobs, dask, stop, reporter.fold_ended)
            return stop.signal if stop else None
        finally:
            marker.unlink(missing_ok=True)


def _train_one_by_one(folds: Sequence[Fold], stop: StopRequest, reporter: FoldReporter) -> None:
    for fold in folds:
        if stop:
            return
        reporter.fold_started(fold.number, fold.k)
        record = fold.train(reporter)
        if record is None:
            return
        reporter.fold_ended(record)
