"""Which part of an image is seen, and what chance does to it.

The sampling rules and parameter ranges are those that users of torchvision know. The article
(section 2.2) stretches to 227 x 227; its code (3.2) crops at random, flips and normalises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from minialex.data.colour import ADJUSTMENTS, Factors, Jitter
from minialex.data.decode import Box

RESIZES = ("random", "stretch", "crop")

# What each of an image's uniform numbers is for: ten tries at a part, its place, and the rest.
AREAS, SHAPES, TOP, LEFT = slice(0, 10), slice(10, 20), 20, 21
FLIP, FACTORS, ORDER = 22, slice(23, 27), slice(27, 31)
DRAWS = 32

Uniforms = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Uniforms)


@dataclass(frozen=True)
class Transform:
    """What is done to every image.

    Parameters
    ----------
    size : int
        Width and height of the result in pixels.
    resize : {"random", "stretch", "crop"}
        A part chosen at random, brought to size (RandomResizedCrop); the whole image, its
        proportions given up; or the square in the middle.
    scale : pair of float
        For "random": the range of the part's area, as shares of the image's.
    ratio : pair of float
        For "random": the range of the part's width / height, drawn uniformly in its logarithm.
    flip : float
        The probability that an image is mirrored.
    brightness, contrast, saturation : float
        Factors are drawn from [max(0, 1 - b), 1 + b]; 0 turns the adjustment off.
    hue : float
        Turns are drawn from [-hue, hue] of the colour circle; at most 0.5.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """

    size: int = 227
    resize: str = "random"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.scale
        narrow, wide = self.ratio
        rules = {
            "size must be at least 1": self.size >= 1,
            f"resize must be one of {', '.join(RESIZES)}": self.resize in RESIZES,
            "scale must rise from above 0 to at most 1": 0 < low <= high <= 1,
            "ratio must rise from above 0": 0 < narrow <= wide,
            "flip must lie between 0 and 1": 0 <= self.flip <= 1,
            "brightness must not be negative": self.brightness >= 0,
            "contrast must not be negative": self.contrast >= 0,
            "saturation must not be negative": self.saturation >= 0,
            "hue must lie between 0 and 0.5": 0 <= self.hue <= 0.5,
        }
        for rule, kept in rules.items():
            if not kept:
                raise ValueError(f"Transform: {rule}, got {getattr(self, rule.split()[0])!r}")

    @property
    def random(self) -> bool:
        """Whether chance has a part in it."""
        adjusted = any(getattr(self, name) for name in ADJUSTMENTS)
        return self.resize == "random" or self.flip > 0 or adjusted

    def box(self, size: tuple[int, int], uniforms: Uniforms) -> Box:
        """Return the part that is seen of an image of `size` (width, height).

        Parameters
        ----------
        size : pair of int
        uniforms : (32,) float64
            The image's random numbers.
        """
        if self.resize == "random":
            return random_part(size, uniforms, self.scale, self.ratio)
        return middle_square(size) if self.resize == "crop" else (0, 0, *size)

    def jitter(self, uniforms: Uniforms) -> Jitter | None:
        """Return what happens to N images after resizing; None if nothing ever does.

        Parameters
        ----------
        uniforms : (N, 32) float64
        """
        ranges = {name: getattr(self, name) for name in ADJUSTMENTS}
        if self.flip == 0 and not any(ranges.values()):
            return None
        columns = zip(ranges.items(), uniforms[:, FACTORS].T, strict=True)
        factors = {name: _factors(name, extent, u) for (name, extent), u in columns}
        order = np.argsort(uniforms[:, ORDER], axis=1, kind="stable")
        return Jitter(flip=uniforms[:, FLIP] < self.flip, order=order, **factors)


def evaluation(size: int = 227, resize: str = "stretch") -> Transform:
    """Return the transform for judging: no chance in it."""
    return Transform(size=size, resize=resize, flip=0.0)


def middle_square(size: tuple[int, int]) -> Box:
    """Return the largest square in the middle of an image of `size` (width, height)."""
    width, height = size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def random_part(
    size: tuple[int, int],
    uniforms: Uniforms,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Box:
    """Return a part of random area, shape and place of an image of `size` (width, height).

    Ten times an area, as a share of the image, and a shape, uniform in its logarithm, are
    drawn; the first part that fits is taken. If none does, it is the largest part in the middle
    whose shape lies within `ratio`.

    Parameters
    ----------
    size : pair of int
    uniforms : (32,) float64
    scale, ratio : pair of float
        The ranges of the area and of width / height.
    """
    width, height = size
    chance = uniforms.tolist()
    narrow, wide = math.log(ratio[0]), math.log(ratio[1])
    for u, v in zip(chance[AREAS], chance[SHAPES], strict=True):
        area = width * height * _between(*scale, u)
        shape = math.exp(_between(narrow, wide, v))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 1 <= w <= width and 1 <= h <= height:
            top = int(chance[TOP] * (height - h + 1))
            left = int(chance[LEFT] * (width - w + 1))
            return (left, top, left + w, top + h)
    return _middle_part(size, ratio)


def _middle_part(size: tuple[int, int], ratio: tuple[float, float]) -> Box:
    width, height = size
    shape = min(max(width / height, ratio[0]), ratio[1])
    w = width if width / height <= shape else round(height * shape)
    h = height if width / height >= shape else round(width / shape)
    left, top = (width - w) // 2, (height - h) // 2
    return (left, top, left + w, top + h)


def _factors(name: str, extent: float, uniforms: Uniforms) -> Factors | None:
    if extent == 0:
        return None
    low, high = (-extent, extent) if name == "hue" else (max(0.0, 1 - extent), 1 + extent)
    return _between(low, high, uniforms).astype(np.float32)


def _between(low: float, high: float, uniform: Number) -> Number:
    return low + (high - low) * uniform
