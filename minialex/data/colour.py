"""Colour jitter in operations that NumPy and CuPy share.

Random factors are drawn beforehand and passed as small arrays on the host. The formulas are those
of torchvision for float images; values lie in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array, array_module

# Rec. 601 luma.
GREY = (0.2989, 0.587, 0.114)
# Columns of `Jitter.order`.
ADJUSTMENTS = ("brightness", "contrast", "saturation", "hue")
MIN_CHROMA = 1e-30

Factors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Jitter:
    """The parameters drawn for N images: horizontal flip and colour jitter.

    Attributes
    ----------
    flip : (N,) bool
        Which images are flipped.
    brightness, contrast, saturation : (N,) float32, optional
        Factors, 1 for no change; None if no image is adjusted.
    hue : (N,) float32, optional
        Shifts, as fractions of the colour circle, from -0.5 to 0.5.
    order : (N, 4) int64
        The order in which brightness (0), contrast (1), saturation (2) and hue (3) are applied.
    """

    flip: npt.NDArray[np.bool_]
    brightness: Factors | None
    contrast: Factors | None
    saturation: Factors | None
    hue: Factors | None
    order: npt.NDArray[np.int64]

    @property
    def changes_colours(self) -> bool:
        """Whether anything is drawn but the flip."""
        return any(getattr(self, name) is not None for name in ADJUSTMENTS)

    def __getitem__(self, block: slice) -> Jitter:
        """Return the parameters of some of the images."""
        drawn = {name: getattr(self, name) for name in ADJUSTMENTS}
        factors = {name: None if f is None else f[block] for name, f in drawn.items()}
        return Jitter(flip=self.flip[block], order=self.order[block], **factors)


def adjust(y: Array, jitter: Jitter) -> None:
    """Adjust the colours of images in place, each in its own order.

    Parameters
    ----------
    y : (N, 3, H, W) float32
    jitter : Jitter
    """
    xp = array_module(y)
    for position in range(len(ADJUSTMENTS)):
        adjustment = jitter.order[:, position]
        for number, name in enumerate(ADJUSTMENTS):
            factors = getattr(jitter, name)
            rows = np.flatnonzero(adjustment == number)
            if factors is None or not len(rows):
                continue
            f = xp.asarray(factors[rows]).reshape(-1, 1, 1, 1)
            if len(rows) == len(y):
                ADJUST[name](y, f)
            else:
                indices = xp.asarray(rows)
                images = y[indices]
                ADJUST[name](images, f)
                y[indices] = images


def adjust_brightness(x: Array, factor: Array) -> None:
    """Multiply images by `factor` in place, clipped to [0, 1].

    Parameters
    ----------
    x : (N, 3, H, W) float32
    factor : (N, 1, 1, 1) float32
    """
    x *= factor
    x.clip(0, 1, out=x)


def adjust_contrast(x: Array, factor: Array) -> None:
    """Blend images with their mean grey, in place, clipped to [0, 1].

    Parameters
    ----------
    x : (N, 3, H, W) float32
    factor : (N, 1, 1, 1) float32
    """
    # one row per image: the order of summation is then the same for any batch size
    mean = _grey(x).reshape(len(x), -1).mean(axis=1).reshape(-1, 1, 1, 1)
    _blend(x, mean, factor)


def adjust_saturation(x: Array, factor: Array) -> None:
    """Blend images with their greyscale, in place, clipped to [0, 1].

    Parameters
    ----------
    x : (N, 3, H, W) float32
    factor : (N, 1, 1, 1) float32
    """
    _blend(x, _grey(x), factor)


def adjust_hue(x: Array, shift: Array) -> None:
    """Shift the hue of images by a fraction of the circle, in place; value and saturation stay.

    With V the largest channel, C the chroma and h the hue in sixths of the circle, a channel is
    V - C clip(min(k, 4 - k), 0, 1) where k = (n + h) mod 6 and n is 5 for red, 3 for green and
    1 for blue.

    Parameters
    ----------
    x : (N, 3, H, W) float32
    shift : (N, 1, 1, 1) float32
        From -0.5 to 0.5.
    """
    xp = array_module(x)
    r, g, b = x[:, 0], x[:, 1], x[:, 2]
    value = xp.maximum(xp.maximum(r, g), b)
    chroma = value - xp.minimum(xp.minimum(r, g), b)
    # products with masks: `where` is slow on conditions that branch prediction cannot guess
    red = value == r
    green = (value == g) & ~red
    blue = ~(red | green)
    hue = red * (g - b)
    hue += green * (b - r)
    hue += blue * (r - g)
    # a grey pixel has no hue: 0 divided by anything
    hue /= xp.maximum(chroma, np.float32(MIN_CHROMA))
    hue += green * np.float32(2)
    hue += blue * np.float32(4)
    hue += np.float32(6) * shift[:, 0]
    for channel, n in enumerate((5, 3, 1)):
        k = hue + np.float32(n)
        k -= np.float32(6) * xp.floor(k * np.float32(1 / 6))
        k = xp.minimum(k, np.float32(4) - k)
        k.clip(0, 1, out=k)
        k *= chroma
        xp.subtract(value, k, out=x[:, channel])


ADJUST = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}


def _grey(x: Array) -> Array:
    """Return the greyscale of images, (N, 1, H, W)."""
    red, green, blue = (np.float32(weight) for weight in GREY)
    grey = red * x[:, 0:1]
    grey += green * x[:, 1:2]
    grey += blue * x[:, 2:3]
    return grey


def _blend(x: Array, other: Array, factor: Array) -> None:
    """Set x to factor x + (1 - factor) other, clipped to [0, 1]."""
    x *= factor
    x += (np.float32(1) - factor) * other
    x.clip(0, 1, out=x)
