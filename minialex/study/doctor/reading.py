"""A run's folder, opened for reading alone: what there is of it, and what there is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from minialex.errors import MinialexError
from minialex.kfold.fold_images import divide, open_images
from minialex.train.factory import check_data_is_there, open_data, warmup_batches
from minialex.train.metrics import METRICS_FILE, MetricsRecord, read_metrics
from minialex.train.run import SETTINGS_FILE, read_settings
from minialex.train.run_state import RunData
from minialex.train.settings import Settings
from minialex.weights import checkpoint
from minialex.weights.checkpoint import LAST_CHECKPOINT, Checkpoint

Read = TypeVar("Read")

AS_ENDS = "as one does that is killed or whose loss is not finite"


@dataclass
class OpenedRun:
    """What a run left behind. What is missing is None, and `unseen` says why.

    Attributes
    ----------
    path : Path
    settings : Settings
    metrics : list of MetricsRecord
    saved : Checkpoint or None
        The last one.
    data : RunData or None
        The images, as they are now.
    unseen : list of str
    """

    path: Path
    settings: Settings
    metrics: list[MetricsRecord] = field(default_factory=list)
    saved: Checkpoint | None = None
    data: RunData | None = None
    unseen: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int | None:
        """How many batches the run was trained on, by its metrics and its checkpoint."""
        known = [record.step for record in self.metrics]
        if self.saved is not None:
            known.append(self.saved.manifest["position"]["step"])
        return max(known, default=None)

    @property
    def planned(self) -> tuple[int, int] | None:
        """Over how many batches the rate was to rise, and how many there were to be; or None."""
        if self.data is None:
            return None
        batches = -(-len(self.data.train) // self.settings.batch_size)
        try:
            return warmup_batches(self.settings, batches), self.settings.epochs * batches
        except MinialexError:
            # the images are fewer than they were
            return None


def open_run(folder: str | Path) -> OpenedRun:
    """Read what there is in a run's folder; nothing is written, and no lock is taken.

    Raises
    ------
    MinialexError
        If it is no run's folder, or its settings are damaged.
    """
    path = Path(folder)
    if not os.path.isdir(path):
        what = "is a file" if os.path.lexists(path) else "is not there"
        raise MinialexError(f"{path} {what}: give the folder of a run, such as runs/digits")
    if not any(os.path.lexists(path / name) for name in (SETTINGS_FILE, LAST_CHECKPOINT)):
        runs = sorted(path.glob(f"*/{LAST_CHECKPOINT}"))
        such = f"a run in it, such as {runs[0].parent}" if runs else "the folder of a run"
        raise MinialexError(f"there is no run in {path}: give {such}")
    unseen: list[str] = []
    saved = or_note(unseen, "the network", lambda: _last(path))
    from_file = saved is None or os.path.lexists(path / SETTINGS_FILE)
    settings = read_settings(path / (SETTINGS_FILE if from_file else LAST_CHECKPOINT))
    run = OpenedRun(path, settings, saved=saved, unseen=unseen)
    run.metrics = or_note(unseen, "the loss", lambda: _metrics(run)) or []
    unseen += _ended(run)
    run.data = or_note(unseen, "the images", lambda: _images(settings, saved))
    return run


def or_note(unseen: list[str], what: str, read: Callable[[], Read]) -> Read | None:
    """Return what `read` returns; where it raises MinialexError, note why, and return None."""
    try:
        return read()
    except MinialexError as error:
        unseen.append(f"{what}: {error}")
        return None


def _last(path: Path) -> Checkpoint:
    if not os.path.lexists(path / LAST_CHECKPOINT):
        raise MinialexError(
            f"there is no {LAST_CHECKPOINT}: it was removed, or the run ended before it wrote one, "
            f"{AS_ENDS}"
        )
    return checkpoint.load(path / LAST_CHECKPOINT)


def _metrics(run: OpenedRun) -> list[MetricsRecord]:
    if not os.path.lexists(run.path / METRICS_FILE):
        raise MinialexError(f"there is no {METRICS_FILE}")
    found = read_metrics(run.path / METRICS_FILE)
    steps = [record.step for record in found if record.split == "train"]
    if not steps:
        raise MinialexError(
            f"{METRICS_FILE} has none of a training batch: each {run.settings.log_every:,} batches "
            "one is written, but none of a loss that is not finite"
        )
    saved = run.saved.manifest["position"]["step"] if run.saved else 0
    if saved - max(steps) >= run.settings.log_every:
        raise MinialexError(
            f"{METRICS_FILE} ends at step {max(steps):,}, and {LAST_CHECKPOINT} is of step "
            f"{saved:,}: it was cut"
        )
    return found


def _ended(run: OpenedRun) -> list[str]:
    """Return a line on a run that went on after its last checkpoint; none if it did not."""
    saved = run.saved.manifest["position"]["step"] if run.saved else None
    if saved is None or run.steps is None or run.steps <= saved:
        return []
    return [
        f"the network after step {saved:,}, of which {LAST_CHECKPOINT} is: the run came at least "
        f"to step {run.steps:,}, and still runs, or ended there {AS_ENDS}"
    ]


def _images(settings: Settings, saved: Checkpoint | None) -> RunData:
    check_data_is_there(settings, "put them back")
    fold = None if saved is None else saved.fold
    if fold is None:
        return open_data(settings)
    images, skipped = open_images(settings)
    train, val = divide(images, fold[1], settings.seed)[fold[0] - 1]
    return RunData(train, val, tuple(skipped), fold=fold)
