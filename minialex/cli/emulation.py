"""What a network runs on: the options ``--emulate``, ``--use`` and ``--precision``."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click

from minialex import emulated, using
from minialex.autograd import FP32, PRECISIONS
from minialex.cli.options import OptionalValue, SectionOption
from minialex.errors import MinialexError

MODES = "fast", "checked"
"""Of these a command runs the first, where it is given no other."""

PRECISION_HELP = (
    "How accurate products are. tf32 and bf16, on GPUs of sm_80 or later: faster, what is "
    "multiplied is rounded to 10 or 7 bits of fraction; in bf16 activations are kept in 16 bits."
)


def emulate_option(
    section: str = "Options",
    *,
    modes: Sequence[str] = MODES,
    about: str = "Run CUDA kernels on the CPU, instead of array operations. 'checked' is slower, "
    "and finds races and out-of-bounds accesses.",
) -> Callable[..., Any]:
    """Return the option ``--emulate``, of a `SectionCommand`; the first of `modes` is default."""
    return click.option("--emulate", cls=OptionalValue, section=section, modes=modes, help=about)


def use_option(
    section: str = "Options",
    *,
    default: str = "kernels where they run, else blocked, auto or plain",
) -> Callable[..., Any]:
    """Return the option ``--use``, whose help says what the default is."""
    return click.option(
        "--use",
        cls=SectionOption,
        section=section,
        multiple=True,
        metavar="[OP=]NAME",
        help="Run this implementation, of one op (conv2d=tiled) or of all that have it (tiled). "
        f"Again for more.  [{default}]",
    )


def precision_option() -> Callable[..., Any]:
    """Return the option ``--precision``, of a command without settings."""
    return click.option(
        "--precision",
        cls=SectionOption,
        type=click.Choice(PRECISIONS),
        default=FP32,
        show_default=True,
        help=PRECISION_HELP,
    )


@contextlib.contextmanager
def running_on(
    emulate: str | None, use: Sequence[str] = (), precision: str | None = None
) -> Iterator[None]:
    """While the block runs, run ops as the options say.

    Raises
    ------
    MinialexError
        If there is no such op or implementation, or no C++ compiler to emulate with.
    """
    with contextlib.ExitStack() as stack:
        if emulate is not None:
            stack.enter_context(emulated(emulate))
        stack.enter_context(using(precision=precision))
        # a name for all ops overrides that of one, so it comes first
        for word in sorted(use, key=lambda word: "=" in word):
            op, _, name = word.rpartition("=")
            try:
                stack.enter_context(using(**{op: name}) if op else using(name))
            except ValueError as error:
                raise MinialexError(f"--use {word}: {error}") from error
        yield


def command_line(*words: object, emulate: str | None, use: Sequence[str]) -> str:
    """Return a command as one types it, with what it is to run on."""
    mode = [] if emulate is None else ["--emulate", *([emulate] if emulate != MODES[0] else [])]
    chosen = [word for one in use for word in ("--use", one)]
    return shlex.join(["minialex", *map(str, words), *mode, *chosen])


Named = TypeVar("Named", str, str | None)


def device_under(emulate: str | None, device: Named) -> Named | str:
    """Return the device to run on: under emulation the CPU, else the one that was named, if any.

    Raises
    ------
    MinialexError
        If a GPU is asked for as well.
    """
    if emulate is None:
        return device
    if device not in (None, "auto", "cpu"):
        raise MinialexError(
            f"--emulate runs kernels on the CPU: leave it out, or leave out --device {device}"
        )
    return "cpu"
