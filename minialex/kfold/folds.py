"""k-fold cross-validation: train on all folds but one, evaluate on that one, in turn.

The article (its section 3.5) loads saved models and evaluates them on folds of the test set; it
never trains them (`minialex.kfold.evaluate_folds` does that). Here each fold has a new network,
trained on the other folds.

Folds trained at the same time, each with its share of the cores, give the same networks as one
after the other: equal to the last bit where each has as many cores as before, and otherwise
equal but for rounding. A share depends on the number of jobs, folds and cores alone, not on how
many folds are left: one that was stopped and went on gives the very numbers of one that was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minialex import arrays
from minialex.cpu import threads
from minialex.data import Subset
from minialex.data.fingerprint import fingerprint
from minialex.errors import MinialexError
from minialex.kfold.fold import Fold
from minialex.kfold.fold_images import divide, open_images
from minialex.kfold.fold_records import (
    FoldRecord,
    KFoldResult,
    check_same_plan,
    fold_folder,
    read_engine,
    read_record,
    write_plan,
)
from minialex.kfold.fold_reporter import FoldReporter, FoldsPlan
from minialex.kfold.identical_images import identical_images_note
from minialex.kfold.parallel import devices_for, train_in_parallel
from minialex.run_folder import RunFolder, claim, remove_parts
from minialex.train.factory import check_data_is_there
from minialex.train.report import Reporter
from minialex.train.run import engine, engine_change, new_folder, with_absolute_path
from minialex.train.run_state import RunData
from minialex.train.settings import DIGITS, Settings
from minialex.train.signals import StopRequest, stop_on_signals
from minialex.wording import counted


def kfold(
    settings: Settings,
    k: int = 5,
    *,
    jobs: int = 1,
    resume: bool = False,
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
        where there are several. Where there are fewer folds or cores, as many as these.
    resume : bool
        Go on in the settings' folder, in the middle of the fold where it stopped.
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
    if resume:
        check_data_is_there(
            settings, f"say where they are: minialex kfold --resume {settings.out} DATA"
        )
    dataset, unreadable = open_images(settings, reporter)
    parts = divide(dataset, k, settings.seed)
    reporter.opened(dataset.classes, f"each of {k} folds of {len(dataset):,} images in turn")
    if settings.data != DIGITS:
        _warn_of_identical_images([val for _, val in parts], settings, reporter)
    images = fingerprint(all=dataset)
    out = settings.out or str(new_folder(settings, "kfold"))
    computes = engine(settings, max(1, threads.cores() // _at_once(jobs, k)))
    with claim(out, resume=resume) as folder:
        if resume:
            check_same_plan(folder.path, settings, k, images, dataset.classes)
            computes = _engine_told(folder.path, k, computes, reporter)
        write_plan(folder.path, settings, k, images, computes)
        folds = [
            Fold(settings, RunData(*part, fold=(i, k)), i, k, folder.path)
            for i, part in enumerate(parts, 1)
        ]
        with stop_on_signals() as stop:
            _train_folds(folder, folds, jobs, stop, reporter)
        records = (read_record(folder.path, fold.number) for fold in folds)
        done = tuple(record for record in records if record)
        signal = stop.signal if len(done) < k else None
        return KFoldResult(done, k, signal, tuple(unreadable), folder.path)


def _warn_of_identical_images(
    folds: Sequence[Subset], settings: Settings, reporter: Reporter
) -> None:
    note = identical_images_note(folds, settings.data)
    if note:
        reporter.message(note)


def _engine_told(out: Path, k: int, now: str, reporter: Reporter) -> str:
    """Return on what the last fold is computed; tell the user if the first one was on another."""
    before = read_engine(out)
    if all(read_record(out, fold) for fold in range(1, k + 1)):
        return before
    for sentence in engine_change(before, now):
        reporter.message(sentence)
    return now


def _at_once(jobs: int, k: int) -> int:
    """Return how many of `k` folds can be trained at the same time, where so many are asked for."""
    return min(jobs, k, threads.cores())


def _train_folds(
    folder: RunFolder, folds: Sequence[Fold], jobs: int, stop: StopRequest, reporter: FoldReporter
) -> None:
    """Train the folds that are not done, until all are or a stop is requested."""
    possible = _at_once(jobs, len(folds))
    reporter.planned(_plan(folds, possible))
    if possible < jobs:
        reporter.message(
            f"{possible} at a time, not {jobs}: there are {len(folds)} folds and "
            f"{counted(threads.cores(), 'core')}"
        )
    remaining = []
    for fold in folds:
        # a killed cross-validation may have left some
        remove_parts(fold_folder(folder.path, fold.number))
        record = read_record(folder.path, fold.number)
        if record is None:
            remaining.append(fold)
        else:
            reporter.fold_ended(record)
    # the last one left has a share of the cores too: with another, it would round differently
    if possible > 1:
        train_in_parallel(remaining, possible, folder.lock, stop, reporter)
    else:
        _train_one_by_one(remaining, stop, reporter)


def _plan(folds: Sequence[Fold], jobs: int) -> FoldsPlan:
    settings, classes = folds[0].settings, folds[0].data.train.classes
    counts = [np.bincount(fold.data.val.targets, minlength=len(classes)) for fold in folds]
    return FoldsPlan(
        settings=settings,
        classes=tuple(classes),
        counts=[count.tolist() for count in counts],
        devices=tuple(devices_for(settings.device)[:jobs]),
        jobs=jobs,
        threads=max(1, threads.cores() // jobs),
        folder=folds[0].out,
    )


def _train_one_by_one(folds: Sequence[Fold], stop: StopRequest, reporter: FoldReporter) -> None:
    for fold in folds:
        if stop:
            return
        of_run = reporter.fold_started(fold.number, fold.k) or reporter
        ended = fold.train(of_run, lambda: stop.signal)
        if isinstance(ended, FoldRecord):
            reporter.fold_ended(ended)
        else:
            stop.signal = ended
