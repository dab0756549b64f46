"""``minialex summary``: the network, layer by layer."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from minialex.cli.options import (
    console,
    json_option,
    messages,
    number,
    pretrained_option,
    print_table,
    table,
)
from minialex.models import VARIANTS, alexnet
from minialex.study import Summary, summarise
from minialex.study.drawing import draw_network, save_picture
from minialex.study.summary import HEADINGS, times
from minialex.train.factory import translate_size_error
from minialex.weights import open_weights
from minialex.weights.pretrained import load_pretrained
from minialex.wording import counted


@click.command(short_help="The network, layer by layer.")
@click.argument(
    "network", type=click.Choice(list(VARIANTS)), default="alexnet", metavar="[NETWORK]"
)
@click.option(
    "--classes", default=1000, show_default=True, type=number, metavar="N", help="Outputs."
)
@click.option(
    "--image-size", type=number, metavar="N", help="Pixels per side.  [the network's own]"
)
@pretrained_option
@click.option(
    "--picture", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png, .svg, .pdf."
)
@json_option
def summary(
    network: str,
    classes: int,
    image_size: int | None,
    pretrained: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Show each layer of NETWORK: output, parameters, operations, memory.

    FLOPs are those of a forward pass over one image, a multiplication and an addition being two; a
    training step takes about three times as many. Activations are those of one image in float32;
    training keeps them for backward, times the batch size.

    NETWORK is alexnet (the default), alexnet-2012, alexnet-article or alexnet-mini. With
    --pretrained, the file's tensors are checked against the network's first.
    """
    model = alexnet(network, classes)
    if pretrained is not None:
        remark = load_pretrained(model, open_weights(pretrained), last_layer=model.last_layer)
        if remark:
            messages.print(remark)
    shape = None if image_size is None else (3, image_size, image_size)
    with translate_size_error(model, image_size):
        result = summarise(model, shape)
    if picture is not None:
        save_picture(draw_network(result), picture)
    if as_json:
        click.echo(json.dumps(asdict(result) | {"classes": classes}, indent=2))
    else:
        _print(result, classes)


def _print(result: Summary, classes: int) -> None:
    title = f"{result.name}, {counted(classes, 'class')}, {times(result.input_shape)} images"
    rows = table(title, HEADINGS[:2], HEADINGS[2:])
    *layers, total = result.cells()
    for cells in layers:
        rows.add_row(*cells)
    rows.add_section()
    rows.add_row(*total)
    print_table(rows)
    console.print(f"{result.name}: {result.verdict()}")
