"""What several commands share: consoles, options, and help in sections."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

import click
from click.core import ParameterSource
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table

from minialex.files import check_writable
from minialex.models import VARIANTS
from minialex.wording import one_line


def _console(stream: TextIO, **more: Any) -> Console:
    """Return a console; what is no terminal gets no bars, even where FORCE_COLOR is set."""
    terminal = None if stream.isatty() else False
    return Console(highlight=False, markup=False, soft_wrap=True, force_terminal=terminal, **more)


# a pipe has no width to fit into
console = _console(sys.stdout, width=None if sys.stdout.isatty() else 120)
"""Results go here: standard output."""

messages = _console(sys.stderr, stderr=True)
"""Remarks go here, so that a pipe gets results alone."""


def remark(text: str) -> None:
    """Print a remark, on one line whatever names of files it holds."""
    messages.print(one_line(text))


def is_given(name: str) -> bool:
    """Return whether the parameter `name` of the command that runs was given by its user."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def refuse_beside(option: str, names: Collection[str]) -> None:
    """Raise UsageError for a parameter among `names` that was given: `option` would ignore it."""
    for parameter in click.get_current_context().command.params:
        if parameter.name in names and is_given(parameter.name):
            name = parameter.opts[0]
            raise click.UsageError(f"{name} is not used with {option}: leave one of them out")


Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class SectionOption(click.Option):
    """An option that stands in a named section of the help."""

    def __init__(self, *args: Any, section: str = "Options", **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.section = section


class OptionalValue(SectionOption):
    """An option of a `SectionCommand` that is one of `modes`, the first where none is given."""

    def __init__(self, *args: Any, modes: Sequence[str], **kw: Any) -> None:
        super().__init__(*args, type=click.Choice(modes), metavar=f"[{modes[-1]}]", **kw)
        self.modes = modes


class SectionCommand(click.Command):
    """A command whose help lists its options section by section.

    An `OptionalValue` takes the next word only if that is a value of it: in
    ``evaluate --emulate runs/digits`` the folder is an argument.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Fill in the values of such options, then parse."""
        whole = [_whole(self.params, *two) for two in zip_longest(args, args[1:], fillvalue="")]
        return super().parse_args(ctx, whole)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections in the order in which their first options were declared."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


def _whole(params: Sequence[click.Parameter], word: str, following: str) -> str:
    """Return `word`, with a value if it is an option that may and does lack one."""
    for option in params:
        if isinstance(option, OptionalValue) and word in option.opts:
            if following in option.modes:
                return word
            for near in difflib.get_close_matches(following, option.modes, n=1):
                if not Path(following).exists():
                    raise click.UsageError(f"{word} {following}: did you mean {word} {near}?")
            return f"{word}={option.modes[0]}"
    return word


def file_argument(name: str, **kw: Any) -> Decorator:
    """Return an argument that takes the path of a file or folder."""
    return click.argument(name, type=click.Path(path_type=Path), **kw)


device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="cpu, cuda, cuda:N, or auto: a GPU where there is one.",
)
pretrained_option = click.option(
    "--pretrained",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Use these weights: a run's folder, torchvision's alexnet .pth, or safetensors.",
)


def table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    """Return an empty table with columns set flush left, then columns of figures.

    The first column, which says what the row is about, is never cut.
    """
    result = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title_justify="left",
    )
    for n, heading in enumerate(left):
        result.add_column(heading, no_wrap=n == 0)
    for heading in right:
        result.add_column(heading, justify="right", no_wrap=True)
    return result


def print_table(rows: Table) -> None:
    """Print a table, or row below row where the terminal is too narrow for whole words.

    A row whose first cell is empty belongs to the one above.
    """
    if _least_width(rows) <= console.width:
        console.print(rows)
        return
    first, *others = rows.columns
    console.print(f"{rows.title}\n")
    for name, *cells in zip(*(column.cells for column in rows.columns), strict=True):
        pairs = zip(others, cells, strict=True)
        text = ", ".join(f"{column.header} {cell}" for column, cell in pairs if cell)
        if name:
            console.print(name, style=first.style)
        console.print(Padding(text, (0, 0, 0, 2)), soft_wrap=False)
    console.print()


def _least_width(rows: Table) -> int:
    """Return how many columns of a terminal the table needs for its longest words."""

    def least(column: Column) -> int:
        texts = [str(text) for text in (column.header, *column.cells)]
        words = texts if column.no_wrap else [word for text in texts for word in text.split()]
        return max(map(cell_len, words), default=0)

    gap = 2
    return sum(least(column) + gap for column in rows.columns) - gap


number = click.IntRange(min=1)
variant_option = click.option(
    "--network",
    "variant",
    type=click.Choice(list(VARIANTS)),
    metavar="NAME",
    help=f"Which network the weights are of: {', '.join(VARIANTS)}.  [what they say]",
)
batch_size_option = click.option(
    "--batch-size", type=number, default=32, show_default=True, metavar="N", help="Images at once."
)


def network_and_rest(words: tuple[str, ...], pretrained: Path | None) -> tuple[Path, list[str]]:
    """Return the network and what follows it: the first of `words`, unless --pretrained is it."""
    if pretrained is not None:
        return pretrained, list(words)
    if not words:
        raise click.UsageError("name a NETWORK, the folder of a run for instance, or --pretrained")
    return Path(words[0]), list(words[1:])


def checked_page(name: str) -> Path:
    """Return the file of a page; what could not be written in the end is refused now."""
    file = Path(name)
    if file.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(
            f"--page {name or repr(name)}: name a file that ends in .html, such as page.html"
        )
    check_writable(file)
    return file


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
