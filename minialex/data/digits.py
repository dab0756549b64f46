"""The built-in data set: scikit-learn's 1,797 handwritten digits, drawn as 64 x 64 RGB images.

Source: E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI, 1998
(its test set): 8 x 8 grey values from 0 to 16.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from minialex.data.datasets import Dataset, Indices
from minialex.data.decode import LazyImage
from minialex.data.resample import Pixels
from minialex.data.splits import split
from minialex.errors import MinialexError
from minialex.files import write_errors

IMAGE_SIZE = 64
GRID_SIZE = 8
FULL_INK = 16
MARGIN_CELLS = 0.6
"""In cells of the 8 x 8 grid, so that strokes end before the edge."""
INK_RANGE = (0.1, 0.9)
"""Less ink is drawn as paper, more as pen: smooth shapes with sharp outlines."""
PAPER = (250, 247, 238)
PEN = (28, 38, 92)

SHADES = np.rint(np.linspace(PAPER, PEN, 256)).astype(np.uint8)

VAL_FRACTION = 0.2


def _interpolation() -> npt.NDArray[np.float64]:
    """Return the (64, 8) weights of cubic interpolation (Keys 1981, a = -1/2) with a margin."""
    cell = (GRID_SIZE + 2 * MARGIN_CELLS) / IMAGE_SIZE
    at = (np.arange(IMAGE_SIZE) + 0.5) * cell - 0.5 - MARGIN_CELLS
    d = np.abs(at[:, None] - np.arange(GRID_SIZE))
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


WEIGHTS = _interpolation()


class Digits(Dataset):
    """The digits as a data set in memory: ten classes, "0" to "9", 64 x 64 pixels.

    Raises
    ------
    MinialexError
        If scikit-learn, which brings the data, is not installed, or its file is damaged.
    """

    def __init__(self) -> None:
        images, self.targets = _load()
        self.classes = [str(digit) for digit in range(10)]
        self._images = [
            LazyImage(Image.fromarray(draw(ink)), self.name(index))
            for index, ink in enumerate(images)
        ]

    def load(self, index: int) -> LazyImage:
        """Return image `index`."""
        return self._images[index]

    def name(self, index: int) -> str:
        """Return the name of image `index`."""
        return f"digit-{index:04d}"


def draw(ink: npt.NDArray[np.float64]) -> Pixels:
    """Draw a digit, (8, 8) from 0 to 16, as dark ink on light paper, (64, 64, 3) uint8."""
    smooth = WEIGHTS @ (ink / FULL_INK) @ WEIGHTS.T
    low, high = INK_RANGE
    t = np.clip((smooth - low) / (high - low), 0, 1)
    return SHADES[np.rint(255 * t * t * (3 - 2 * t)).astype(np.uint8)]


def write_digits(
    out: str | os.PathLike[str], *, progress: Callable[[int, int], None] | None = None
) -> tuple[int, int]:
    """Write the digits as an image folder: ``OUT/train/<class>/*.png`` and ``OUT/val``.

    They are split as a run on `Digits` splits them.

    Parameters
    ----------
    out : str or path
        A folder that does not exist yet or is empty.
    progress : callable, optional
        Called with the number of images written so far and in all.

    Returns
    -------
    train, val : int
        How many images were written to each.

    Raises
    ------
    MinialexError
        If `out` holds anything already or cannot be written.
    """
    out = Path(out)
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise MinialexError(f"{out} is not empty: name a new folder")
        train, val = split(Digits(), VAL_FRACTION, 0)
        total = len(train) + len(val)
        for part, done, where in ((train, 0, out / "train"), (val, len(train), out / "val")):
            for index in range(len(part)):
                _write(part, index, where)
                if progress:
                    progress(done + index + 1, total)
    return len(train), len(val)


def _write(dataset: Dataset, index: int, where: Path) -> None:
    folder = where / dataset.classes[dataset.targets[index]]
    folder.mkdir(parents=True, exist_ok=True)
    pixels = dataset.load(index).pixels()
    Image.fromarray(pixels).save(folder / f"{dataset.name(index)}.png")


def _load() -> tuple[npt.NDArray[np.float64], Indices]:
    """Return scikit-learn's images, (N, 8, 8) from 0 to 16, and their classes."""
    try:
        from sklearn.datasets import load_digits  # 1 s to import
    except ImportError as error:
        raise MinialexError(
            "the built-in digits come with scikit-learn: pip install scikit-learn"
        ) from error
    try:
        digits = load_digits()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise MinialexError(
            "cannot read scikit-learn's digits.csv.gz: install scikit-learn again"
        ) from error
    return digits.images, digits.target.astype(np.int64)
