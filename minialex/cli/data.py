"""``minialex data``: images to try things on."""

from __future__ import annotations

from pathlib import Path

import click

from minialex.cli.options import console, messages
from minialex.cli.progress import counting
from minialex.cli.streams import lines_are_remarks
from minialex.data import write_digits


@click.group(short_help="Write the built-in images as a folder.")
def data() -> None:
    """Write images that come with this package as a folder that `minialex train` takes."""


@data.command(short_help="Handwritten digits, 64x64.")
@click.argument("out", type=click.Path(path_type=Path))
def digits(out: Path) -> None:
    """Write the built-in handwritten digits to OUT/train/<digit>/*.png and OUT/val/<digit>/*.png.

    These are the training and validation images of `minialex train` without a folder. OUT
    must not exist, or be empty.
    """
    lines_are_remarks()
    with counting(messages, "writing") as move:
        train, val = write_digits(out, progress=move)
    console.print(
        f"{train:,} training images and {val:,} validation images are in {out}; "
        f"try: minialex train {out} --recipe digits"
    )
