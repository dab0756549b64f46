"""Images that lie in several folds: networks are tested there on what they were trained on.

They are found by the bytes of their files, or in a pack by those of their pixels. The sizes tell
most files apart, and their beginnings nearly all others, so that few are read to their ends.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial

from minialex.data import Subset
from minialex.data.packed import packed_picture
from minialex.wording import counted, enumerated

_BEGINNING = 4096
"""Bytes: one page of a disk."""
_PAIRS_NAMED = 3

File = tuple[str, int]
"""Its path, and the fold that it is in, from 1."""


def identical_images_note(folds: Sequence[Subset], folder: str) -> str:
    """Return a line on the images that several folds hold; empty if there are none.

    Parameters
    ----------
    folds : sequence of Subset
        The validation images of each, whose names are the paths of their files.
    folder : str
        The folder of images, which the paths in the line are relative to.
    """
    files = [(fold.name(i), n) for n, fold in enumerate(folds, 1) for i in range(len(fold))]
    groups = [group for group in same_content(files) if len({n for _, n in group}) > 1]
    if not groups:
        return ""
    pairs = []
    for first, *others in groups:
        other = next(file for file in others if file[1] != first[1])
        named = (f"{os.path.relpath(path, folder)} (fold {n})" for path, n in (first, other))
        pairs.append(" = ".join(named))
    count = counted(sum(map(len, groups)), "image")
    return (
        f"{count} also in another fold, byte for byte, where networks are tested on what they were "
        f"trained on: {enumerated(pairs, _PAIRS_NAMED)}; remove the copies"
    )


def same_content(files: Iterable[File]) -> list[list[File]]:
    """Return the files that have the same bytes as another, in groups."""
    groups = _grouped(files, _size)
    for digest in (partial(_digest, size=_BEGINNING), _digest):
        groups = [finer for group in groups for finer in _grouped(group, digest)]
    return groups


def _grouped(files: Iterable[File], key: Callable[[File], Hashable]) -> list[list[File]]:
    """Return the files that share a key with another, in groups; those that are gone in none."""
    groups = defaultdict(list)
    for file in files:
        try:
            groups[key(file)].append(file)
        except OSError:
            # an image that cannot be read is found, and named, where it is needed
            continue
    return [group for group in groups.values() if len(group) > 1]


def _size(file: File) -> Hashable:
    if packed := packed_picture(file[0]):
        return packed.size
    # an empty file holds no image, and a pipe, which has no size, must not be opened
    return os.path.getsize(file[0]) or file


def _digest(file: File, size: int = -1) -> bytes:
    """Return a digest of the first `size` bytes of a file, or of all."""
    if packed := packed_picture(file[0]):
        first_bytes = packed.pixels().reshape(-1)[: size if size > 0 else None]
        return hashlib.blake2b(first_bytes.data, digest_size=16).digest()
    with open(file[0], "rb") as content:
        return hashlib.blake2b(content.read(size), digest_size=16).digest()
