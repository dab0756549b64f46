"""What a cross-validation reports while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minialex.kfold.fold_records import FoldRecord
from minialex.train.report import Reporter
from minialex.train.settings import Settings


@dataclass(frozen=True)
class FoldsPlan:
    """What is about to happen.

    Attributes
    ----------
    settings : Settings
    classes : tuple of str
    counts : sequence of sequences of int
        For each fold, its images of each class.
    devices : tuple of str
    jobs, threads : int
        Folds that are trained at the same time, and the cores that each uses.
    folder : Path
        The folder of all folds.
    """

    settings: Settings
    classes: tuple[str, ...]
    counts: Sequence[Sequence[int]]
    devices: tuple[str, ...]
    jobs: int
    threads: int
    folder: Path


class FoldReporter(Reporter):
    """Callbacks of a cross-validation; those of training are of any fold that goes on."""

    def planned(self, plan: FoldsPlan) -> None:
        """Take what is about to start or go on."""

    def fold_started(self, fold: int, k: int) -> Reporter | None:
        """Take the number, from 1, of a fold that is about to be trained or to go on.

        Returns
        -------
        Reporter or None
            What takes the callbacks of its run; None for this reporter itself.
        """
        return None

    def fold_ended(self, record: FoldRecord) -> None:
        """Take the record of a fold; also of those that were done before."""
