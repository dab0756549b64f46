"""``minialex predict``: the likeliest classes of images."""

from __future__ import annotations

import json
from pathlib import Path

import click

from minialex.cli.emulation import (
    device_under,
    emulate_option,
    precision_option,
    running_on,
    use_option,
)
from minialex.cli.options import (
    SectionCommand,
    batch_size_option,
    console,
    device_option,
    json_option,
    messages,
    network_and_rest,
    number,
    pretrained_option,
    remark,
    variant_option,
)
from minialex.cli.progress import counting, tell_skipped
from minialex.data import IgnoredFiles, UnreadableImage
from minialex.kfold.predict import Prediction, find_images
from minialex.kfold.predict import predict as predict_images
from minialex.persistence import load_trained
from minialex.wording import one_line


@click.command(cls=SectionCommand, short_help="Name the likeliest classes of images.")
@click.argument("words", nargs=-1, metavar="NETWORK IMAGES...")
@pretrained_option
@click.option(
    "--top", type=number, default=5, show_default=True, metavar="N", help="Classes to name."
)
@variant_option
@click.option("--skip-unreadable", is_flag=True, help="Skip files that cannot be read; list them.")
@batch_size_option
@device_option
@emulate_option()
@use_option()
@precision_option()
@json_option
def predict(
    words: tuple[str, ...],
    pretrained: Path | None,
    top: int,
    variant: str | None,
    skip_unreadable: bool,
    batch_size: int,
    device: str,
    emulate: str | None,
    use: tuple[str, ...],
    precision: str,
    as_json: bool,
) -> None:
    """Name the likeliest classes of each image, with their probabilities.

    NETWORK is the folder of a run, a checkpoint, or weights from elsewhere, whose classes are
    numbers. IMAGES are files, or folders, which are searched recursively.

    With --json, each image is one JSON object on a line of its own.

    \b
    Examples:
      minialex predict runs/photos cat.jpg dog.jpg
      minialex predict runs/photos holiday --top 1 --json
      minialex predict --pretrained alexnet-owt-7be5be79.pth cat.jpg
    """
    network, images = network_and_rest(words, pretrained)
    trained = load_trained(network, device=device_under(emulate, device), variant=variant)
    ignored = IgnoredFiles()
    paths, skipped = find_images(images, ignored), []
    if note := ignored.summary():
        remark(note)
    answers = predict_images(
        trained, paths, top=top, batch_size=batch_size, skip_unreadable=skip_unreadable
    )
    # a progress bar below the predictions would flicker: it is for output into a pipe
    bar = counting(messages, "predicting", show=not console.is_terminal)
    with running_on(emulate, use, precision), bar as move:
        for done, answer in enumerate(answers, 1):
            if isinstance(answer, UnreadableImage):
                skipped.append(answer)
            else:
                click.echo(json.dumps(answer.to_json()) if as_json else _line(answer))
            move(done, len(paths))
    tell_skipped(messages, skipped)


def _line(answer: Prediction) -> str:
    guesses = ", ".join(f"{g.name} {100 * g.probability:.2f} %" for g in answer.guesses)
    return one_line(f"{answer.path}: {guesses}")
