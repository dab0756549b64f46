"""``minialex step``: the backward pass of a small network, op by op, right or broken on purpose."""

from __future__ import annotations

import json

import click

from minialex.cli.options import SectionCommand, checked_page, console, json_option, messages
from minialex.files import atomic_write
from minialex.study.walk import BREAKS, NETWORKS, lesson
from minialex.study.walk.narration import states
from minialex.study.walk.page import page
from minialex.study.walk.text import told


@click.command(
    cls=SectionCommand, short_help="The backward pass of a small network, number by number."
)
@click.argument("network", default=next(iter(NETWORKS)), metavar="[NETWORK]")
@click.option("--break", "mistake", metavar="WHAT", help=f"One of {', '.join(BREAKS)}.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Draws other numbers: predict them first.",
)
@click.option(
    "--page",
    "page_file",
    metavar="FILE",
    help="Also write an HTML page on which arrow keys go through the pass.",
)
@json_option
def step(
    network: str, mistake: str | None, seed: int, page_file: str | None, as_json: bool
) -> None:
    """Go through the backward pass of NETWORK, op by op, with the numbers in the formulas.

    Of each op: the gradient that arrives at what it made, the formula of the gradient of each
    input, one element of it taken apart, and where it is added to what came before. What then
    stands in grad is compared with loss.backward(), bit for bit.

    \b
    skip       the default: a linear layer, a ReLU and a way around it; h is used twice
    shared     two linear layers with the same weights; w is used twice
    conv       a convolution with stride 2, a ReLU, overlapping max-pooling, a linear layer
    broadcast  a scale and a shift for each column, the mean of squares

    With --break the pass is wrong, and the right numbers stand beside the wrong ones:

    \b
    order      an op runs as soon as some gradient has come: no topological order
    recursion  backward calls itself: what has come is sent on, whenever more comes
    overwrite  = in place of +=: a gradient takes the place of what came before
    zeroing    grad is not cleared between two steps
    transpose  a linear layer gives gw = x^T gy in place of gy^T x
    relu       a ReLU gives gx = gy everywhere
    col2im     a convolution writes each window's gradient over those before: = in place of +=

    The gradient checker has the last word on the pass that is shown. The exit status is 0 whatever
    that says, as what is broken is broken on purpose.

    \b
    Examples:
      minialex step
      minialex step --break overwrite
      minialex step shared --break overwrite --seed 7
      minialex step conv --break col2im
      minialex step conv --page conv.html
    """
    file = None if page_file is None else checked_page(page_file)
    found = lesson(network, mistake, seed)
    if as_json:
        record = found.record() | {"states": [state.record() for state in states(found)]}
        click.echo(json.dumps(record, indent=2))
    else:
        for line in told(found):
            console.print(line, style=None if line.startswith(" ") else "bold")
    if file is not None:
        atomic_write(file, page(found).encode())
        messages.print(f"wrote {file}: open it in a browser")
