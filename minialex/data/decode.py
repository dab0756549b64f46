"""Decode an image file of any format to upright RGB pixels.

That is: transposed by the EXIF orientation, palettes looked up, alpha composited on white, CMYK
converted (Pillow undoes Adobe's inversion of JPEG files), and samples of more than eight bits
scaled to eight, never clipped.
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

# Warning filters are process-wide, so worker threads cannot set their own. A decompression bomb
# must be an error; Pillow's warnings on metadata do not concern the pixels.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Pixels: TypeAlias = npt.NDArray[np.uint8]
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, right and bottom outside."""

# No image within Pillow's pixel limit is larger, even uncompressed at 16 bits per sample.
MAX_FILE_BYTES = 1 << 30

EXIF_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAPS_WIDTH_AND_HEIGHT = (5, 6, 7, 8)
"""The EXIF orientations that do so."""

MIN_OVERSAMPLING = 2
"""A JPEG is decoded at this many times the wanted resolution or more, then resized."""


class UnreadableImageError(MinialexError):
    """An image that cannot be read, with its `name` and the `reason`."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"cannot read image {name}: {reason}; replace or remove it, or pass --skip-unreadable"
        )
        self.name = name
        self.reason = reason


class LazyImage:
    """An image whose header is read and whose pixels are decoded on demand.

    Its pixels are read once: `resized_crop` may decode it at a lower resolution.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode; its EXIF orientation is applied.
    name : str
        What errors call it: its path.

    Attributes
    ----------
    size : tuple of int
        Width and height in pixels, upright.
    """

    def __init__(self, image: Image.Image, name: str = "image") -> None:
        self.name = name
        self._image = image
        with _reading(name):
            # only JPEG gains from lazy decoding; other formats may change orientation on load
            if not isinstance(image, JpegImageFile):
                image.load()
            self._orientation = _orientation(image)
            width, height = image.size
            if not width or not height:
                raise ValueError(f"it is {width} x {height} pixels")
        self.size = (
            (height, width) if self._orientation in SWAPS_WIDTH_AND_HEIGHT else (width, height)
        )

    def pixels(self) -> Pixels:
        """Return the whole image as (H, W, 3) uint8."""
        with _reading(self.name):
            return np.asarray(self._upright())

    def resized_crop(self, box: Box, size: int) -> Pixels:
        """Return the crop `box`, resized to (size, size, 3) uint8.

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
        wanted = MIN_OVERSAMPLING * size
        shrink = min(int((box[2] - box[0]) / wanted), int((box[3] - box[1]) / wanted))
        if shrink < 2 or not isinstance(self._image, JpegImageFile):
            return 1.0
        width, height = self._image.size
        drafted = self._image.draft(None, (width // shrink, height // shrink))
        return width / drafted[1][2] if drafted else 1.0

    def _upright(self) -> Image.Image:
        transpose = EXIF_TRANSPOSE.get(self._orientation)
        image = _rgb(self._image)
        return image if transpose is None else image.transpose(transpose)


def open_image(path: str | os.PathLike[str]) -> LazyImage:
    """Open the image file `path` without decoding more than its header, where the format allows.

    Raises
    ------
    UnreadableImageError
        If it cannot be read, is empty, truncated, no image, or over Pillow's pixel limit
        (`PIL.Image.MAX_IMAGE_PIXELS`, 89,478,485 unless changed).
    """
    name = os.fspath(path)
    with _reading(name):
        # read the whole file now, so that no file stays open
        with open(name, "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise ValueError(f"the file is larger than {MAX_FILE_BYTES:,} bytes")
            data = file.read()
        if not data:
            raise ValueError("the file is empty")
        image = Image.open(io.BytesIO(data))
    return LazyImage(image, name)


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """Return the image file `path` as upright RGB, (H, W, 3) uint8.

    Raises
    ------
    UnreadableImageError
        As `open_image`.
    """
    return open_image(path).pixels()


@contextmanager
def _reading(name: str) -> Iterator[None]:
    # A broken file can fail anywhere inside a decoder and with any exception.
    try:
        yield
    except UnreadableImageError:
        raise
    except Exception as error:
        raise UnreadableImageError(name, _reason(error)) from error


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
