"""How a cross-validation looks while it runs: a bar per fold, or plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from minialex.cli.progress import LEAST_BAR_WIDTH, ConsoleReporter, duration, fitting_status
from minialex.kfold.fold_records import FoldRecord
from minialex.kfold.fold_reporter import FoldReporter, FoldsPlan
from minialex.train.report import EpochEnd, Reporter, RunPlan, TrainingProgress
from minialex.wording import counted, one_line

MAX_ROWS = 12
"""Of more folds and classes only the smallest and the largest are said."""


class ConsoleFoldReporter(ConsoleReporter, FoldReporter):
    """Shows a cross-validation: its plan, a bar per fold, each fold's epochs, what came of it.

    Where the terminal has too few lines, only the folds that are being trained have bars.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bars: dict[int, TaskID] = {}
        self.all_fit = True

    def planned(self, plan: FoldsPlan) -> None:
        """Say what is trained on what, and where it goes; show the bars."""
        s, k, say = plan.settings, len(plan.counts), self.console.print
        say(
            f"{s.variant}, {s.image_size}x{s.image_size} pixels, on {', '.join(plan.devices)}; "
            f"{k} folds of {counted(s.epochs, 'epoch')}, batches of {s.batch_size}, "
            f"{s.optimizer} at {s.lr:g} ({s.schedule}), seed {s.seed}"
        )
        at_once = "one fold" if plan.jobs == 1 else f"{plan.jobs} folds"
        say(
            f"{at_once} at a time, on {counted(plan.threads, 'core')}"
            f"{'' if plan.jobs == 1 else ' each'}; everything goes to {plan.folder}"
        )
        self._say_counts(plan)
        if self.task is not None:
            self.live.remove_task(self.task)
            self.task = None
        self.all_fit = k < self.console.height - 3
        for fold in range(1, k + 1):
            self.bars[fold] = self.live.add_task(
                f"fold {fold:{len(str(k))}}", total=1, status="waiting", visible=self.all_fit
            )

    def _say_counts(self, plan: FoldsPlan) -> None:
        """Say how many images of each class a fold has: as a table where one fits."""
        folds = [f"fold {n}" for n in range(1, len(plan.counts) + 1)]
        by_class = list(zip(*plan.counts, strict=True))
        unlimited = self.console.options.update(max_width=1_000_000)
        for rows, columns, counts in (
            (folds, plan.classes, plan.counts),
            (plan.classes, folds, by_class),
        ):
            lines = _table_of_counts(rows, columns, counts)
            width = self.console.measure(lines, options=unlimited).maximum
            if len(rows) <= MAX_ROWS and width <= self.console.width:
                self.console.print(lines)
                return
        sums = [sum(counts) for counts in by_class]
        few, many = sums.index(min(sums)), sums.index(max(sums))
        self.console.print(
            f"each fold has {_range(by_class[few])} of class {plan.classes[few]!r}, the smallest, "
            f"to {_range(by_class[many])} of {plan.classes[many]!r}, the largest"
        )

    def fold_started(self, fold: int, k: int) -> Reporter:
        """Return what shows the run of this fold."""
        run = _FoldRun(self, fold)
        run.show(0, "starting")
        return run

    def fold_ended(self, record: FoldRecord) -> None:
        """Write how the fold went."""
        self.live.update(
            self.bars[record.fold],
            completed=1,
            status=f"{record.accuracy:.2f} %",
            visible=self.all_fit,
        )
        self.console.print(
            f"fold {record.fold}/{record.k}: {record.accuracy:.2f} % of "
            f"{counted(record.images, 'validation image')} ({record.checkpoint})"
        )


class _FoldRun(Reporter):
    """Shows the run of one fold: its bar, and a line per epoch.

    Parameters
    ----------
    folds : ConsoleFoldReporter
    fold : int
    """

    def __init__(self, folds: ConsoleFoldReporter, fold: int) -> None:
        self.folds, self.fold = folds, fold
        self.console, self.done = folds.console, 0.0

    def show(self, done: float, status: str) -> None:
        """Move the bar, which is shown from now on, to a share of the whole."""
        self.done = done
        self.folds.live.update(
            self.folds.bars[self.fold], completed=done, status=status, visible=True
        )

    def started(self, plan: RunPlan) -> None:
        """Say where the fold goes on."""
        done = (plan.epoch + plan.batch / plan.batches) / plan.settings.epochs
        self.show(done, f"epoch {min(plan.epoch + 1, plan.settings.epochs)}")
        if 0 < done < 1:
            self.message(f"going on in epoch {plan.epoch + 1} after batch {plan.batch}")

    def batch(self, progress: TrainingProgress) -> None:
        """Move the bar."""
        p = progress
        parts = {
            f"epoch {p.epoch}/{p.epochs}": 3,
            f"loss {p.loss:.3f}": 1,
            f"accuracy {p.accuracy:.1f} %": 2,
            f"{duration(p.seconds_left)} left": 4,
        }
        room = self.console.width - len("fold 10") - LEAST_BAR_WIDTH
        self.show((p.epoch - 1 + p.batch / p.batches) / p.epochs, fitting_status(parts, room))

    def validating(self, done: int, total: int) -> None:
        """Say how many validation images are done."""
        self.show(self.done, f"validation {done:,}/{total:,}")

    def epoch_ended(self, end: EpochEnd) -> None:
        """Write how the epoch went."""
        self.console.print(
            f"fold {self.fold}, epoch {end.epoch}/{end.epochs}: train loss {end.train_loss:.3f}, "
            f"{end.train_accuracy:.2f} %; validation loss {end.val_loss:.3f}, "
            f"{end.val_accuracy:.2f} %"
        )

    def message(self, text: str) -> None:
        """Write a sentence on the fold."""
        self.console.print(one_line(f"fold {self.fold}: {text}"))


def _table_of_counts(
    rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]
) -> Table:
    lines = Table("images", box=None, pad_edge=False)
    for name in columns:
        lines.add_column(name, justify="right", no_wrap=True)
    for name, row in zip(rows, counts, strict=True):
        lines.add_row(name, *(f"{count:,}" for count in row))
    return lines


def _range(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return counted(least, "image") if least == most else f"{least:,} or {most:,} images"
