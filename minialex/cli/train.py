"""``minialex train``: train a network, or go on with a run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from minialex.cli.emulation import command_line, device_under, running_on
from minialex.cli.options import (
    SectionCommand,
    SectionOption,
    console,
    file_argument,
    number,
    refuse_beside,
)
from minialex.cli.progress import ConsoleReporter
from minialex.cli.streams import lines_are_remarks
from minialex.cli.training import settings_of, training_options
from minialex.errors import MinialexError
from minialex.kfold.fold_records import PLAN
from minialex.train.report import Outcome
from minialex.train.run import CHANGEABLE
from minialex.train.run import resume as go_on
from minialex.train.run import train as start
from minialex.train.settings import DECLARATIONS
from minialex.wording import counted

_MAY_CHANGE = ", ".join(
    f"--{d.option}" for d in DECLARATIONS.values() if d.name in CHANGEABLE and d.section
)


@click.command(cls=SectionCommand, short_help="Train a network on images.")
@file_argument("data", required=False)
@click.option(
    "--out",
    cls=SectionOption,
    section="Run",
    metavar="DIR",
    help="A new folder for the run.  [runs/NAME, numbered]",
)
@click.option(
    "--resume",
    cls=SectionOption,
    section="Run",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help=f"Go on with a run that was stopped; {_MAY_CHANGE}, --use and --emulate may change.",
)
@click.option(
    "--stop-after",
    cls=SectionOption,
    section="Run",
    type=number,
    metavar="N",
    help="Stop after so many batches, as after Ctrl-C.",
)
@training_options()
def train(
    data: Path | None,
    resume: Path | None,
    stop_after: int | None,
    config: Path | None,
    recipe: str | None,
    emulate: str | None,
    use: tuple[str, ...],
    **options: Any,
) -> None:
    """Train AlexNet on the images in the folder DATA, or on the built-in digits without one.

    \b
    DATA holds one folder of images per class, either
      DATA/train/<class>/* and DATA/val/<class>/*    or
      DATA/<class>/*, of which a fifth is kept for validation.
    The first lines printed say what was found in DATA, and what is not used.

    Without DATA, alexnet-mini learns scikit-learn's handwritten digits, drawn as 64x64 images, in
    half a minute. A folder gets alexnet at 227x227 pixels, by the recipe images; one of images up
    to 64x64 gets alexnet-mini, by small-images.

    The run's folder holds the checkpoints last.safetensors and best.safetensors, metrics.jsonl,
    curves.png and settings.json, and TensorBoard events where tensorboardX is installed. The best
    epoch has the highest validation accuracy, and the lowest validation loss among equals. Ctrl-C
    finishes the batch, saves and says how to go on; a resumed run ends with the very numbers of
    one that was never stopped, if it goes on with the same processor, number of cores, --use and
    --emulate. Beside --resume, DATA is the new place of the same images.

    \b
    Examples:
      minialex train
      minialex train photos --network alexnet-mini --epochs 20
      minialex train photos --pretrained alexnet-owt-7be5be79.pth --lr 0.0001
      minialex train --config runs/photos/settings.json --seed 1
      minialex train --resume runs/photos
      minialex train --resume runs/photos /mnt/photos   the images were moved there
      minialex train --emulate --batch-size 4 --stop-after 3 --log-every 1   on CUDA kernels
    """
    lines_are_remarks()
    options["device"] = device_under(emulate, options["device"])
    with running_on(emulate, use), ConsoleReporter(console) as reporter:
        if resume is None:
            settings = settings_of(config, recipe, data, options)
            outcome = start(settings, reporter, stop_after=stop_after)
        else:
            refuse_beside("--resume", ("config", "recipe"))
            if (resume / PLAN).exists():
                again = command_line("kfold", "--resume", resume, emulate=emulate, use=use)
                raise MinialexError(f"{resume} holds a cross-validation: go on with {again}")
            place = None if data is None else str(data)
            outcome = go_on(resume, reporter, stop_after=stop_after, data=place, **options)
    if outcome.finished:
        _print_result(outcome)
    else:
        again = command_line("train", "--resume", outcome.folder, emulate=emulate, use=use)
        _print_stop(outcome, again)
    sys.exit(outcome.exit_status)


def _print_stop(outcome: Outcome, again: str) -> None:
    by = "" if outcome.signal is None else f" by {outcome.signal.name}"
    console.print(
        f"stopped{by} after {counted(outcome.step, 'batch')}; saved in {outcome.checkpoint}. "
        f"Go on with: {again}"
    )


def _print_result(outcome: Outcome) -> None:
    console.print(
        f"validation accuracy {outcome.best_accuracy:.2f} % (epoch {outcome.best_epoch}, the "
        f"best); see {outcome.folder / 'curves.png'}; "
        f"evaluate it with: minialex evaluate {shlex.quote(str(outcome.folder))}"
    )
