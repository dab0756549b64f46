"""``minialex kfold``: cross-validation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from minialex.arrays import device
from minialex.autograd import check_precision
from minialex.cli.emulation import command_line, device_under, running_on
from minialex.cli.fold_progress import ConsoleFoldReporter
from minialex.cli.options import (
    SectionCommand,
    SectionOption,
    console,
    file_argument,
    is_given,
    number,
    refuse_beside,
    remark,
)
from minialex.cli.progress import tell_skipped
from minialex.cli.streams import lines_are_remarks, lines_are_results
from minialex.cli.training import settings_of, training_options
from minialex.errors import MinialexError
from minialex.kfold.evaluate_folds import evaluate_folds
from minialex.kfold.fold_records import KFoldResult, read_plan
from minialex.kfold.folds import kfold as cross_validate
from minialex.train.signals import exit_status
from minialex.weights.checkpoint import LAST_CHECKPOINT
from minialex.wording import counted

EVALUATION = {
    *("networks", "data", "k", "seed", "device", "batch_size", "workers"),
    *("precision", "emulate", "use"),
}
"""Parameters that are used where nothing is trained."""

Command = TypeVar("Command", bound=Callable[..., Any])


def _option(*names: str, **kw: Any) -> Callable[[Command], Command]:
    return click.option(*names, cls=SectionOption, section="Folds", **kw)


@click.command(cls=SectionCommand, short_help="Cross-validate: k networks on k folds.")
@file_argument("data", required=False)
@_option(
    "--folds",
    "k",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    metavar="K",
    help="Number of folds.",
)
@_option("--out", metavar="DIR", help="A new folder.  [runs/NAME-kfold, numbered]")
@_option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Go on in this folder where it stopped.",
)
@_option(
    "--jobs",
    type=number,
    default=1,
    show_default=True,
    metavar="N",
    help="Folds to train at the same time, in processes that share the cores and the GPUs. With "
    "fewer cores per fold, the last digits of results may differ.",
)
@_option(
    "--evaluate-only",
    "networks",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="NETWORK",
    help="Train nothing: evaluate this network, or if given K times one per fold, as the article "
    "does.",
)
@training_options(without=("val_fraction",))
def kfold(
    data: Path | None,
    k: int,
    resume: Path | None,
    jobs: int,
    networks: tuple[Path, ...],
    config: Path | None,
    recipe: str | None,
    emulate: str | None,
    use: tuple[str, ...],
    **options: Any,
) -> None:
    """Train a network on all folds but one and evaluate it on that one, for each fold in turn.

    The images are divided into K stratified folds: each has the same proportion of every class.
    They are those of scikit-learn's StratifiedKFold(K, shuffle=True, random_state=SEED).

    DATA is as for `minialex train`; of a folder with train and val, train is divided and val
    stays unseen. Each fold writes a checkpoint and a record; its accuracy is that after its last
    epoch. At the end stand the mean and the standard deviation of these, the latter with divisor K,
    as in the article (NumPy's std). Ctrl-C stops, and --resume goes on in the middle of the folds;
    DATA beside it is the new place of the same images.

    \b
    Examples:
      minialex kfold
      minialex kfold photos --network alexnet-mini --folds 10 --jobs 2
      minialex kfold --resume runs/photos-kfold
      minialex kfold photos --evaluate-only runs/photos
    """
    if (emulate or use) and jobs > 1:
        raise MinialexError("--emulate and --use train fold by fold: leave out --jobs")
    options["device"] = device_under(emulate, options["device"])
    source = None if data is None else str(data)
    if networks:
        refuse_beside("--evaluate-only", click.get_current_context().params.keys() - EVALUATION)
        with running_on(emulate, use, options["precision"]):
            _print(_evaluated(source, k, networks, options))
        return
    lines_are_remarks()
    if resume is None:
        settings = settings_of(config, recipe, data, options)
    else:
        refuse_beside("--resume", ("config", "recipe", "out"))
        if (resume / LAST_CHECKPOINT).exists():
            again = command_line("train", "--resume", resume, emulate=emulate, use=use)
            raise MinialexError(f"{resume} holds one run, no folds: go on with {again}")
        settings, planned = read_plan(resume)
        if is_given("k") and k != planned:
            raise MinialexError(f"--folds is {k}, but {resume} has {planned}: leave it out")
        k = planned
        settings = settings.replace(data=source, **options)
    with running_on(emulate, use), ConsoleFoldReporter(console) as reporter:
        # before anything is written
        check_precision(settings.precision, device(settings.device))
        result = cross_validate(
            settings, k, jobs=jobs, resume=resume is not None, reporter=reporter
        )
    if result.signal is None:
        # the mean stands in no file
        lines_are_results()
    _print(result)
    if result.signal is not None:
        console.print(
            f"stopped by {result.signal.name}; saved in {result.folder}. "
            f"Go on with: {_resuming(result, jobs, emulate, use)}"
        )
        sys.exit(exit_status(result.signal))


def _resuming(result: KFoldResult, jobs: int, emulate: str | None, use: Sequence[str]) -> str:
    """Return the command that goes on."""
    words = ["kfold", "--resume", result.folder, *(["--jobs", jobs] if jobs > 1 else [])]
    return command_line(*words, emulate=emulate, use=use)


def _evaluated(
    data: str | None, k: int, networks: tuple[Path, ...], options: dict[str, Any]
) -> KFoldResult:
    given = {n: options[n] for n in ("seed", "device", "batch_size", "workers")}
    given = {n: value for n, value in given.items() if value is not None}
    result = evaluate_folds(networks, k, data=data, tell=remark, **given)
    for r in result.records:
        images = counted(r.images, "image")
        console.print(f"fold {r.fold}/{r.k}: {r.accuracy:.2f} % of {images} ({r.checkpoint})")
    return result


def _print(result: KFoldResult) -> None:
    tell_skipped(console, result.skipped)
    done = len(result.records)
    if done:
        of = "" if done == result.k else f"{done} of "
        console.print(
            f"{result.summary} (standard deviation of {of}{result.k} folds, divisor {done})"
        )
