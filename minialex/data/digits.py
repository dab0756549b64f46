"""The built-in data set: scikit-learn's 1,797 handwritten digits, drawn as 64 x 64 RGB images.

Source: E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI, 1998
(its test set): 8 x 8 grey values from 0 to 16.
"""

from __future__ import annotations

import importlib.util
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from minialex.data.datasets import Dataset, Indices
from minialex.data.decode import LazyImage, Pixels
from minialex.data.splits import split
from minialex.errors import MinialexError

SIZE = 64
GRID = 8
FULL_INK = 16
# In cells of the 8 x 8 grid, so that strokes end before the edge.
MARGIN = 0.6
# Ink below the first is paper and above the second is pen: smooth shapes with firm outlines.
OUTLINE = (0.1, 0.9)
PAPER = (250, 247, 238)
PEN = (28, 38, 92)

SHADES = np.rint(np.linspace(PAPER, PEN, 256)).astype(np.uint8)

VAL_FRACTION = 0.2


def _interpolation() -> npt.NDArray[np.float64]:
    """Return the (64, 8) weights of cubic interpolation (Keys 1981, a = -1/2) with a margin."""
    cell = (GRID + 2 * MARGIN) / SIZE
    at = (np.arange(SIZE) + 0.5) * cell - 0.5 - MARGIN
    d = np.abs(at[:, None] - np.arange(GRID))
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


WEIGHTS = _interpolation()


class Digits:
    """The digits as a data set in memory: ten classes, "0" to "9", 64 x 64 pixels.

    Raises
    ------
    MinialexError
        If scikit-learn, which brings the data, is not installed, or its file is damaged.
    """

    def __init__(self) -> None:
        table = _table()
        self.classes = [str(digit) for digit in range(10)]
        self.targets: Indices = table[:, -1]
        self._pictures = [
            LazyImage(Image.fromarray(draw(ink)), self.name(index))
            for index, ink in enumerate(table[:, :-1].reshape(-1, GRID, GRID))
        ]

    def __len__(self) -> int:
        return len(self._pictures)

    def load(self, index: int) -> LazyImage:
        """Return image `index`."""
        return self._pictures[index]

    def name(self, index: int) -> str:
        """Return what image `index` is called."""
        return f"digit-{index:04d}"


def draw(ink: npt.NDArray[np.int64]) -> Pixels:
    """Draw a digit, (8, 8) from 0 to 16, as dark ink on light paper, (64, 64, 3) uint8."""
    smooth = WEIGHTS @ (ink / FULL_INK) @ WEIGHTS.T
    low, high = OUTLINE
    t = np.clip((smooth - low) / (high - low), 0, 1)
    return SHADES[np.rint(255 * t * t * (3 - 2 * t)).astype(np.uint8)]


def write_digits(
    out: str | os.PathLike[str],
    *,
    val_fraction: float = VAL_FRACTION,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, int]:
    """Write the digits as an image folder: ``OUT/train/<class>/*.png`` and ``OUT/val``.

    Parameters
    ----------
    out : str or path
        A folder that does not exist yet or is empty.
    val_fraction, seed : float, int
        The split, the same as `split` makes of `Digits`.
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
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise MinialexError(f"{out} is not empty: name a new folder")
        train, val = split(Digits(), val_fraction, seed)
        total = len(train) + len(val)
        for part, done, where in ((train, 0, out / "train"), (val, len(train), out / "val")):
            for index in range(len(part)):
                _write(part, index, where)
                if progress:
                    progress(done + index + 1, total)
    except OSError as error:
        raise MinialexError(f"cannot write {error.filename or out}: {error.strerror}") from error
    return len(train), len(val)


def _write(dataset: Dataset, index: int, where: Path) -> None:
    folder = where / dataset.classes[dataset.targets[index]]
    folder.mkdir(parents=True, exist_ok=True)
    pixels = dataset.load(index).pixels()
    Image.fromarray(pixels).save(folder / f"{dataset.name(index)}.png")


def _table() -> npt.NDArray[np.int64]:
    # scikit-learn's own reader of this file costs two seconds of imports.
    package = importlib.util.find_spec("sklearn")
    folder = next(iter(package.submodule_search_locations or []), "") if package else ""
    path = Path(folder, "datasets", "data", "digits.csv.gz")
    if not folder or not path.exists():
        raise MinialexError("the built-in digits come with scikit-learn: pip install scikit-learn")
    try:
        return np.loadtxt(path, delimiter=",", dtype=np.int64)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise MinialexError(f"cannot read {path}: install scikit-learn again") from error
