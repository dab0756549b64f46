"""Images of every format, damaged: each is read, in the memory that is allowed, or refused.

Flipped bytes, truncations, spliced and repeated pieces, other numbers in headers, text that
decompresses to far more than it takes, and files of other formats, some of which hold programs.
"""

from __future__ import annotations

import functools
import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from minialex.data import UnreadableImageError, open_image
from tests.campaigns.fuzz import canary, files

# what is imported while an image is read would count as code that was compiled
Image.init()

MODES = {
    "AVIF": ("RGB", "RGBA"),
    "BMP": ("RGB", "P", "1", "L"),
    "DIB": ("RGB",),
    "GIF": ("P", "L"),
    "JPEG": ("RGB", "L", "CMYK"),
    "JPEG2000": ("RGB", "RGBA", "L", "I;16"),
    "MPO": ("RGB",),
    "PCX": ("RGB", "P", "1"),
    "PNG": ("RGB", "RGBA", "P", "LA", "L", "1", "I;16"),
    "PPM": ("RGB", "L", "1", "I;16", "F"),
    "QOI": ("RGB", "RGBA"),
    "TGA": ("RGB", "RGBA", "L", "P"),
    "TIFF": ("RGB", "RGBA", "CMYK", "P", "I;16", "I", "F", "1", "LAB", "YCbCr"),
    "WEBP": ("RGB", "RGBA"),
}
OPTIONS = {
    "GIF": ({}, {"save_all": True, "append_images": "more"}),
    "JPEG": ({}, {"progressive": True}, {"exif": "turned"}, {"icc_profile": bytes(5000)}),
    "MPO": ({"save_all": True, "append_images": "more"},),
    "PNG": ({}, {"exif": "turned"}, {"save_all": True, "append_images": "more"}),
    "TGA": ({}, {"compression": "tga_rle"}),
    "TIFF": ({}, *({"compression": c} for c in ("tiff_lzw", "tiff_adobe_deflate", "packbits"))),
    "WEBP": ({}, {"lossless": True}, {"save_all": True, "append_images": "more"}),
}
FOREIGN = ("EPS", "PDF", "ICO", "SGI", "DDS", "IM", "MSP", "SPIDER", "XBM", "PALM", "ICNS", "BLP")


def _image(mode: str) -> Image.Image:
    y, x = np.mgrid[:20, :24]
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray((x * y).astype(dtype))
    image = Image.fromarray(np.stack([9 * x, 9 * y, x * y % 251], -1).astype(np.uint8))
    if mode in ("RGBA", "LA"):
        image.putalpha(128)
    return image.convert(mode) if image.mode != mode else image


def _saved(kind: str, mode: str, options: dict[str, object]) -> bytes:
    exif = Image.Exif()
    exif[0x112] = 6
    words = {"more": [_image(mode)] * 3, "turned": exif}
    chosen = {k: words.get(v, v) if isinstance(v, str) else v for k, v in options.items()}
    buffer = io.BytesIO()
    _image(mode).save(buffer, kind, **chosen)
    return buffer.getvalue()


@functools.cache
def originals() -> list[bytes]:
    """Return files of every format that is read."""
    return [
        _saved(kind, mode, options)
        for kind, modes in MODES.items()
        for mode in modes
        for options in OPTIONS.get(kind, ({},))
        # an option that this mode does not have
        if not (kind == "TIFF" and mode == "LAB" and options)
    ]


@functools.cache
def foreign() -> list[bytes]:
    """Return files of formats that must not be read."""
    return [
        _saved(kind, "1" if kind in ("MSP", "XBM", "PALM") else "P" if kind == "BLP" else "RGB", {})
        for kind in FOREIGN
    ]


# What is done to them -----------------------------------------------------------------------------


def _flip(draw: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(draw.choice((1, 2, 8, 40))):
        damaged[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(damaged)


def _truncate(draw: random.Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data))]


def _enlarge(draw: random.Random, data: bytes) -> bytes:
    """Put large numbers where a header may have its sizes."""
    damaged = bytearray(data)
    for _ in range(draw.choice((1, 2, 4))):
        size = draw.choice(
            (0, 1, 255, 4096, 9400, 16383, 20000, 65535, 2**24, 2**31 - 1, 2**32 - 1)
        )
        code = draw.choice(("<I", ">I", "<H", ">H"))
        number = struct.pack(code, size & (0xFFFF if code[1] == "H" else 0xFFFFFFFF))
        at = draw.randrange(min(len(data), draw.choice((40, 400))))
        damaged[at : at + len(number)] = number
    return bytes(damaged)


def _splice(draw: random.Random, data: bytes) -> bytes:
    other = draw.choice(originals())
    return data[: draw.randrange(len(data))] + other[draw.randrange(len(other)) :]


def _repeat(draw: random.Random, data: bytes) -> bytes:
    lo, hi = sorted(draw.randrange(len(data)) for _ in range(2))
    times = min(draw.choice((1, 20, 1000)), 8_000_000 // (hi - lo + 1))
    return data[:hi] + data[lo:hi] * times + data[hi:]


def _resize_png(draw: random.Random, data: bytes) -> bytes:
    """Return a PNG of any size, kind and depth, whose checksums are right."""
    side, depth, colour = (
        draw.choice((1, 7, 3000, 9400)),
        draw.choice((1, 8, 16)),
        draw.randrange(7),
    )
    rows = zlib.compress(bytes(draw.choice((10, 10**6))), 9)
    text = zlib.compress(bytes(draw.choice((10, 3 * 10**6))), 9)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, draw.choice((0, 1)))),
        (b"PLTE", bytes(range(48))),
        draw.choice(((b"zTXt", b"a\0\0" + text), (b"iCCP", b"a\0\0" + text), (b"tIME", b""))),
        (b"IDAT", rows),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


DAMAGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip,
    _truncate,
    _enlarge,
    _splice,
    _repeat,
    _resize_png,
)


def _program(path: Path) -> bytes:
    """Return PostScript that touches the canary, if anything executes it."""
    return (
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
        f"(%pipe%touch {canary(path)}) (w) file closefile showpage\n%%EOF\n"
    ).encode()


def make(draw: random.Random, path: Path) -> None:
    """Write a damaged image."""
    share = draw.random()
    if share < 0.05:
        data = draw.choice([*foreign(), _program(path)])
    else:
        data = draw.choice(originals())
        for _ in range(draw.choice((0, 1, 1, 1, 2))):
            data = draw.choice(DAMAGES)(draw, data) or b"\0"
    path.write_bytes(data)


def read(path: Path, made: None) -> str | None:
    """Read it as training does; returns what is wrong with the pixels."""
    try:
        image = open_image(path)
        pixels = image.resized_crop((0, 0, *image.size), 8)
    except UnreadableImageError as error:
        if error.reason.startswith("not enough memory"):
            return "it takes more memory than was reckoned beforehand"
        raise
    return None if pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8 else "no pixels"


CAMPAIGN = files(__name__, "images", count=10_000, short=60, seconds=30.0, megabytes=1200)
