"""``minialex trace``: what one thread of a kernel does, line by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from minialex.check import CASES, Pair
from minialex.cli.options import SectionCommand, console, messages, refuse_beside
from minialex.study import tracing


def _indices(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    words = value.split(",")
    if len(words) > 3 or not all(word.isdecimal() for word in words):
        raise click.BadParameter(f"{value!r} is not up to three indices from 0, as in 3,2")
    return tuple(map(int, words))


def _indices_option(name: str, what: str) -> Callable[..., Any]:
    shown = {"default": "0", "show_default": True, "metavar": "X,Y,Z"}
    return click.option(name, callback=_indices, help=what, **shown)  # type: ignore[arg-type]


@click.command(cls=SectionCommand, short_help="What one thread of a kernel does, line by line.")
@click.argument("op", required=False)
@click.option(
    "--implementation", metavar="NAME", help="Such as tiled.  [the one that runs on a GPU]"
)
@click.option("--case", metavar="NAME", help="What to run on, a case of gradcheck's.  [the first]")
@click.option("--kernel", metavar="NAME", help="Which kernel.  [those of the forward pass]")
@_indices_option("--thread", "The thread in its block.")
@_indices_option("--block", "The block in its grid.")
@click.option(
    "--list", "listing", is_flag=True, help="List the ops, or OP's implementations and cases."
)
def trace(
    op: str | None,
    implementation: str | None,
    case: str | None,
    kernel: str | None,
    thread: tuple[int, ...],
    block: tuple[int, ...],
    listing: bool,
) -> None:
    """Run OP's CUDA kernels on the CPU, and show what one thread does.

    Each line of a kernel that accesses memory or waits is printed as the thread reaches it, with
    file and number, and below it what it reads, writes, changes, exchanges with its warp and waits
    for. The inputs are those of a small case of gradcheck's, in float32. An error in this thread or
    another ends the run and names the line: out-of-bounds accesses, races, divergent barriers.

    \b
    Examples:
      minialex trace --list
      minialex trace relu
      minialex trace conv2d --implementation tiled --thread 3,1
      minialex trace conv2d --implementation tiled --list
      minialex trace conv2d --implementation tiled --kernel conv2d_weight_gradient_tiled
    """
    if listing:
        of_op = () if op else ("implementation", "case")
        refuse_beside("--list", ("kernel", "thread", "block", *of_op))
    if op is None:
        if not listing:
            raise click.UsageError("name an op, such as conv2d; --list names them all")
        console.print(f"ops  {', '.join(tracing.ops_in_kernels())}")
        return
    pair, chosen = tracing.find(op, implementation, case)
    if listing:
        _list(pair, tracing.trace(pair, chosen))
        return
    done = tracing.trace(pair, chosen, kernel, thread, block)
    for line in done.lines:
        # what the thread does is less prominent than the kernel's text
        console.print(line, style="cyan" if line.startswith(" ") else None)
    if kernel is None and done.backward:
        messages.print(f"--kernel shows those of backward: {', '.join(done.backward)}")


def _list(pair: Pair, found: tracing.Trace) -> None:
    op = pair.op.name
    console.print(f"implementations  {', '.join(tracing.kernels_of(op))}")
    console.print(f"kernels of {pair.name}")
    console.print(f"  forward        {', '.join(found.forward)}")
    console.print(f"  backward       {', '.join(found.backward)}")
    console.print("cases")
    for case in CASES[op]:
        console.print(f"  {case.name}")
