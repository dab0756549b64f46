"""From an image file of any kind to upright RGB pixels.

Right RGB means: turned as the EXIF orientation says, palettes looked up, alpha laid on white,
CMYK brought to RGB (Pillow undoes Adobe's inversion of JPEG files), and samples of more than
eight bits scaled to eight, never clipped.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from minialex.errors import MinialexError

# Pillow warns through process-wide filters, which worker threads cannot set for themselves.
# An enormous image must stop its reader; remarks on metadata do not concern the pixels.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Pixels: TypeAlias = npt.NDArray[np.uint8]
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, right and bottom outside."""

# No picture within Pillow's pixel limit fills more, even uncompressed at 16 bits a sample.
MAX_BYTES = 1 << 30

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)

# How finely a JPEG is decoded before it is resized: at least this many times the wanted size.
OVERSAMPLING = 2


class BadImageError(MinialexError):
    """An image that cannot be read, with its `name` and the `reason`."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"cannot read image {name}: {reason}; replace or remove it, or pass --skip-unreadable"
        )
        self.name = name
        self.reason = reason


class Picture:
    """An image whose header is read and whose pixels wait until it is known which are wanted.

    A picture is looked at once: `view` may decode it coarsely.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode; an EXIF orientation is obeyed.
    name : str
        What errors call it: its path.

    Attributes
    ----------
    size : tuple of int
        Width and height in pixels, after turning upright.
    """

    def __init__(self, image: Image.Image, name: str = "image") -> None:
        self.name = name
        self._image = image
        with _reading(name):
            # Only JPEG gains by waiting; other formats may turn themselves while they load.
            if not isinstance(image, JpegImageFile):
                image.load()
            self._orientation = _orientation(image)
            width, height = image.size
            if not width or not height:
                raise ValueError(f"it is {width} x {height} pixels")
        self.size = (height, width) if self._orientation in SIDEWAYS else (width, height)

    def pixels(self) -> Pixels:
        """Return the whole picture as (H, W, 3) uint8."""
        with _reading(self.name):
            return np.asarray(self._upright())

    def view(self, box: Box, size: int) -> Pixels:
        """Return the part inside `box`, resized to (size, size, 3) uint8.

        Resizing is bilinear with antialiasing. A JPEG much larger than `size` is decoded at a
        half, quarter or eighth, never below twice the wanted resolution.
        """
        with _reading(self.name):
            shrink = self._decode_for(box, size)
            image = self._upright()
            if image.size == (size, size) and box == (0, 0, size, size):
                return np.asarray(image)
            part = (box[0] / shrink, box[1] / shrink, box[2] / shrink, box[3] / shrink)
            resized = image.resize(
                (size, size), Image.Resampling.BILINEAR, box=part, reducing_gap=2.0
            )
            return np.asarray(resized)

    def _decode_for(self, box: Box, size: int) -> float:
        wanted = OVERSAMPLING * size
        shrink = min(int((box[2] - box[0]) / wanted), int((box[3] - box[1]) / wanted))
        if shrink < 2 or not isinstance(self._image, JpegImageFile):
            return 1.0
        width, height = self._image.size
        drafted = self._image.draft(None, (width // shrink, height // shrink))
        return width / drafted[1][2] if drafted else 1.0

    def _upright(self) -> Image.Image:
        turn = TURNS.get(self._orientation)
        image = _rgb(self._image)
        return image if turn is None else image.transpose(turn)


def open_picture(path: str | os.PathLike[str]) -> Picture:
    """Open the image file `path` without decoding more than its header, where the format allows.

    Raises
    ------
    BadImageError
        If it cannot be read, is empty, truncated, no image, or over Pillow's pixel limit
        (`PIL.Image.MAX_IMAGE_PIXELS`, 89,478,485 unless changed).
    """
    name = os.fspath(path)
    with _reading(name):
        # Read at once: no open file is left behind whoever drops the picture.
        with open(name, "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise ValueError(f"the file is larger than {MAX_BYTES:,} bytes")
            data = file.read()
        if not data:
            raise ValueError("the file is empty")
        image = Image.open(io.BytesIO(data))
    return Picture(image, name)


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """Return the image file `path` as upright RGB, (H, W, 3) uint8.

    Raises
    ------
    BadImageError
        As `open_picture`.
    """
    return open_picture(path).pixels()


@contextmanager
def _reading(name: str) -> Iterator[None]:
    # A broken file can fail anywhere inside a decoder and with any exception.
    try:
        yield
    except BadImageError:
        raise
    except Exception as error:
        raise BadImageError(name, _reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"too large: {str(error).split(', could')[0]}"
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image in a format that Pillow reads"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _orientation(image: Image.Image) -> int:
    # Broken metadata does not make the pixels wrong.
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _scaled(image)
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB")
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")


def _scaled(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not finite")
    full = _full_scale(image.mode, float(values.max()))
    grey = np.rint(np.clip(values / full, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _full_scale(mode: str, peak: float) -> float:
    # Neither mode I nor F says which value is white: the smallest usual one that holds the peak.
    usual = (1.0, 255.0, 65535.0, 2.0**31 - 1) if mode == "F" else (65535.0, 2.0**31 - 1)
    return next((white for white in usual if peak <= white), peak)
