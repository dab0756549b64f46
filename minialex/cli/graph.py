"""``minialex graph``: what a forward pass records for backward."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from minialex import arrays
from minialex.cli.emulation import (
    device_under,
    emulate_option,
    precision_option,
    running_on,
    use_option,
)
from minialex.cli.networks import checked_out, tell_written
from minialex.cli.options import (
    SectionCommand,
    console,
    device_option,
    json_option,
    number,
    print_table,
    table,
)
from minialex.evaluation.batch_memory import check_memory
from minialex.files import atomic_write
from minialex.models import VARIANTS, alexnet
from minialex.nn.init import blank_weights
from minialex.study.graph import KINDS, KeptArray, RecordedGraph
from minialex.study.graph_drawing import bytes_text, flops_text, graph_svg, shape_text
from minialex.study.graph_recording import record_graph
from minialex.train.factory import move_model, output_bytes
from minialex.wording import counted


@click.command(cls=SectionCommand, short_help="What a forward pass records for backward.")
@click.argument(
    "network", type=click.Choice(list(VARIANTS)), default="alexnet", metavar="[NETWORK]"
)
@click.option("--batch", default=1, show_default=True, type=number, metavar="N", help="Images.")
@click.option(
    "--classes", default=1000, show_default=True, type=number, metavar="N", help="Outputs."
)
@click.option(
    "--image-size", type=number, metavar="N", help="Pixels per side.  [the network's own]"
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Draw it as a graph: .svg."
)
@device_option
@emulate_option()
@use_option()
@precision_option()
@json_option
def graph(
    network: str,
    batch: int,
    classes: int,
    image_size: int | None,
    out: Path | None,
    device: str,
    emulate: str | None,
    use: tuple[str, ...],
    precision: str,
    as_json: bool,
) -> None:
    """Record the forward pass of a training step of NETWORK, and show the graph that it leaves.

    For each op, in the order in which they ran: the implementation that was chosen, its output,
    and what it keeps for its backward. Kept arrays are counted once, by the first op that keeps
    them: the sum is the memory that is not freed until backward has run. Weights are in it, though
    the model holds them anyway.

    FLOPs are those of the forward; of conv2d and linear also those of the backward: about once as
    many for each of the two gradients, that of the input and that of the weights.

    NETWORK is alexnet (the default), alexnet-2012, alexnet-article or alexnet-mini. Which
    implementation runs depends on the batch, the device and on --emulate, --use and --precision.

    --out draws it, one op below another; arrows show where gradients go. --json has nodes, kept
    arrays and edges; for a network of your own there is minialex.study.record_graph, in Python.

    \b
    Examples:
      minialex graph
      minialex graph alexnet --batch 32 --out alexnet.svg
      minialex graph alexnet-mini --classes 10 --use plain
      minialex graph alexnet-mini --classes 10 --emulate --json
    """
    file = checked_out(out, ".svg")
    where = arrays.device(device_under(emulate, device))
    size = image_size or VARIANTS[network].image_size
    with blank_weights():
        model = alexnet(network, classes)
    check_memory(output_bytes(model, size), where, batch, size)
    move_model(model, where)
    with running_on(emulate, use, precision), arrays.on_device(where) as xp:
        images = xp.zeros((batch, 3, size, size), np.float32)
        targets = xp.zeros(batch, np.int64)
        name = f"{network}, batch {batch}"
        found = record_graph(model, images, targets, name=name)
    if file is not None:
        # before the text, of which a pipe may take a few lines only
        existed = file.exists()
        atomic_write(file, graph_svg(found).encode())
        tell_written(file, existed)
    if as_json:
        click.echo(json.dumps(found.record()))
    else:
        _print(found)


def _print(found: RecordedGraph) -> None:
    title = f"{found.name}: {counted(len(found.ops), 'op')} and what they keep for backward"
    left = ("op", "implementation", "output", "keeps")
    rows = table(title, left, ("bytes", "MFLOPs", "backward"))
    for op in found.ops:
        words = op.title, op.implementation, shape_text(op.shape)
        flops = [f"{n / 1e6:,.1f}" if n else "" for n in (op.flops, op.backward_flops)]
        first, *others = [_kept(a) for a in op.kept] or [("", "")]
        rows.add_row(*words, *first, *flops)
        for kept in others:
            rows.add_row("", "", "", *kept)
    print_table(rows)
    console.print(f"kept for backward: {bytes_text(found.kept_bytes)}, each array counted once")
    for kind, size in found.kept_by_kind().items():
        console.print(f"  {bytes_text(size):>11}  {KINDS[kind]}")
    console.print(
        f"gradients go to {found.parameters:,} parameters; forward {flops_text(found.flops)}, "
        f"backward of products {flops_text(found.backward_flops)}"
    )


def _kept(a: KeptArray) -> tuple[str, str]:
    """Return what an op keeps, and the bytes, if they are counted there."""
    what = a.what.replace("output of", "y of", 1)
    return (what, bytes_text(a.counted)) if a.counted else (f"{what}, counted above", "")
