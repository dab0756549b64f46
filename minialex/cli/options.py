"""What several commands share: options, and the consoles that they print on."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from minialex.models import VARIANTS

console = Console(highlight=False)
"""Results go here: standard output."""

messages = Console(stderr=True, highlight=False)
"""Progress and remarks go here, so that a pipe gets results alone."""

variant_option = click.option(
    "--network",
    "variant",
    type=click.Choice(list(VARIANTS)),
    help="Which of the four networks.  [alexnet-mini for the digits, else alexnet]",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**64 - 1),
    default=0,
    show_default=True,
    help="Decides weights, order, augmentation, dropout and splits: equal seed, equal numbers.",
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="cpu|cuda|cuda:N|auto",
    help="Where to compute; auto takes a GPU where there is one.",
)
pretrained_option = click.option(
    "--pretrained",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Start from these weights: torchvision's alexnet .pth, or safetensors.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
