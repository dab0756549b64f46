"""Predictions: the likeliest classes of images, with their probabilities."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minialex import arrays
from minialex.autograd import Tensor, no_grad
from minialex.cpu.threads import cores
from minialex.data import (
    IgnoredFiles,
    Transform,
    UnreadableImage,
    UnreadableImageError,
    prepare,
)
from minialex.data.datasets import Picture
from minialex.data.listing import image_files
from minialex.data.packed import (
    PackedImages,
    open_picture,
    packed_below,
    packed_picture,
    packs_in,
)
from minialex.data.transforms import DRAWS_PER_IMAGE
from minialex.errors import MinialexError
from minialex.evaluation.batch_memory import translate_memory_error
from minialex.evaluation.evaluate import NonFiniteOutputsError
from minialex.ops import softmax
from minialex.persistence import Trained

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Guess:
    """A class and its probability, from 0 to 1."""

    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of an image, likeliest first."""

    path: str
    guesses: tuple[Guess, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as a dictionary that JSON can hold."""
        guesses = [{"class": g.name, "probability": g.probability} for g in self.guesses]
        return {"path": self.path, "guesses": guesses}


def find_images(
    paths: Iterable[str | os.PathLike[str]], ignored: IgnoredFiles | None = None
) -> list[str]:
    """Return the files in `paths`, and the image files in and below the folders in `paths`.

    A pack has the images that it was made of. Other files in folders are counted in `ignored`.

    Raises
    ------
    MinialexError
        If a path is missing, a folder holds no images, or nothing is named.
    """
    found: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            others = IgnoredFiles()
            inside = _packed_images(path) or sorted(image_files(path, others))
            if not inside:
                raise _no_images(path, others)
            found += inside
            if ignored is not None:
                ignored.add(others)
        elif path.exists() or packed_picture(str(path)):
            found.append(str(path))
        elif below := packed_below(path):
            found += below
        else:
            raise MinialexError(f"there is no {path}: check the path")
    if not found:
        raise MinialexError("no images given: name files or folders")
    return found


def _packed_images(folder: Path) -> list[str]:
    return [path for pack in packs_in(folder) for path in PackedImages(pack).paths]


def _no_images(folder: Path, others: IgnoredFiles) -> MinialexError:
    there = f" (only {others})" if others.counts else ""
    advice = others.hint() or "name another"
    return MinialexError(f"no images (.jpg, .png, ...) in {folder}{there}: {advice}")


def predict(
    trained: Trained,
    paths: Sequence[str],
    *,
    top: int = 5,
    batch_size: int = 32,
    skip_unreadable: bool = False,
) -> Iterator[Prediction | UnreadableImage]:
    """Yield the likeliest classes of each image, in order, computed batch by batch.

    Parameters
    ----------
    trained : Trained
        Its settings say how images are resized. Classes without names are called by number.
    paths : sequence of str
        Image files: see `find_images`.
    top : int
        How many classes to name, at least 1; all of them where there are fewer.
    batch_size : int
    skip_unreadable : bool
        Yield a `UnreadableImage` for an image that cannot be read, instead of raising.

    Raises
    ------
    ValueError
        If `top` or `batch_size` is below 1.
    UnreadableImageError
        If an image cannot be read; those before it have been yielded.
    MinialexError
        If memory does not suffice.
    """
    for name, value in (("top", top), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"predict: {name} must be at least 1, got {value}")
    return _predictions(trained, paths, top, batch_size, skip_unreadable)


def _predictions(
    trained: Trained, paths: Sequence[str], top: int, batch_size: int, skip_unreadable: bool
) -> Iterator[Prediction | UnreadableImage]:
    transform = trained.settings.eval_transform()
    with ThreadPoolExecutor(cores(), "minialex-predict") as pool:
        for start in range(0, len(paths), batch_size):
            chunk = range(start, min(start + batch_size, len(paths)))
            read = list(pool.map(lambda i: _read(i, paths[i], transform), chunk))
            pixels = [x for x in read if not isinstance(x, UnreadableImage)]
            guesses = iter(_guesses(trained, np.stack(pixels), top) if pixels else ())
            for i, x in zip(chunk, read, strict=True):
                if not isinstance(x, UnreadableImage):
                    yield Prediction(paths[i], next(guesses))
                elif skip_unreadable:
                    yield x
                else:
                    raise UnreadableImageError(x.name, x.reason)


def _read(index: int, path: str, transform: Transform) -> Pixels | UnreadableImage:
    try:
        return transformed(open_picture(path), transform)
    except UnreadableImageError as error:
        return UnreadableImage(index, error.name, error.reason)


def transformed(picture: Picture, transform: Transform) -> Pixels:
    """Return the pixels (S, S, 3) that a transform which draws nothing makes of an image."""
    box = transform.box(picture.size, np.zeros(DRAWS_PER_IMAGE))
    return picture.resized_crop(box, transform.size)


def _guesses(trained: Trained, pixels: Pixels, top: int) -> Iterator[tuple[Guess, ...]]:
    """Yield the guesses for images (N, S, S, 3)."""
    device = next(trained.model.parameters()).device
    N, S, _, _ = pixels.shape
    memory = translate_memory_error(device, N, S)
    with memory, no_grad(), np.errstate(all="ignore"), arrays.on_device(device):
        images = prepare(arrays.to_device(pixels, device))
        p = softmax(trained.model(Tensor(images))).numpy()
    if not np.isfinite(p).all():
        raise NonFiniteOutputsError
    for row in p:
        order = np.argsort(-row, kind="stable")[:top]
        yield tuple(Guess(class_name(trained, int(c)), float(row[c])) for c in order)


def class_name(trained: Trained, number: int) -> str:
    """Return the name of a class, or its number where names are not known."""
    return trained.classes[number] if trained.classes else str(number)
