"""``minialex features``: what a layer makes of an image, channel by channel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from minialex.cli.emulation import (
    device_under,
    emulate_option,
    precision_option,
    running_on,
    use_option,
)
from minialex.cli.networks import (
    ImagesToLookAt,
    checked_out,
    open_images,
    open_network,
    refuse_overwriting,
    tell_choices,
    tell_written,
)
from minialex.cli.options import (
    SectionCommand,
    console,
    device_option,
    json_option,
    number,
    pretrained_option,
    print_table,
    refuse_beside,
    table,
    variant_option,
)
from minialex.errors import MinialexError
from minialex.persistence import Trained
from minialex.study.features import SCHEMA, FeatureMaps, feature_maps, find_maps
from minialex.study.network_run import Target
from minialex.study.receptive_field import receptive_field
from minialex.study.summary import times
from minialex.wording import counted, enumerated, one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = ".png", ".svg", ".pdf"


@click.command(cls=SectionCommand, short_help="What a layer makes of an image.")
@click.argument("words", nargs=-1, metavar="[NETWORK|RUN] [IMAGES]...")
@pretrained_option
@variant_option
@click.option("--layer", metavar="NAME", help="Which layer: --list names them.  [the first ReLU]")
@click.option(
    "--top", type=number, default=16, show_default=True, metavar="N", help="Channels to show."
)
@click.option(
    "--field",
    metavar="UNIT",
    help="Which pixels a unit can see, as features.3[17,20,31]; --out draws them.",
)
@click.option("--list", "listing", is_flag=True, help="List all layers, in a line each.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png, .svg or .pdf."
)
@device_option
@emulate_option()
@use_option()
@precision_option()
@json_option
def features(
    words: tuple[str, ...],
    pretrained: Path | None,
    variant: str | None,
    layer: str | None,
    top: int,
    field: str | None,
    listing: bool,
    out: Path | None,
    device: str,
    emulate: str | None,
    use: tuple[str, ...],
    precision: str,
    as_json: bool,
) -> None:
    """Show what a layer of a network makes of an image: its feature maps.

    \b
    mean |x|  how much the channel answers; channels are in its order
    zeros     the share of its elements that are 0: after a ReLU, of those that are cut off

    A channel that is 0 everywhere is named. It is dead if it is so on all images, so give many:
    IMAGES are files, or folders, which are searched; 64 images at most are looked at. Without any
    it is the first validation image of the RUN, or the first of the built-in digits.

    NETWORK is a run's folder (its best checkpoint is taken), a checkpoint such as
    runs/digits/last.safetensors, weights from elsewhere, or alexnet (the default), alexnet-2012,
    alexnet-article or alexnet-mini with fresh weights.

    --out draws the maps of the first image, each scaled by itself: its largest |x| stands above it.
    --json has the figures of every channel; the maps themselves are in Python:
    minialex.study.feature_maps.

    --field names the receptive field of a unit, by arithmetic: what lies outside of that rectangle
    cannot change it.

    \b
    Examples:
      minialex features runs/digits --list
      minialex features runs/digits seven.png --layer features.3 --out maps.png
      minialex features runs/photos photos/val --layer features.1 --top 64
      minialex features runs/digits seven.png --field "features.6[17,2,3]" --out field.png
      minialex features --pretrained alexnet-owt-7be5be79.pth cat.jpg --out cat-maps.png
    """
    if listing:
        refuse_beside("--list", ("layer", "top", "out", "field"))
    if field is not None:
        refuse_beside("--field", ("layer", "top", "use", "emulate", "precision"))
    unit = None if field is None else Target.of(field)
    file = checked_out(out, *PICTURES)
    trained, rest = open_network(
        words, pretrained, variant=variant, device=device_under(emulate, device)
    )
    images = open_images(trained, rest)
    refuse_overwriting(file, images)
    if unit is not None:
        _show_field(trained, images, unit, file, as_json)
        return
    with running_on(emulate, use, precision):
        found = feature_maps(trained.model, images.prepared(trained))
    of = f"{trained.path}, {images.described()}"
    names = {"network": str(trained.path), "names": images.names}
    if listing:
        tell_choices(trained, images.note)
        if as_json:
            layers = [one.overview() for one in found]
            click.echo(json.dumps({"schema": SCHEMA, **names, "layers": layers}))
        else:
            _print_layers(found, of)
        return
    one = find_maps(found, layer)
    tell_choices(trained, images.note)
    if file is not None:
        # before the text, of which a pipe may take a few lines only
        _draw(one, top, images, str(trained.path), file)
    if as_json:
        click.echo(json.dumps(names | one.record()))
    else:
        _print_channels(one, of, top)


def _show_field(
    trained: Trained, images: ImagesToLookAt, unit: Target, file: Path | None, as_json: bool
) -> None:
    if unit.is_gradient:
        raise MinialexError(f"{unit}: a gradient sees no pixels: name a unit, without .grad")
    pixels = images.pixels[0]
    field = receptive_field(trained.model, unit.name, (3, *pixels.shape[:2]))
    seen, name = field.seen(unit.index), images.names[0]
    tell_choices(trained, images.note)
    if file is not None:
        from minialex.study.maps_drawing import draw_field

        network = str(trained.path)
        _save(draw_field(pixels, seen, str(unit), field.layer, network, Path(name).name), file)
    if as_json:
        names = {"network": str(trained.path), "names": images.names, "unit": str(unit)}
        click.echo(json.dumps({"schema": SCHEMA, **names, "sees": seen.record()} | field.record()))
        return
    console.print(f"{unit} {field.layer} sees {seen}", markup=False, highlight=False)


def _draw(one: FeatureMaps, top: int, images: ImagesToLookAt, network: str, file: Path) -> None:
    from minialex.study.maps_drawing import draw_features

    name = Path(images.names[0]).name
    _save(draw_features(one, one.strongest(top), images.pixels[0], network, name), file)


def _save(figure: Figure, file: Path) -> None:
    # matplotlib takes half a second to import
    from minialex.study.drawing import save_picture

    existed = file.exists()
    save_picture(figure, file)
    tell_written(file, existed)


def _print_layers(found: list[FeatureMaps], of: str) -> None:
    headings = "mean", "mean |x|", "min", "max", "zeros", "all 0"
    rows = table(one_line(of), ("name", "layer", "output"), headings)
    for one in found:
        figures = one.overview()
        zero = f"{len(one.all_zero):,} of {len(one.mean):,}" if one.all_zero else ""
        cells = _figures(*(figures[name] for name in ("mean", "mean_magnitude", "min", "max")))
        output = times(_output_shape(one))
        rows.add_row(one.name, one.layer, output, *cells, _percent(figures["zeros"]), zero)
    print_table(rows)
    console.print(
        f"all 0: how many channels are 0 everywhere on {counted(len(found[0].maps), 'image')}; "
        "--layer NAME shows a layer's channels"
    )


def _print_channels(one: FeatureMaps, of: str, top: int) -> None:
    C, channels = len(one.mean), one.strongest(top)
    title = f"{one.name} {one.layer}, {times(_output_shape(one))}: {one_line(of)}"
    rows = table(title, ("channel",), ("mean", "mean |x|", "min", "max", "zeros"))
    for c in channels:
        figures = _figures(one.mean[c], one.strength[c], one.minimum[c], one.maximum[c])
        rows.add_row(str(c), *figures, _percent(one.zeros[c]))
    print_table(rows)
    if len(channels) < C:
        console.print(f"{len(channels)} of {C:,} channels, those of the largest mean |x|")
    N = len(one.maps)
    on = "this image" if N == 1 else f"all {N} images"
    zero = one.all_zero
    if not zero:
        console.print(f"no channel is 0 everywhere on {on}")
        return
    console.print(
        f"0 everywhere on {on}: {len(zero):,} of {C:,} channels: "
        f"{enumerated(list(map(str, zero)), 24)}"
    )
    if N == 1:
        console.print("one that is so on all images is dead: give more images to find out")


def _output_shape(one: FeatureMaps) -> tuple[int, ...]:
    _, C, H, W = one.maps.shape
    return (C,) if H * W == 1 else (C, H, W)


def _figures(*values: float) -> list[str]:
    return [f"{value:.4g}" for value in values]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
