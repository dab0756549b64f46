"""The options that decide how networks are trained: those of `train` and of `kfold`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from minialex.cli.emulation import emulate_option, use_option
from minialex.cli.options import SectionOption
from minialex.train.declaration import Declaration
from minialex.train.settings import DECLARATIONS, default_help

_METAVARS = {int: "N", float: "X", str: "NAME"}


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each setting: it is called as its setting, and is None if not given."""
    command = emulate_option("Running")(use_option("Running")(command))
    # the option that is added last stands first in the help
    for declared in reversed(DECLARATIONS.values()):
        if declared.section:
            command = _option(declared)(command)
    return command


def _option(declared: Declaration) -> Callable[[Callable[..., None]], Callable[..., None]]:
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
