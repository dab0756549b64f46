"""Decode an image file to upright RGB pixels, in memory that is known beforehand.

That is: transposed by the EXIF orientation, palettes looked up, alpha composited on white, CMYK
converted (Pillow undoes Adobe's inversion of JPEG files), and samples of more than eight bits
scaled to eight, never clipped: values below 0, which no grey has, are refused.

Only `FORMATS` are opened, whatever a file is called: no decoder that starts another program, as
Pillow's for PostScript does, is ever asked.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from minialex.data.resample import Box, Pixels, crop_and_resize
from minialex.errors import MinialexError

# Warning filters are process-wide, so worker threads cannot set their own. What is too large is
# refused below; Pillow's warnings on metadata do not concern the pixels.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "TGA", "TIFF",
    "WEBP",
)  # fmt: skip
"""Pillow's names of the formats that are read; its JPEG includes MPO."""

MAX_DECODE_BYTES = 1 << 30
"""The memory for one image: the file and all copies of its pixels while they are decoded."""

DECODER_BYTES_PER_PIXEL = {"JPEG": 10, "AVIF": 14, "QOI": 11, "WEBP": 17, "JPEG2000": 20}
"""The memory for a pixel while it is decoded, the most of any mode: measured with Pillow 12 and 13.

A JPEG takes this only where it is progressive.
"""
USUAL_BYTES_PER_PIXEL = 4
"""That of the other formats: Pillow's image."""
CMYK_BYTES_PER_PIXEL = 2
"""What a fourth ink adds to the coefficients of a progressive JPEG."""
CONVERTED_BYTES_PER_PIXEL = 4
"""What is added where the image is not RGB or grey of eight bits and has to be converted."""
STRIP_PIXELS = 1 << 18
"""Images are converted in strips of so many pixels, so that their intermediates stay small."""

MAX_JPEG_SCANS = 100
"""A progressive JPEG has about ten. Each scan goes over all pixels, whatever it holds."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""The chunks of a PNG that its pixels need."""

EXIF_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MIRRORS_X, MIRRORS_Y, SWAPS_WIDTH_AND_HEIGHT = (2, 3, 6, 7), (3, 4, 7, 8), (5, 6, 7, 8)
"""The EXIF orientations that do so, in this order."""

OVERSHOOT = 1.25
"""By what factor resizing makes values exceed white at most: so Lanczos does at a white corner."""

MIN_OVERSAMPLING = 2
"""A JPEG is decoded at this many times the wanted resolution or more, then resized."""


class UnreadableImageError(MinialexError):
    """An image that cannot be read, with its `name` and the `reason`, and what to do about it."""

    def __init__(
        self,
        name: str,
        reason: str,
        remedy: str = "replace or remove it, or pass --skip-unreadable",
    ) -> None:
        super().__init__(f"cannot read image {name}: {reason}; {remedy}")
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
            return self._upright_pixels(_eight_bits(self._image))

    def resized_crop(self, box: Box, size: int) -> Pixels:
        """Return the crop `box`, resized to (size, size, 3) uint8.

        Resizing is bilinear with antialiasing. A JPEG much larger than `size` is decoded at a
        half, quarter or eighth, never below twice the wanted resolution.
        """
        with _reading(self.name):
            if self.size == (size, size) and box == (0, 0, size, size):
                return self.pixels()
            return self._resized(box, (size, size))

    def shrunk(self, side: int) -> Pixels:
        """Return the whole image, its shorter side resized down to `side` pixels: (H, W, 3) uint8.

        One whose shorter side has no more is returned as it is.
        """
        shorter = min(self.size)
        if shorter <= side:
            return self.pixels()
        width, height = (round(length * side / shorter) for length in self.size)
        with _reading(self.name):
            return self._resized((0, 0, *self.size), (width, height))

    def verify(self) -> None:
        """Read the file to its end; raise UnreadableImageError if it is damaged."""
        # one pixel: decodes as little as the format allows
        self.resized_crop((0, 0, *self.size), 1)

    def _resized(self, box: Box, size: tuple[int, int]) -> Pixels:
        """Return the crop `box` of the upright image, resized to `size` (width, height)."""
        stored = _stored_box(box, self.size, self._orientation)
        wanted = size[::-1] if self._orientation in SWAPS_WIDTH_AND_HEIGHT else size
        shrink = self._decode_for(stored, wanted)
        part = (stored[0] / shrink, stored[1] / shrink, stored[2] / shrink, stored[3] / shrink)
        return self._upright_pixels(crop_and_resize(_eight_bits(self._image), part, wanted))

    def _decode_for(self, box: Box, size: tuple[int, int]) -> float:
        sides = ((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1])
        shrink = min(int(side / MIN_OVERSAMPLING) for side in sides)
        if shrink < 2 or not isinstance(self._image, JpegImageFile):
            return 1.0
        width, height = self._image.size
        drafted = self._image.draft(None, (width // shrink, height // shrink))
        return width / drafted[1][2] if drafted else 1.0

    def _upright_pixels(self, image: Image.Image) -> Pixels:
        transpose = EXIF_TRANSPOSE.get(self._orientation)
        upright = image if transpose is None else image.transpose(transpose)
        return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def open_image(path: str | os.PathLike[str]) -> LazyImage:
    """Open the image file `path` without decoding more than its header, where the format allows.

    Raises
    ------
    UnreadableImageError
        If it cannot be read, is empty, truncated, no image, no regular file, over Pillow's pixel
        limit (`PIL.Image.MAX_IMAGE_PIXELS`, 89,478,485 unless changed), or if decoding it would
        take more than `MAX_DECODE_BYTES` of memory.
    """
    name = os.fspath(path)
    with _reading(name):
        image = _open(_file_content(name))
    return LazyImage(image, name)


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """Return the image file `path` as upright RGB, (H, W, 3) uint8.

    Raises
    ------
    UnreadableImageError
        As `open_image`.
    """
    return open_image(path).pixels()


def stored_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return width and height of the image file `path`, as they are stored; no pixel is read.

    Raises
    ------
    UnreadableImageError
        If it is no image, or none that is read.
    """
    name = os.fspath(path)
    with _reading(name):
        _file_bytes(name)
        with Image.open(name, formats=FORMATS) as image:
            return image.size


# Opening ------------------------------------------------------------------------------------------


def _file_bytes(name: str) -> int:
    """Return how large a file is."""
    found = os.stat(name)
    # to open a pipe would wait for ever, and to open a device may do anything
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ValueError("it is not a regular file")
    return found.st_size


def _file_content(name: str) -> bytes:
    """Return a file's bytes: all of them now, so that no file stays open."""
    if _file_bytes(name) > MAX_DECODE_BYTES:
        raise ValueError(f"the file is larger than {MAX_DECODE_BYTES:,} bytes")
    with open(name, "rb") as file:
        data = file.read()
    if not data:
        raise ValueError("the file is empty")
    return data


def _open(data: bytes) -> Image.Image:
    if data.startswith(PNG_SIGNATURE):
        with contextlib.suppress(Exception):
            return _load(data)
        # damaged or enormous text does not make the pixels wrong
        data = _pixel_chunks(data)
    return _load(data)


def _load(data: bytes) -> Image.Image:
    """Return an image whose memory is known to suffice; only that of a JPEG is not decoded yet."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_cost(image, data)
    # only JPEG gains from lazy decoding; other formats may change orientation on load
    if not isinstance(image, JpegImageFile):
        image.load()
    return image


def _check_cost(image: Image.Image, data: bytes) -> None:
    """Raise ValueError if an image would take too much memory or time to decode."""
    width, height = image.size
    pixels, limit = width * height, Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise ValueError(f"too large: {pixels} pixels exceed the limit of {limit}")
    each = DECODER_BYTES_PER_PIXEL.get(image.format or "", USUAL_BYTES_PER_PIXEL)
    if isinstance(image, JpegImageFile):
        scans = data.count(b"\xff\xda")
        if scans > MAX_JPEG_SCANS:
            raise ValueError(f"it has {scans} scans, more than {MAX_JPEG_SCANS}")
        each = DECODER_BYTES_PER_PIXEL["JPEG"] + CMYK_BYTES_PER_PIXEL * (image.mode == "CMYK")
    if not _is_plain(image):
        each += CONVERTED_BYTES_PER_PIXEL
    if (needed := len(data) + pixels * each) > MAX_DECODE_BYTES:
        raise ValueError(
            f"too large: to decode {width} x {height} pixels takes {needed / 2**20:,.0f} MiB, "
            f"more than {MAX_DECODE_BYTES >> 20:,}"
        )


def _pixel_chunks(png: bytes) -> bytes:
    """Return a PNG without its metadata."""
    kept, at, view = [png[:8]], 8, memoryview(png)
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] in PIXEL_CHUNKS:
            kept.append(bytes(view[at:end]))
        at = end
    return b"".join(kept)


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
        return f"it is not an image in a format that is read ({', '.join(FORMATS)})"
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


def _stored_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """Return where a box of the upright image, of `size`, lies in the image as it is stored."""
    (left, top, right, bottom), (width, height) = box, size
    if orientation in MIRRORS_X:
        left, right = width - right, width - left
    if orientation in MIRRORS_Y:
        top, bottom = height - bottom, height - top
    if orientation in SWAPS_WIDTH_AND_HEIGHT:
        return top, left, bottom, right
    return left, top, right, bottom


# Converting ---------------------------------------------------------------------------------------


def _is_plain(image: Image.Image) -> bool:
    return image.mode in ("RGB", "L") and not image.has_transparency_data


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return an image as RGB or grey of eight bits, without transparency."""
    image.load()
    if _is_plain(image):
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        white, mode = _white(image), "L"
    else:
        white, mode = 255.0, "RGB"
    converted = Image.new(mode, image.size)
    for top, strip in _strips(image):
        converted.paste(_grey(strip, white) if mode == "L" else _rgb(strip), (0, top))
    return converted


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield an image in strips, each with its first row's number."""
    width, height = image.size
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _rgb(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    colours = image.convert("RGBA")
    white = Image.new("RGBA", colours.size, "white")
    return Image.alpha_composite(white, colours).convert("RGB")


def _grey(image: Image.Image, white: float) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    return Image.fromarray(np.rint(values / white * 255).astype(np.uint8))


def _white(image: Image.Image) -> float:
    """Return the value that is white: the smallest usual one that holds all values of the image.

    Neither mode I nor F says which it is. Of an image that goes beyond a usual one by no more than
    `OVERSHOOT`, as resizing and rounding leave it, its largest value is white: nothing is clipped,
    and 1.0000001 does not make an image black.
    """
    strips = (np.asarray(strip) for _, strip in _strips(image))
    ranges = np.array([(values.min(), values.max()) for values in strips], np.float64)
    low, peak = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    if not (math.isfinite(low) and math.isfinite(peak)):
        raise ValueError("it holds values that are not finite")
    if low < 0:
        raise ValueError(f"it holds values below 0 ({low:g}), which no grey has: rescale them")
    usual = (1.0, 255.0, 65535.0, 2.0**31 - 1) if image.mode == "F" else (65535.0, 2.0**31 - 1)
    return max(peak, next((white for white in usual if peak <= OVERSHOOT * white), 0.0))
