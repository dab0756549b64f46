"""What identifies the images of a run: their names and sizes, by class and part of the split.

A run records it. Going on with the run, or evaluating it, lists the folder and splits it again:
other files, or another version's split, would put images that were trained on among those to
validate on. The content of the files is not read, which would take as long as an epoch; an image
that is replaced by one of the same size is not noticed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

from minialex.data.datasets import Dataset
from minialex.plain_json import typed

ClassPrint: TypeAlias = list[int | str]
"""Of the images of a class: how many there are, a digest of their names, and one of their sizes."""
Fingerprint: TypeAlias = dict[str, list[ClassPrint]]
"""For each part of the split those of all classes, in their order; as JSON holds it."""

DIGEST_BYTES = 8

_KINDS = {"train": "training", "val": "validation", "all": ""}


def fingerprint(**parts: Dataset) -> Fingerprint:
    """Return the fingerprint of data sets, each given by its part of the split: train, val, all."""
    return {part: _class_prints(dataset) for part, dataset in parts.items()}


def parse_fingerprint(value: Any, *parts: str, num_classes: int | None = None) -> Fingerprint:
    """Return a fingerprint read from JSON; raise ValueError if it is none of these parts."""
    table = typed(dict[str, list[tuple[int, str, str]]], value)
    lengths = {len(prints) for prints in table.values()}
    if table.keys() != set(parts) or len(lengths | {num_classes} - {None}) != 1:
        raise ValueError("'split' is not of all parts and classes")
    return {part: list(map(list, prints)) for part, prints in table.items()}


def _class_prints(dataset: Dataset) -> list[ClassPrint]:
    counts = [0] * len(dataset.classes)
    names, sizes = ([hashlib.blake2b(digest_size=DIGEST_BYTES) for _ in counts] for _ in range(2))
    for index, c in enumerate(dataset.targets.tolist()):
        name, size = dataset.identity(index)
        counts[c] += 1
        names[c].update(os.fsencode(name) + b"\0")
        sizes[c].update(b"%d\n" % size)
    return [
        [n, name.hexdigest(), size.hexdigest()]
        for n, name, size in zip(counts, names, sizes, strict=True)
    ]


def split_difference(then: Fingerprint, now: Fingerprint, classes: Sequence[str]) -> str:
    """Return how the images of `now` differ from those of `then`; empty if they are the same.

    That is the first class whose files are others, or are otherwise divided.
    """
    for c, name in enumerate(classes):
        before, after = ({part: table[part][c : c + 1] for part in now} for table in (then, now))
        if _counts(before) != _counts(after):
            return f"class {name!r} had {_counts(before)}, and has {_counts(after)}"
        if any(before[part][0][1] != after[part][0][1] for part in now):
            return f"class {name!r} has as many images, but not the same"
    return ""


def _counts(parts: Fingerprint) -> str:
    """Return how many images there are of a class: ``8 training and 2 validation images``."""
    shown = [f"{prints[0][0] if prints else 0} {_KINDS[part]}" for part, prints in parts.items()]
    return f"{' and '.join(map(str.strip, shown))} images"


def replaced_classes(then: Fingerprint, now: Fingerprint, classes: Sequence[str]) -> list[str]:
    """Return the names of the classes of which files have other sizes, where no name differs."""
    return [
        name
        for c, name in enumerate(classes)
        if any(then[part][c : c + 1] != now[part][c : c + 1] for part in now)
    ]
