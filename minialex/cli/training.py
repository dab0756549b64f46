"""The options that decide how networks are trained: those of `train` and of `kfold`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from minialex.autograd import PRECISIONS
from minialex.cli.emulation import PRECISION_HELP, emulate_option, use_option
from minialex.cli.options import SectionOption
from minialex.models import VARIANTS
from minialex.optim import schedules
from minialex.train.settings import (
    CLASS_WEIGHTS,
    LONGEST_WARMUP,
    OPTIMIZERS,
    RECIPES,
    RESIZES,
    Settings,
)

SECTIONS: dict[str, dict[str, tuple[Any, str]]] = {
    "Network": {
        "variant": (click.Choice(list(VARIANTS)), "Which of the four networks."),
        "image_size": (int, "Pixels a side.  [what the network is made for]"),
        "dropout": (float, "Probability of dropping an input of the first two linear layers."),
        "pretrained": (str, "Weights to start from: torchvision's .pth, safetensors, checkpoint."),
    },
    "Training": {
        "epochs": (int, "How often every image is seen."),
        "batch_size": (int, "Images a step."),
        "optimizer": (click.Choice(OPTIMIZERS), "How gradients become steps."),
        "lr": (float, "Learning rate."),
        "schedule": (click.Choice(schedules.NAMES), "How the learning rate changes."),
        "warmup": (
            int,
            "Batches over which the learning rate rises from 0.  "
            f"[a tenth of the run, at most {LONGEST_WARMUP}; article: 0]",
        ),
        "lr_step": (int, "Batches between the steps of --schedule step."),
        "lr_gamma": (float, "What each of these multiplies the learning rate by."),
        "momentum": (float, "Of rmsprop and sgd."),
        "weight_decay": (float, "L2 penalty added to the gradient."),
        "alpha": (float, "How slowly rmsprop's square average forgets."),
        "eps": (float, "What rmsprop and adam add to the root."),
        "label_smoothing": (float, "Share of the target spread over all classes."),
        "class_weights": (click.Choice(CLASS_WEIGHTS), "balanced: rare classes count more."),
        "seed": (int, "Decides weights, order, augmentation and dropout."),
    },
    "Augmentation": {
        "min_crop_area": (
            float,
            "Smallest share of the area that a random crop keeps; 1 keeps all.",
        ),
        "max_crop_aspect": (float, "Widest ratio of a random crop's sides."),
        "flip": (float, "Probability of mirroring an image."),
        "brightness": (float, "Largest relative change of brightness."),
        "contrast": (float, "Largest relative change of contrast."),
        "saturation": (float, "Largest relative change of saturation."),
        "hue": (float, "Largest change of hue, in turns of the colour wheel."),
    },
    "Data": {
        "val_fraction": (float, "Share held out where the folder has no val."),
        "resize": (click.Choice(RESIZES), "How held-out images become square."),
        "skip_unreadable": (bool, "Leave out images that cannot be read, and list them."),
    },
    "Running": {
        "precision": (click.Choice(PRECISIONS), PRECISION_HELP),
        "device": (str, "cpu, cuda, cuda:N, or auto: a GPU where there is one."),
        "workers": (int, "Threads that read images."),
        "log_every": (int, "Batches between lines of the log."),
        "save_minutes": (float, "Save within an epoch whenever so much time has passed."),
    },
}
_FLAGS = {"variant": "network"}
_UNSAID = {"image_size", "pretrained", "skip_unreadable", "warmup"}


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options: each is called as its setting, and is None if not given."""
    command = emulate_option("Running")(use_option("Running")(command))
    for section, options in reversed(SECTIONS.items()):
        for name, (kind, help_text) in reversed(options.items()):
            command = _option(section, name, kind, help_text)(command)
    recipe = click.option(
        "--recipe",
        cls=SectionOption,
        section="Training",
        type=click.Choice(list(RECIPES)),
        help="Where the values come from that are not given: digits for the built-in digits, "
        "images for a folder; article has the article's optimizer and schedule to the letter.",
    )
    return recipe(command)


def _option(section: str, name: str, kind: Any, help_text: str) -> Any:
    flag = "--" + _FLAGS.get(name, name).replace("_", "-")
    said = "" if name in _UNSAID else f"  [{_values(name)}]"
    if kind is bool:
        shape: dict[str, Any] = {"is_flag": True, "default": None}
    else:
        word = {int: "N", float: "X", str: "FILE" if name == "pretrained" else "NAME"}.get(kind)
        shape = {"type": kind, "default": None, "metavar": word}
    return click.option(
        flag, name, cls=SectionOption, section=section, help=help_text + said, **shape
    )


def _values(name: str) -> str:
    """Return what a setting is where nothing is given: one value, or one a recipe."""
    default = next(f.default for f in fields(Settings) if f.name == name)
    values = {recipe: table.get(name, default) for recipe, table in RECIPES.items()}
    shown = {recipe: f"{v:g}" if isinstance(v, float) else str(v) for recipe, v in values.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{recipe}: {value}" for recipe, value in shown.items())
