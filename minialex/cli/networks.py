"""What commands that look into a network are given: which network, and which images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minialex import arrays
from minialex.arrays import Array
from minialex.cli.options import remark
from minialex.data import Digits, UnreadableImageError, prepare
from minialex.data.packed import open_picture
from minialex.errors import MinialexError
from minialex.files import check_writable
from minialex.kfold.evaluation_set import evaluation_set
from minialex.kfold.predict import find_images, transformed
from minialex.models import VARIANTS, alexnet
from minialex.persistence import Trained, load_trained
from minialex.train.factory import move_model
from minialex.train.settings import Settings
from minialex.wording import counted, unknown

MAX_IMAGES = 64
"""As many as are looked at: the feature maps of all of them are in memory at once."""


def open_network(
    words: Sequence[str], pretrained: Path | None, *, variant: str | None, device: str
) -> tuple[Trained, list[str]]:
    """Return the network that the first of `words` names, and the words after it.

    That is one of `VARIANTS`, with fresh weights, a run or a file of weights; alexnet without any
    word. With --pretrained it is that, and all words are left.

    Raises
    ------
    MinialexError
        If there is no such network, or --network is not what it is.
    """
    if pretrained is not None:
        return load_trained(pretrained, device=device, variant=variant), list(words)
    name, *rest = words or ("alexnet",)
    if name not in VARIANTS:
        if not os.path.lexists(name):
            raise MinialexError(unknown("network or file", name, VARIANTS))
        return load_trained(name, device=device, variant=variant), rest
    if variant not in (None, name):
        raise MinialexError(f"--network {variant} is not {name}: leave one of them out")
    settings = Settings(variant=name, image_size=VARIANTS[name].image_size)
    model = move_model(alexnet(name), arrays.device(device)).eval()
    return Trained(Path(name), model, (), settings), rest


@dataclass(frozen=True, eq=False)
class ImagesToLookAt:
    """Images, as a network takes them.

    Attributes
    ----------
    names : tuple of str
        Their files.
    pixels : (N, S, S, 3) uint8
    note : str
        What the user should know of the choice; empty where they made it.
    """

    names: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]
    note: str = ""

    def prepared(self, trained: Trained) -> Array:
        """Return them as the network takes them, (N, 3, S, S) float32, on its device."""
        where = next(trained.model.parameters()).device
        with arrays.on_device(where):
            return prepare(arrays.to_device(self.pixels, where))

    def described(self) -> str:
        """Return the name of the image, or how many there are."""
        more = len(self.names) - 1
        return self.names[0] + (f" and {counted(more, 'more image')}" if more else "")


def open_images(trained: Trained, words: Sequence[str]) -> ImagesToLookAt:
    """Return the images that are named, at most `MAX_IMAGES`, resized as for evaluation.

    Where none is named, it is the first validation image of the run; without a run, the first of
    the built-in digits.

    Raises
    ------
    MinialexError
        If one is missing or cannot be read, or a run's images are gone.
    """
    if not words:
        return _default_image(trained)
    paths = find_images(words)
    note = f"the first {MAX_IMAGES} of {counted(len(paths), 'image')} are looked at"
    transform, pixels = trained.settings.eval_transform(), []
    for path in paths[:MAX_IMAGES]:
        try:
            pixels.append(transformed(open_picture(path), transform))
        except UnreadableImageError as error:
            raise UnreadableImageError(error.name, error.reason, "name another") from error
    note = note if len(paths) > MAX_IMAGES else ""
    return ImagesToLookAt(tuple(paths[:MAX_IMAGES]), np.stack(pixels), note)


def refuse_overwriting(file: Path | None, images: ImagesToLookAt) -> None:
    """Raise MinialexError where a picture would be written over an image that is looked at."""
    if file is not None and file.resolve() in {Path(name).resolve() for name in images.names}:
        raise MinialexError(f"--out {file} is one of the images: name another file")


def _default_image(trained: Trained) -> ImagesToLookAt:
    if trained.split:
        try:
            dataset = evaluation_set(trained).dataset
        except MinialexError as error:
            raise MinialexError(
                f"the validation images of {trained.path} are gone or changed: name an IMAGE"
            ) from error
    else:
        dataset = Digits()
    name, picture = dataset.name(0), dataset.load(0)
    pixels = transformed(picture, trained.settings.eval_transform())[None]
    return ImagesToLookAt((name,), pixels, f"looking at {name}; name an IMAGE for another")


def tell_choices(trained: Trained, note: str = "") -> None:
    """Say which network and images were taken where the user did not choose."""
    name = str(trained.path)
    if name in VARIANTS:
        remark(f"{name} with fresh weights; name a RUN or --pretrained for trained ones")
    if note:
        remark(note)


def checked_out(out: Path | None, *suffixes: str) -> Path | None:
    """Return the file, and refuse what cannot be written in the end before anything is run."""
    if out is None:
        return None
    if out.suffix.lower() not in suffixes:
        raise MinialexError(f"cannot draw {out}: end its name in {' or '.join(suffixes)}")
    check_writable(out)
    return out


def tell_written(out: Path, existed: bool) -> None:
    """Say that a picture was written, and whether it took the place of a file."""
    remark(f"{'replaced' if existed else 'wrote'} {out}")
