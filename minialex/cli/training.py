"""The options that decide how networks are trained: those of `train` and of `kfold`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import click

from minialex.cli.emulation import emulate_option, use_option
from minialex.cli.options import Decorator, SectionOption, console
from minialex.train.declaration import Declaration
from minialex.train.given import check_used, make_settings
from minialex.train.run import read_settings
from minialex.train.settings import DECLARATIONS, DIGITS, Settings, default_help
from minialex.train.suited import suited_recipe

_METAVARS = {int: "N", float: "X", str: "NAME"}


def settings_of(
    config: Path | None, recipe: str | None, data: Path | None, options: dict[str, Any]
) -> Settings:
    """Return what the options say; what they do not is as in the file `config`, or the recipe."""
    given = {**options, "data": None if data is None else str(data)}
    if config is None:
        if recipe is None and given["data"] not in (None, DIGITS):
            return _suited(given)
        return make_settings(recipe, **given)
    if recipe is not None:
        raise click.UsageError("--recipe does not go with --config, which has all values")
    settings = read_settings(config).replace(**given)
    check_used(settings, {name: value for name, value in given.items() if value is not None})
    return settings


def _suited(given: Mapping[str, Any]) -> Settings:
    """Return settings by the recipe that suits the images in a folder; say which it is."""
    suited = suited_recipe(given["data"], given["classes"])
    settings = make_settings(suited.recipe, **given)
    console.print(
        f"{suited.images}: network {settings.variant} at {settings.image_size} pixels, recipe "
        f"{settings.recipe}; --network and --recipe choose otherwise"
    )
    return settings


def training_options(*, without: Collection[str] = ()) -> Decorator:
    """Return what adds an option for each setting: called as its setting, None if not given.

    Parameters
    ----------
    without : collection of str
        Settings that the command does not use.
    """

    def add(command: Callable[..., None]) -> Callable[..., None]:
        command = emulate_option("Running")(use_option("Running")(command))
        # the option that is added last stands first in the help
        for declared in reversed(DECLARATIONS.values()):
            if declared.section and declared.name not in without:
                command = _option(declared)(command)
        return click.option(
            "--config",
            cls=SectionOption,
            section="Training",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Train as an earlier run: its settings.json, or a checkpoint. Options given here "
            "win.",
        )(command)

    return add


def _option(declared: Declaration) -> Decorator:
    default = default_help(declared.name)
    metavar = declared.metavar or _METAVARS.get(declared.kind)
    shape: dict[str, Any] = {"type": declared.kind, "metavar": metavar}
    if declared.kind is bool:
        shape = {"is_flag": True}
    elif declared.rule.choices:
        shape = {"type": click.Choice(declared.rule.choices)}
    return click.option(
        f"--{declared.option}",
        declared.name,
        cls=SectionOption,
        section=declared.section,
        default=None,
        help=declared.help + (f"  [{default}]" if default else ""),
        **shape,
    )
