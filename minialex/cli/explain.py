"""``minialex explain``: one number of a network, taken apart."""

from __future__ import annotations

import json
from pathlib import Path

import click

from minialex.cli.networks import open_images, open_network, tell_choices
from minialex.cli.options import (
    SectionCommand,
    device_option,
    json_option,
    messages,
    number,
    pretrained_option,
    variant_option,
)
from minialex.errors import MinialexError
from minialex.persistence import Trained
from minialex.study.axis_field import Rectangle
from minialex.study.difference import difference_of
from minialex.study.explanation import made_by
from minialex.study.explanation_text import lines
from minialex.study.network_run import LOSS, NetworkRun, Target
from minialex.study.receptive_field import seen_by
from minialex.study.writing_thread import thread_of
from minialex.wording import unknown

SCHEMA = 1


@click.command(cls=SectionCommand, short_help="One number of a network, taken apart.")
@click.argument("words", nargs=-1, required=True, metavar="[NETWORK|RUN] TARGET [IMAGE]")
@pretrained_option
@variant_option
@click.option("--class", "label", metavar="NAME", help="The class of the loss.  [the likeliest]")
@click.option(
    "--top", type=number, default=12, show_default=True, metavar="N", help="Terms to show."
)
@click.option(
    "--follow",
    multiple=True,
    metavar="N[.K]",
    help="Take a factor of term N apart in turn: the first that is made of some, or the K-th. "
    "Again to go on from there.",
)
@click.option(
    "--implementation",
    metavar="NAME",
    help="Make the number anew with this implementation of its op; of CUDA kernels, which are "
    "emulated, find the thread that wrote it.  [the one that ran]",
)
@device_option
@json_option
def explain(
    words: tuple[str, ...],
    pretrained: Path | None,
    variant: str | None,
    label: str | None,
    top: int,
    follow: tuple[str, ...],
    implementation: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Take one number apart: what is added up, factor by factor, with the indices.

    TARGET is an element of what a layer gives, of a parameter's gradient or of the gradient of what
    a layer gives: features.3[17,20,31], features.3.weight.grad[5,2,3,3], features.3.grad[0,0,0]. So
    are image, logits and loss. The index is Python's.

    Gradients are those of the loss, the cross-entropy with the class that the network finds
    likeliest, or with --class. The terms are those of the definition; they are added up without
    rounding, and compared with what the implementation made of them and, for gradients, with
    differences of the forward pass.

    Of a number that a layer gives, the pixels that it can see are named too.

    IMAGE is a file; without it, the first validation image of the RUN, or the first of the built-in
    digits. NETWORK is a run's folder, a checkpoint, weights from elsewhere, or alexnet (the
    default), alexnet-2012, alexnet-article or alexnet-mini with fresh weights.

    \b
    Examples:
      minialex explain alexnet-mini "features.3[17,2,3]"
      minialex explain alexnet-mini "features.3[17,2,3]" --follow 570
      minialex explain alexnet-mini "features.3[17,2,3]" --implementation tiled
      minialex explain runs/digits "features.0.weight.grad[5,0,1,1]" seven.png --class 7
      minialex explain alexnet-mini "logits.grad[3]" --json
    """
    at = next((i for i, word in enumerate(words) if "[" in word or word == LOSS), None)
    if at is None:
        raise MinialexError(
            "name a TARGET with its index, as in features.3[17,20,31], logits[3] or "
            "features.3.weight.grad[5,2,3,3]"
        )
    target = Target.of("loss[]" if words[at] == LOSS else words[at])
    trained, rest = open_network(words[:at], pretrained, variant=variant, device=device)
    named = [*rest, *words[at + 1 :]]
    if len(named) > 1:
        raise MinialexError(f"explain looks at one IMAGE: leave out {' '.join(named[1:])}")
    images = open_images(trained, named)
    run = NetworkRun.of(trained.model, images.prepared(trained)[:1], _class_number(trained, label))
    chain = [(str(target), run.explain(target))]
    for which in follow:
        chain.append(run.follow(chain[-1][1], *_term_and_factor(which)))
    title, last = chain[-1]
    thread = None
    if implementation is not None:
        with messages.status(f"running {implementation} again"):
            last = made_by(last, implementation)
            chain[-1] = title, last
            thread = thread_of(last)
    difference = difference_of(last) if last.is_gradient_of_an_op else None
    seen, unseen = _seen(run, target)
    tell_choices(trained, images.note)
    if as_json:
        records = [{"target": title} | one.record() for title, one in chain]
        records[-1] |= {
            "difference": difference and difference.record(),
            "thread": thread and thread.record(),
        }
        about = {"network": str(trained.path), "image": images.names[0], "class": run.label}
        about |= {"sees": seen and seen.record()}
        click.echo(json.dumps({"schema": SCHEMA, **about, "explanations": records}))
        return
    for i, (title, one) in enumerate(chain):
        witnesses = (difference, thread) if one is last else ()
        click.echo("\n" * bool(i) + "\n".join(lines(one, title, top, *witnesses)))
        if not i and (seen or unseen):
            click.echo(f"  {unseen or f'{target} sees {seen}'}")


def _seen(run: NetworkRun, target: Target) -> tuple[Rectangle | None, str]:
    """Return the pixels that a number can see, or why that is not known; of gradients nothing."""
    try:
        return seen_by(run, target), ""
    except MinialexError as reason:
        return None, str(reason)


def _term_and_factor(text: str) -> list[int]:
    """Return the numbers of ``--follow 3`` or ``--follow 3.2``."""
    parts = text.split(".")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise MinialexError(f"--follow {text}: give a term, or a term and a factor: 3 or 3.2")
    return [int(part) for part in parts]


def _class_number(trained: Trained, label: str | None) -> int | None:
    """Return the number of a class, given by its name or its number."""
    if label is None:
        return None
    if label in trained.classes:
        return trained.classes.index(label)
    if label.isdecimal() and not trained.classes:
        return int(label)
    if not trained.classes:
        raise MinialexError(
            f"class {label!r}: the classes have no names here: give a number from 0"
        )
    raise MinialexError(unknown("class", label, list(trained.classes)))
