"""``minialex filters``: the weights of a convolution, filter by filter."""

from __future__ import annotations

import json
from pathlib import Path

import click

from minialex.cli.features import PICTURES
from minialex.cli.networks import checked_out, open_network, tell_choices, tell_written
from minialex.cli.options import (
    SectionCommand,
    console,
    json_option,
    number,
    pretrained_option,
    print_table,
    table,
    variant_option,
)
from minialex.study.filters import Filters, filters_of
from minialex.wording import one_line

MAX_ROWS = 16
"""As many filters are shown, unless --top asks for more; of those over colours all are drawn."""


@click.command(cls=SectionCommand, short_help="The filters of a convolution.")
@click.argument("words", nargs=-1, metavar="[NETWORK|RUN]")
@pretrained_option
@variant_option
@click.option("--layer", metavar="NAME", help="Which convolution.  [the first]")
@click.option(
    "--top",
    type=number,
    metavar="N",
    help=f"Filters to show.  [{MAX_ROWS}; in a picture of the first layer all]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Draw them: .png, .svg or .pdf."
)
@json_option
def filters(
    words: tuple[str, ...],
    pretrained: Path | None,
    variant: str | None,
    layer: str | None,
    top: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show the filters of a convolution, those of the largest norm first.

    \b
    norm    sqrt(sum of w^2)
    colour  of the first layer, which sees red, green and blue: which share of the sum of w^2 is
            left without the mean of the three; 0 is a filter that sees light and dark alone

    --out draws them, each scaled by itself: those of the first layer in colour, where grey is 0;
    of other layers a row for each filter, with the inputs that it weighs most.

    NETWORK is a run's folder (its best checkpoint is taken), a checkpoint such as
    runs/digits/last.safetensors, weights from elsewhere, or alexnet (the default), alexnet-2012,
    alexnet-article or alexnet-mini with fresh weights: what training starts from, to compare with.

    \b
    Examples:
      minialex filters runs/digits --out filters.png
      minialex filters alexnet-mini --out before-training.png
      minialex filters --pretrained alexnet-owt-7be5be79.pth --out pretrained.svg
      minialex filters runs/digits --layer features.3 --top 8 --out second.png
    """
    file = checked_out(out, *PICTURES)
    trained, rest = open_network(words, pretrained, variant=variant, device="cpu")
    if rest:
        raise click.UsageError(f"one NETWORK, not {rest[0]} as well: filters need no image")
    found = filters_of(trained.model, layer)
    tell_choices(trained)
    if file is not None:
        # before the text, of which a pipe may take a few lines only
        _draw(found, str(trained.path), top, file)
    if as_json:
        click.echo(json.dumps({"network": str(trained.path), **found.record()}))
    else:
        _print(found, str(trained.path), top or MAX_ROWS)


def _draw(found: Filters, network: str, top: int | None, file: Path) -> None:
    # matplotlib takes half a second to import
    from minialex.study.drawing import save_picture
    from minialex.study.maps_drawing import draw_filters

    count = top or (len(found.weights) if found.is_rgb else MAX_ROWS)
    existed = file.exists()
    save_picture(draw_filters(found, found.strongest(count), network), file)
    tell_written(file, existed)


def _print(found: Filters, of: str, top: int) -> None:
    headings = ["norm", "mean", "min", "max", "zeros"]
    if found.colour is not None:
        headings.append("colour")
    rows = table(f"{found.name} {found.layer}: {one_line(of)}", ("filter",), headings)
    numbers = found.strongest(top)
    for o in numbers:
        values = found.norm[o], found.mean[o], found.minimum[o], found.maximum[o]
        cells = [*(f"{value:.4g}" for value in values), f"{100 * found.zeros[o]:.1f} %"]
        if found.colour is not None:
            cells.append(f"{100 * found.colour[o]:.0f} %")
        rows.add_row(str(o), *cells)
    print_table(rows)
    O, C, KH, KW = found.weights.shape
    shown = f"{len(numbers)} of {O:,} filters, " if len(numbers) < O else f"{O:,} filters, "
    console.print(f"{shown}the largest norm first; each has {C} x {KH} x {KW} weights")
