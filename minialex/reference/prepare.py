"""Definition of image preparation: crop, adjust colours, flip, normalise."""

import colorsys
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Pixel = tuple[float, ...]

GREY = (0.2989, 0.587, 0.114)
ADJUSTMENTS = "brightness", "contrast", "saturation", "hue"


def prepare(images: Array, jitter: Any, crop: Any, out: Array) -> None:
    """Write (N, H, W, 3) images, or the windows of `crop` in them, to `out` (N, 3, H, W).

    `jitter` and `crop` have the attributes of `minialex.data.Jitter` and `Crop`, or are None.
    """
    for n, image in enumerate(images):
        H, W = out.shape[2:]
        top, left = (0, 0) if crop is None else crop.corners[n]
        window = image[top : top + H, left : left + W].reshape(-1, 3).tolist()
        pixels = [tuple(value / 255 for value in pixel) for pixel in window]
        for number in () if jitter is None else jitter.order[n]:
            factors = getattr(jitter, ADJUSTMENTS[number])
            if factors is not None:
                pixels = adjusted(pixels, ADJUSTMENTS[number], float(factors[n]))
        mirrored = jitter is not None and jitter.flip[n]
        for i, j in np.ndindex(H, W):
            from_column = W - 1 - j if mirrored else j
            for c in range(3):
                out[n, c, i, j] = (pixels[i * W + from_column][c] - 0.5) / 0.5


def adjusted(pixels: list[Pixel], name: str, factor: float) -> list[Pixel]:
    """Return the pixels of an image after one adjustment."""
    if name == "hue":
        return [turned(pixel, factor) for pixel in pixels]
    if name == "brightness":
        others = [0.0] * len(pixels)
    elif name == "contrast":
        others = [sum(map(grey, pixels)) / len(pixels)] * len(pixels)
    else:
        others = list(map(grey, pixels))
    return [blended(pixel, other, factor) for pixel, other in zip(pixels, others, strict=True)]


def grey(pixel: Pixel) -> float:
    """Return the luma of a pixel."""
    return sum(weight * value for weight, value in zip(GREY, pixel, strict=True))


def blended(pixel: Pixel, other: float, factor: float) -> Pixel:
    """Return a pixel moved away from `other` by `factor`, within [0, 1]."""
    return tuple(min(1.0, max(0.0, factor * value + (1 - factor) * other)) for value in pixel)


def turned(pixel: Pixel, turn: float) -> Pixel:
    """Return a pixel whose hue is turned by a share of the circle."""
    red, green, blue = pixel
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    return colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
