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
from minialex.study.axis_field import CLOSED
from minialex.study.drawing import draw_network, save_picture
from minialex.study.receptive_field import ReceptiveField, receptive_fields
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
@click.option("--fields", is_flag=True, help="What the units of each layer see of an image.")
@json_option
def summary(
    network: str,
    classes: int,
    image_size: int | None,
    pretrained: Path | None,
    picture: Path | None,
    fields: bool,
    as_json: bool,
) -> None:
    """Show each layer of NETWORK: output, parameters, operations, memory.

    FLOPs are those of a forward pass over one image, a multiplication and an addition being two; a
    training step takes about three times as many. Activations are those of one image in float32;
    training keeps them for backward, times the batch size.

    --fields shows receptive fields in their place: unit i of a layer sees the rows of the image
    from start + i stride on, field of them; a start below 0 is padding. So it is of columns. The
    rows that no window of a layer reads, as its stride does not get there, are named below.
    Behind a fully connected layer all units see all; cells of adaptive pooling may be uneven.

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
    seen = receptive_fields(model, shape) if fields else []
    if as_json:
        record = asdict(result) | {"classes": classes}
        if fields:
            record["fields"] = [{"name": field.name} | field.record() for field in seen]
        click.echo(json.dumps(record, indent=2))
    elif fields:
        _print_fields(result, classes, seen)
    else:
        _print(result, classes)


def _title(result: Summary, classes: int) -> str:
    return f"{result.name}, {counted(classes, 'class')}, {times(result.input_shape)} images"


def _print_fields(result: Summary, classes: int, seen: list[ReceptiveField]) -> None:
    rows = table(_title(result, classes), HEADINGS[:2], (HEADINGS[2], "field", "stride", "start"))
    for field in seen:
        rows.add_row(field.name, field.layer, times(field.shape), *_closed(field))
    print_table(rows)
    for line in filter(None, (field.lost for field in seen)):
        console.print(line)
    last = seen[-1]
    size = times(result.input_shape[1:])
    console.print(f"{last.name} sees {last.seen((0,) * len(last.shape))}, which is {size}")


def _closed(field: ReceptiveField) -> list[str]:
    """Return field, stride and start of rows, of columns too where they differ."""
    if field.closed is None:
        return ["all" if field.grid is None else "uneven", "", ""]
    both = (dict.fromkeys(getattr(axis, name) for axis in field.closed) for name in CLOSED)
    return ["x".join(map(str, one)) for one in both]


def _print(result: Summary, classes: int) -> None:
    rows = table(_title(result, classes), HEADINGS[:2], HEADINGS[2:])
    *layers, total = result.cells()
    for cells in layers:
        rows.add_row(*cells)
    rows.add_section()
    rows.add_row(*total)
    print_table(rows)
    console.print(f"{result.name}: {result.verdict()}")
