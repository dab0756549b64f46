"""The command `minialex` and what all of its subcommands share."""

from __future__ import annotations

import importlib
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterable

import click

import minialex
from minialex.cli.streams import OutputError, guard_streams
from minialex.errors import MinialexError
from minialex.wording import one_line, unknown

COMMANDS = {
    "train": "minialex.cli.train",
    "evaluate": "minialex.cli.evaluate",
    "kfold": "minialex.cli.kfold",
    "doctor": "minialex.cli.doctor",
    "predict": "minialex.cli.predict",
    "summary": "minialex.cli.summary",
    "graph": "minialex.cli.graph",
    "features": "minialex.cli.features",
    "filters": "minialex.cli.filters",
    "data": "minialex.cli.data",
    "gradcheck": "minialex.cli.gradcheck",
    "explain": "minialex.cli.explain",
    "step": "minialex.cli.step",
    "puzzle": "minialex.cli.puzzle",
    "trace": "minialex.cli.trace",
    "profile": "minialex.cli.profile",
    "bench": "minialex.cli.bench",
}


_HELP = getattr(click.exceptions, "NoArgsIsHelpError", ())


class Commands(click.Group):
    """Subcommands in the order of use, each imported when it is wanted, so that help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a subcommand and return the command of its name."""
        if name not in COMMANDS:
            if not ctx.resilient_parsing:
                ctx.fail(unknown("command", name, COMMANDS))
            return None
        command = getattr(importlib.import_module(COMMANDS[name]), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand; an error that names a setting has the name of its option then."""
        try:
            return super().invoke(ctx)
        except MinialexError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            error.args = (_naming_options(str(error), command.params if command else ()),)
            raise


def _naming_options(message: str, params: Iterable[click.Parameter]) -> str:
    """Return `message` with options in place of the arguments of functions that they are for."""
    options = {p.name: p.opts[0] for p in params if isinstance(p, click.Option) and p.name}
    for name, option in options.items():
        # a name without an underscore may be a word of the sentence, unless it comes first
        pattern = (
            rf"(?<![\w./'-]){name}(?![\w./'-])" if "_" in name else rf"^{name}(?= is | cannot )"
        )
        message = re.sub(pattern, option, message)
    return message


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(minialex.__version__, prog_name="minialex")
def cli() -> None:
    """Train, evaluate and take apart AlexNet, written from scratch on NumPy and CuPy.

    \b
    Start here:
      minialex train                    the built-in handwritten digits, half a minute
      minialex train PHOTOS             a folder with one subfolder of images per class
      minialex evaluate RUN             how good is it, class by class
      minialex doctor RUN               what is wrong with it, with evidence and advice
      minialex predict RUN cat.jpg      what is in these images
      minialex summary                  the network, layer by layer
      minialex features RUN cat.jpg     what a layer makes of an image
      minialex graph                    what a forward pass keeps for backward
      minialex gradcheck                every gradient against its definition
      minialex explain RUN "logits[0]"  one number, taken apart down to pixels
      minialex step                     the backward pass of a small network, with its numbers
      minialex puzzle list              gradients to complete, kernels to repair
      minialex trace relu               what one thread of a CUDA kernel does, without a GPU
      minialex profile relu --emulate   what a kernel asks of memory, line by line, without a GPU

    Each command explains itself: minialex COMMAND --help.
    """


def _warnings_shown_once() -> Callable[..., None]:
    """Return a function that shows a warning in one line, without the code that it comes from."""
    shown = set()

    def show(message: Warning | str, *_: object) -> None:
        text = one_line(str(message))
        if text not in shown:
            shown.add(text)
            click.echo(f"minialex: warning: {text}", err=True)

    return show


def main() -> None:
    """Run the command line; errors that a person can mend take one line and exit status 2."""
    guard_streams()
    # a home that cannot be written, a cache of fonts that is made: no concern of a command's user
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warnings_shown_once()
            # click returns the status of a command that raised Exit, and None of one that did not
            status = cli.main(prog_name="minialex", standalone_mode=False)
            sys.stdout.flush()
            sys.exit(status)
    except OutputError as error:
        if error.exit_status == 2:
            click.echo(f"minialex: error: {error}", err=True)
        sys.exit(error.exit_status)
    except click.ClickException as error:
        # a group without a command raises its help, which has lines
        if not isinstance(error, _HELP):
            error.message = one_line(error.message)  # type: ignore[misc]
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("minialex: stopped", err=True)
        sys.exit(130)
    except MinialexError as error:
        click.echo(f"minialex: error: {one_line(str(error))}", err=True)
        sys.exit(2)
    except MemoryError:
        click.echo(
            "minialex: error: not enough memory: lower the batch size or the image size, "
            "or choose a smaller network",
            err=True,
        )
        sys.exit(2)
