"""k-fold cross-validation: train on all folds but one, judge on that one, in turn.

The article (its section 3.5) loads saved models and evaluates them on folds of the test set; it
never trains them, so its figure says how a test set of fewer images would scatter. `kfold` does
what the name means: each fold has a fresh network, trained on the other folds. `evaluate_folds` is
the article's loop as it stands.

Folds trained at the same time, each on its share of the cores, give the same networks as one
after the other: equal to the last bit where each has as many threads as before, and otherwise
equal but for rounding.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals

import joblib

from minialex import arrays
from minialex.cpu import threads
from minialex.data import (
    DataLoader,
    Dataset,
    Digits,
    ImageFolder,
    Subset,
    UnreadableImage,
    drop_unreadable,
    folds,
)
from minialex.data.folders import check_trainable, find_dataset_folders, folder_notes
from minialex.errors import MinialexError
from minialex.evaluation.evaluate import evaluate
from minialex.kfold.fold_records import (
    FoldRecord,
    Folds,
    check_same_plan,
    fold_folder,
    read_record,
    record_of,
    write_plan,
    write_record,
)
from minialex.kfold.load import evaluation_set, load_trained
from minialex.train.factory import LAST, Data, MessageCallback
from minialex.train.loop import Trainer
from minialex.train.report import Reporter
from minialex.train.run import new_folder, with_whole_path
from minialex.train.run_folder import claim
from minialex.train.settings import DIGITS, Settings
from minialex.train.signals import StopRequest, stop_on_signals
from minialex.weights import checkpoint

MARKER, TOKEN = ".stop", ".device-"


class FoldReporter(Reporter):
    """Hears of folds, and of what happens inside them where they come one after the other."""

    def fold_started(self, fold: int, k: int) -> None:
        """Hear that a fold, from 1, is about to be trained or to go on."""

    def fold_ended(self, record: FoldRecord) -> None:
        """Hear how a fold went; also of those that were done before."""


def kfold(
    settings: Settings,
    k: int = 5,
    *,
    jobs: int = 1,
    resume: bool = False,
    dask: str | None = None,
    reporter: FoldReporter | None = None,
) -> Folds:
    """Train and judge a network on each of `k` folds.

    Each fold writes a folder of its own in that of the settings, with a checkpoint and, at its
    end, a record. The accuracy is that after the last epoch: to choose the best epoch would be to
    choose by the images that are to judge.

    Parameters
    ----------
    settings : Settings
        Every fold is trained with these. `seed` decides the folds too.
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
        Hears how it goes.

    Returns
    -------
    Folds
        Also after a signal asked for a stop; those that are done by then.

    Raises
    ------
    MinialexError
        If a class has too few images, if the folder was begun with other settings, or as `train`.
    """
    if jobs < 1:
        raise MinialexError(f"jobs is {jobs}: give 1 or more")
    reporter, settings = reporter or FoldReporter(), with_whole_path(settings)
    arrays.device(settings.device)
    dataset, bad = images_to_fold(settings, reporter)
    parts = cut(dataset, k, settings.seed)
    reporter.opened(dataset.classes, f"each of {k} folds of {len(dataset):,} images in turn")
    out = settings.out or str(new_folder(settings, "kfold"))
    with claim(out, resume=resume) as folder:
        if resume:
            check_same_plan(folder.path, settings, k)
        write_plan(folder.path, settings, k)
        work = [
            _Fold(settings, Data(*part, fold=(i, k)), i, k, folder.path)
            for i, part in enumerate(parts, 1)
        ]
        signal = _train_folds(work, jobs, dask, reporter)
        records = (read_record(folder.path, fold.number) for fold in work)
        return Folds(tuple(r for r in records if r), k, signal, tuple(bad), folder.path)


def _train_folds(
    work: list[_Fold], jobs: int, dask: str | None, reporter: FoldReporter
) -> Signals | None:
    """Train the folds that are not done; returns the signal that asked for a stop."""
    marker = work[0].out / MARKER
    _sweep(work[0].out)
    to_do = []
    for fold in work:
        record = read_record(fold.out, fold.number)
        if record is None:
            to_do.append(fold)
        else:
            reporter.fold_ended(record)
    with stop_on_signals(marker, heard=lambda s: _ask_to_stop(marker, s)) as stop:
        try:
            if dask is None and min(jobs, len(to_do)) < 2:
                _one_by_one(to_do, stop, reporter)
            elif to_do:
                _at_once(to_do, jobs, dask, stop, reporter)
            return stop.signal if stop else None
        finally:
            marker.unlink(missing_ok=True)


def _sweep(out: Path) -> None:
    """Remove the marks that a killed cross-validation left."""
    (out / MARKER).unlink(missing_ok=True)
    for token in out.glob(f"{TOKEN}*"):
        token.rmdir()


def _ask_to_stop(marker: Path, signal: Signals) -> None:
    marker.write_text(str(int(signal)))


def _one_by_one(to_do: list[_Fold], stop: StopRequest, reporter: FoldReporter) -> None:
    for fold in to_do:
        if stop:
            return
        reporter.fold_started(fold.number, fold.k)
        record = fold.train(reporter)
        if record is None:
            return
        reporter.fold_ended(record)


# One fold -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fold:
    """A fold to be trained, here or in another process."""

    settings: Settings
    data: Data
    number: int
    k: int
    out: Path

    def train(self, reporter: Reporter | None = None) -> FoldRecord | None:
        """Train, judge and record the fold; None if a stop was asked for before its end."""
        folder = fold_folder(self.out, self.number)
        saved = self._saved(folder)
        trainer = Trainer(self.settings, self.data, folder, saved=saved, marker=self.out / MARKER)
        outcome = trainer.run(reporter)
        if outcome.signal is not None:
            _ask_to_stop(self.out / MARKER, outcome.signal)
            return None
        name = str(outcome.checkpoint.relative_to(self.out))
        evaluation = evaluate(trainer.model, trainer.val_loader)
        record = record_of(self.number, self.k, name, len(self.data.train), evaluation)
        write_record(self.out, record)
        return record

    def _saved(self, folder: Path) -> checkpoint.Checkpoint | None:
        """Return where the fold stands; without a checkpoint it starts afresh."""
        if (folder / LAST).exists():
            return checkpoint.load(folder / LAST)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        return None


# Several at once ----------------------------------------------------------------------------------


def _at_once(
    to_do: list[_Fold], jobs: int, dask: str | None, stop: StopRequest, reporter: FoldReporter
) -> None:
    count = min(jobs, len(to_do))
    devices = _devices(to_do[0].settings.device)
    share = max(1, threads.cores() // count) if dask is None else None
    with _backend(dask, share):
        parallel = joblib.Parallel(
            n_jobs=count if dask is None else -1, return_as="generator_unordered"
        )
        calls = (joblib.delayed(_elsewhere)(fold, share, devices) for fold in to_do)
        try:
            for record in parallel(calls):
                if record is not None:
                    reporter.fold_ended(record)
        except BrokenProcessPool as error:
            # a terminal's Ctrl-C reaches idle workers too, and ends them
            if not stop:
                raise MinialexError(
                    "a process that trained a fold was killed, perhaps for want of memory: "
                    "lower jobs or the batch size, and resume"
                ) from error


@contextlib.contextmanager
def _backend(dask: str | None, share: int | None) -> Iterator[None]:
    """Let joblib send its calls to processes here or, through Dask, elsewhere."""
    if dask is None:
        with joblib.parallel_config("loky", inner_max_num_threads=share):
            yield
        return
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise MinialexError(
            "Dask is not installed: pip install 'minialex[dask]', or give jobs instead"
        ) from error
    try:
        client = distributed.Client(dask)
    except (OSError, ValueError) as error:
        raise MinialexError(f"no Dask scheduler answers at {dask}: check the address") from error
    with client, joblib.parallel_config("dask"):
        yield


def _elsewhere(fold: _Fold, share: int | None, devices: Sequence[str]) -> FoldRecord | None:
    """Train a fold in a process of its own."""
    if (fold.out / MARKER).exists():
        return None
    if share is not None:
        os.environ[threads.VARIABLE] = str(share)
    try:
        with _one_of(devices, fold) as device:
            return replace(fold, settings=replace(fold.settings, device=device)).train()
    except MinialexError as error:
        # plain, because it has to travel: exceptions with arguments of their own do not
        raise MinialexError(f"fold {fold.number}: {error}") from None


def _devices(name: str) -> list[str]:
    """Return the devices that folds can have for themselves: all GPUs, where none is named."""
    device = arrays.device(name)
    if device.kind == "cpu" or name == str(device):
        return [str(device)]
    return [f"cuda:{i}" for i in range(arrays.cuda_count())]


@contextlib.contextmanager
def _one_of(devices: Sequence[str], fold: _Fold) -> Iterator[str]:
    """Hold a device that no other fold holds, or share one where there are fewer than folds."""
    for i, device in enumerate(devices if len(devices) > 1 else ()):
        token = fold.out / f"{TOKEN}{i}"
        try:
            token.mkdir()
        except FileExistsError:
            continue
        try:
            yield device
        finally:
            token.rmdir()
        return
    yield devices[fold.number % len(devices)]


# The images ---------------------------------------------------------------------------------------


def images_to_fold(
    settings: Settings, reporter: Reporter | None = None
) -> tuple[Dataset, list[UnreadableImage]]:
    """Return the images that are cut into folds, and those left out because they are unreadable.

    Of a folder with ``train`` and ``val`` these are the images in ``train``, so that those in
    ``val`` remain unseen; of other folders, and of the digits, they are all images. The reporter
    hears what is not used, and how many images were looked through.
    """
    if settings.data == DIGITS:
        return Digits(), []
    reporter, parts = reporter or Reporter(), find_dataset_folders(settings.data)
    folder = ImageFolder(parts.train)
    check_trainable(folder)
    unseen = [parts.val.name] if parts.val else []
    for line in folder_notes([folder], [*unseen, *parts.unused]):
        reporter.message(line)
    return (
        drop_unreadable(folder, progress=reporter.checking)
        if settings.skip_unreadable
        else (folder, [])
    )


def cut(dataset: Dataset, k: int, seed: int) -> list[tuple[Subset, Subset]]:
    """Cut images into `k` folds, stratified by class: for each what to train and to judge on.

    Raises
    ------
    MinialexError
        If `k` is below 2 or a class has fewer images than there are folds.
    """
    if k < 2:
        raise MinialexError(f"k is {k}: give 2 folds or more")
    parts = folds(dataset.targets, k, seed, dataset.classes)
    return [(Subset(dataset, train), Subset(dataset, val)) for train, val in parts]


# The article's loop -------------------------------------------------------------------------------


def evaluate_folds(
    checkpoints: Sequence[str | Path],
    k: int,
    *,
    data: str | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 32,
    workers: int = 2,
    tell: MessageCallback | None = None,
) -> Folds:
    """Judge given networks fold by fold, the i-th on the i-th fold of images it has not seen.

    Parameters
    ----------
    checkpoints : sequence of str or Path
        One for each fold, or one for all. Folders of runs and files of weights are taken too.
    k : int
        How many folds.
    data : str, optional
        A folder of images, or "digits"; see `minialex.kfold.load.evaluation_set`.
    seed : int
        Decides the folds.
    device : str
    batch_size, workers : int
    tell : callable, optional
        Called with a sentence about each kind of file that is passed over.

    Raises
    ------
    MinialexError
        If there are neither one nor `k` checkpoints, one cannot be read, or its classes are not
        those of the images.
    """
    if len(checkpoints) not in (1, k):
        raise MinialexError(
            f"{len(checkpoints)} checkpoints for {k} folds: give one for each, or one for all"
        )
    where = arrays.device(device)
    records = []
    for i in range(k):
        trained = load_trained(checkpoints[i % len(checkpoints)], device=where)
        _, held_out = cut(evaluation_set(trained, data, tell=tell).dataset, k, seed)[i]
        tell = None
        transform = trained.settings.eval_transform()
        loader = DataLoader(held_out, batch_size, transform, workers=workers, device=where)
        evaluation = evaluate(trained.model, loader)
        records.append(record_of(i + 1, k, str(trained.path), 0, evaluation))
    return Folds(tuple(records), k)
