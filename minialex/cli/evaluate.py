"""``minialex evaluate``: how good a network is, class by class."""

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
    pretrained_option,
    print_table,
    remark,
    table,
    variant_option,
)
from minialex.cli.progress import counting, tell_skipped
from minialex.data import DataLoader
from minialex.evaluation.confusion import write_evaluation
from minialex.evaluation.evaluate import TOP_K, Evaluation
from minialex.evaluation.evaluate import evaluate as evaluate_on
from minialex.kfold.evaluation_set import evaluation_set
from minialex.persistence import Trained, load_trained
from minialex.wording import counted, one_line

MOST_CLASSES, FEWER_CLASSES = 50, 20
"""Of more classes a terminal shows those that the network does worst on, and a pipe all."""


@click.command(cls=SectionCommand, short_help="Evaluate a network on images, class by class.")
@click.argument("words", nargs=-1, metavar="NETWORK [DATA]")
@pretrained_option
@variant_option
@click.option(
    "--all", "everything", is_flag=True, help="All images of DATA, not only the validation images."
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the files are written."
)
@click.option("--skip-unreadable", is_flag=True, help="Skip images that cannot be read; list them.")
@batch_size_option
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Threads that load images.  [as many as there are cores]",
)
@device_option
@emulate_option()
@use_option()
@precision_option()
@json_option
def evaluate(
    words: tuple[str, ...],
    pretrained: Path | None,
    variant: str | None,
    everything: bool,
    out: Path | None,
    skip_unreadable: bool,
    batch_size: int,
    workers: int | None,
    device: str,
    emulate: str | None,
    use: tuple[str, ...],
    precision: str,
    as_json: bool,
) -> None:
    """Evaluate NETWORK on images that it was not trained on.

    Prints top-1 and, of more than five classes, top-5 accuracy, and precision and recall of each
    class; on a terminal, of more than 50 classes the worst 20.

    NETWORK is the folder of a run (its best checkpoint is taken), a checkpoint, or weights from
    elsewhere (torchvision's .pth, safetensors). DATA is a folder of images with the same classes,
    or "digits"; without it these are the validation images of the run, and weights from elsewhere
    need it.

    evaluation.json, classes.csv, confusion.csv and confusion.png (the confusion matrix) are
    written to --out, or for a run to the folder evaluation inside it.

    \b
    Examples:
      minialex evaluate runs/digits
      minialex evaluate runs/photos other-photos --out results
      minialex evaluate --pretrained alexnet-owt-7be5be79.pth imagenet-val
    """
    network, rest = network_and_rest(words, pretrained)
    if len(rest) > 1:
        raise click.UsageError(f"one DATA folder at a time, not {' and '.join(rest)}")
    data = rest[0] if rest else None
    trained = load_trained(network, device=device_under(emulate, device), variant=variant)
    with counting(messages, "checking the images") as move:
        images = evaluation_set(
            trained,
            data,
            everything=everything,
            skip_unreadable=skip_unreadable,
            progress=move,
            tell=remark,
        )
    tell_skipped(messages, images.skipped)
    where = next(trained.model.parameters()).device
    transform = trained.settings.eval_transform()
    loader = DataLoader(images.dataset, batch_size, transform, workers=workers, device=where)
    with running_on(emulate, use, precision), counting(messages, "evaluating") as move:
        evaluation = evaluate_on(trained.model, loader, move)
    if as_json:
        click.echo(json.dumps(evaluation.to_json(), indent=1))
    else:
        _print(evaluation, images.description)
    # after the figures were shown: the folder may be one that cannot be written
    folder = out or _own_folder(trained)
    written = [] if folder is None else write_evaluation(evaluation, folder)
    if written:
        messages.print(
            f"see {written[-1]}, and beside it {', '.join(p.name for p in written[:-1])}"
        )


def _own_folder(trained: Trained) -> Path | None:
    """Return the folder of a run's evaluation; None for weights from elsewhere."""
    return trained.path.parent / "evaluation" if trained.classes else None


def _print(evaluation: Evaluation, description: str) -> None:
    metrics, which = evaluation.per_class(), ""
    C = len(metrics)
    if C > MOST_CLASSES and console.is_terminal:
        metrics = sorted(metrics, key=lambda c: c.f1)[:FEWER_CLASSES]
        which = f"; the {FEWER_CLASSES} of {C:,} classes with the lowest F1"
    rows = table(
        f"{counted(evaluation.images, 'image')}: {description}{which}",
        ("class",),
        ("precision", "recall", "F1", "images"),
    )
    for c in metrics:
        shares = (f"{share:.2f} %" for share in (c.precision, c.recall, c.f1))
        rows.add_row(one_line(c.name), *shares, f"{c.support:,}")
    print_table(rows)
    # among five classes or fewer the right one always is
    top5 = f", top-{TOP_K} {evaluation.top5_accuracy:.2f} %" if C > TOP_K else ""
    console.print(
        f"top-1 accuracy {evaluation.accuracy:.2f} % ({evaluation.correct:,} of "
        f"{evaluation.images:,}){top5}, loss {evaluation.loss:.4f}"
    )
