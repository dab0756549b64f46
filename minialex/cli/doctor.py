"""``minialex doctor``: what is wrong with a run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from minialex.cli.options import (
    SectionCommand,
    console,
    device_option,
    file_argument,
    json_option,
)
from minialex.study.doctor import examine
from minialex.study.doctor.text import lines


@click.command(cls=SectionCommand, short_help="What is wrong with a run.")
@file_argument("run")
@device_option
@json_option
def doctor(run: Path, device: str, as_json: bool) -> None:
    """Say what is wrong with a run: each finding with its evidence, its likely cause, what to try.

    RUN is its folder. Its metrics are read, and its last network is put on three batches of its
    training images, in memory: nothing is written.

    \b
    the loss is where guessing puts it: ln C, where all classes are equally frequent
    dead ReLUs, layer by layer
    updates that are too large or too small for the weights
    vanishing or exploding gradients, layer by layer
    a class that is never predicted
    images that are constant, or both trained and validated on
    labels that do not fit: classes or files changed since; classes taken for one another, as where
      labels were exchanged after training; neighbours, where validation is no better than guessing,
      that share labels no more than by chance: of few or easy images shuffled labels may not show
    a warm-up that swallowed the run

    The exit status is 0 if nothing was found, 1 if something was found, or the network or the loss
    could not be looked at, 2 if there is no run. What could not be looked at is said: without its
    last checkpoint a run has no network to look into.
    docs/doctor.md says how often it is wrong, of small runs with planted faults.

    \b
    Examples:
      minialex doctor runs/digits
      minialex doctor runs/photos --json
    """
    report = examine(run, device=device)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        for line in lines(report):
            console.print(line)
    if report.findings or report.blind:
        raise click.exceptions.Exit(1)
