"""How a run looks while it runs: a live bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from minialex.autograd import FP32
from minialex.cuda import emulation
from minialex.data import UnreadableImage
from minialex.train.report import EpochEnd, Reporter, RunPlan, TrainingProgress
from minialex.wording import counted, enumerated, one_line

LEAST_BAR_WIDTH = 6
"""Columns of a bar, with the blanks around it."""


def duration(seconds: float | None) -> str:
    """Return a time as ``m:ss`` or ``h:mm:ss``; dashes where it is not known."""
    if seconds is None:
        return "-:--"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def _fitting(names: Sequence[str], columns: int) -> str:
    """Return the first of `names`, as many as fit, and how many more there are."""
    most = min(len(names), columns)
    while most > 1 and cell_len(enumerated(names, most)) > columns:
        most -= 1
    return enumerated(names, most)


def fitting_status(parts: Mapping[str, int], columns: int) -> str:
    """Return those of `parts`, which say how much they matter, for which there is room."""
    kept = list(parts)
    while len(kept) > 1 and len("  ".join(kept)) > columns:
        kept.remove(min(kept, key=parts.__getitem__))
    return "  ".join(kept)


class ConsoleReporter(Reporter):
    """Shows a run on a console.

    Parameters
    ----------
    console : Console
        A terminal gets a live bar under the log; anything else gets the log's lines alone.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[status]}", justify="right"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.live.stop()

    def opened(self, classes: Sequence[str], validation: str) -> None:
        """Say what was understood of the images, before anything is trained."""
        names = list(map(one_line, classes))
        self.console.print(f"classes: {_fitting(names, self.console.width - len('classes: '))}")
        self.console.print(f"validation: {validation}")

    def checking(self, done: int, total: int) -> None:
        """Move the bar over the images that are checked."""
        self._move("checking the images", done, total, f"{done:,}/{total:,}")

    def started(self, plan: RunPlan) -> None:
        """Say what is trained on what, and where it goes."""
        s = plan.settings
        say = self.console.print
        trained = f"{plan.parameters:,} parameters"
        if s.freeze:
            trained = f"{plan.trained_parameters:,} of {trained} trained (not {s.freeze})"
        precision = "" if s.precision == FP32 else f" in {s.precision}"
        say(
            f"{s.variant}, {trained}, on {plan.device}{_emulation()}{precision}; "
            f"{counted(plan.train_images, 'training image')}, "
            f"{counted(plan.val_images, 'validation image')}, "
            f"{counted(len(plan.classes), 'class')}, {s.image_size}x{s.image_size} pixels"
        )
        total = s.epochs * plan.batches
        of = f"{plan.warmup:,} of {counted(total, 'batch')}"
        warmup = f", warm-up over {of}" if plan.warmup else ""
        say(
            f"{counted(s.epochs, 'epoch')} of {counted(plan.batches, 'batch')} of {s.batch_size}, "
            f"{s.optimizer} at {s.lr:g} ({s.schedule}{warmup}), seed {s.seed}; "
            f"everything goes to {plan.folder}"
        )
        if plan.epoch == s.epochs:
            longer = f"--resume {shlex.quote(str(plan.folder))} --epochs {2 * s.epochs}"
            say(
                f"finished: nothing is left of {counted(s.epochs, 'epoch')}. To train longer: "
                f"minialex train {longer}, with the learning rate of a run of that length"
            )
        elif plan.epoch or plan.batch:
            after = f" after {counted(plan.batch, 'batch')}" if plan.batch else ""
            say(f"going on in epoch {plan.epoch + 1}{after}")

    def batch(self, progress: TrainingProgress) -> None:
        """Move the bar."""
        title = f"epoch {progress.epoch}/{progress.epochs}"
        parts = {
            f"{progress.batch}/{progress.batches}": 5,
            f"loss {progress.loss:.3f}": 3,
            f"accuracy {progress.accuracy:.1f} %": 2,
            f"{progress.images_per_second:,.0f} images/s": 1,
            f"{duration(progress.seconds_left)} left": 4,
        }
        room = self.console.width - len(title) - LEAST_BAR_WIDTH
        self._move(title, progress.batch, progress.batches, fitting_status(parts, room))

    def line(self, text: str) -> None:
        """Write a line of the log."""
        self.console.print(text, style="dim")

    def validating(self, done: int, total: int) -> None:
        """Move the bar over the validation images."""
        self._move("validation", done, total, f"{done:,}/{total:,} images")

    def epoch_ended(self, end: EpochEnd) -> None:
        """Write how the epoch went."""
        best = "  best so far" if end.best else ""
        self.console.print(
            f"epoch {end.epoch}/{end.epochs}: train loss {end.train_loss:.4f}, "
            f"accuracy {end.train_accuracy:.2f} %; validation loss {end.val_loss:.4f}, "
            f"accuracy {end.val_accuracy:.2f} %; {duration(end.seconds)}{best}"
        )

    def message(self, text: str) -> None:
        """Write a sentence."""
        self.console.print(one_line(text))

    def _move(self, title: str, done: int, total: int, status: str) -> None:
        if self.task is None:
            self.task = self.live.add_task(title, total=total, status="")
        self.live.update(self.task, description=title, completed=done, total=total, status=status)


def _emulation() -> str:
    """Say that kernels run where arrays are the CPU's."""
    active = emulation()
    return "" if active is None else f" by emulated CUDA kernels ({active.mode})"


@contextmanager
def counting(
    console: Console, title: str, *, show: bool = True
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while something is counted off; yields ``move(done, total)``."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,}/{task.total:,}"),
    )
    hidden = not (show and console.is_terminal)
    with Progress(*columns, console=console, disable=hidden, transient=True) as live:
        task: list[TaskID] = []

        def move(done: int, total: int) -> None:
            if not task:
                task.append(live.add_task(title, total=total))
            live.update(task[0], completed=done, total=total)

        yield move


def tell_skipped(console: Console, skipped: Sequence[UnreadableImage]) -> None:
    """List the images that were left out, if there are any."""
    if skipped:
        console.print(f"left out {counted(len(skipped), 'image')} that cannot be read:")
    for bad in skipped:
        console.print(one_line(f"  {bad.name}: {bad.reason}"))
