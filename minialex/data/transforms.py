"""Transforms: crop and resize, horizontal flip, colour jitter.

Sampling rules and parameter ranges are those of torchvision's RandomResizedCrop,
RandomHorizontalFlip and ColorJitter. The article (section 2.2) stretches to 227 x 227; its code
(3.2) crops at random, flips and normalises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from minialex.data.colour import ADJUSTMENTS, Factors, Jitter
from minialex.data.resample import Box

RESIZES = ("random", "stretch", "crop")

# What each of an image's uniform numbers is for: ten attempts at a crop, its position, the rest.
AREAS, ASPECTS, TOP, LEFT = slice(0, 10), slice(10, 20), 20, 21
FLIP, FACTORS, JITTER_ORDER = 22, slice(23, 27), slice(27, 31)
DRAWS_PER_IMAGE = 32

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
        A random crop, resized (RandomResizedCrop); the whole image, without regard to its aspect
        ratio; or the largest centred square (CenterCrop).
    scale : pair of float
        For "random": the range of the crop's area, as a fraction of the image's.
    ratio : pair of float
        For "random": the range of the crop's aspect ratio, width / height, log-uniform.
    flip : float
        The probability that an image is flipped horizontally.
    brightness, contrast, saturation : float
        Factors are drawn from [max(0, 1 - b), 1 + b]; 0 turns the adjustment off.
    hue : float
        Shifts are drawn from [-hue, hue], as fractions of the colour circle; at most 0.5.

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
        """Whether anything is drawn at random."""
        adjusted = any(getattr(self, name) for name in ADJUSTMENTS)
        return self.resize == "random" or self.flip > 0 or adjusted

    def box(self, size: tuple[int, int], uniforms: Uniforms) -> Box:
        """Return the crop of an image of `size` (width, height).

        Parameters
        ----------
        size : pair of int
        uniforms : (32,) float64
            The image's random numbers.
        """
        if self.resize == "random":
            return random_resized_crop(size, uniforms, self.scale, self.ratio)
        return center_crop(size) if self.resize == "crop" else (0, 0, *size)

    def jitter(self, uniforms: Uniforms) -> Jitter | None:
        """Return flip and colour jitter of N images, applied after resizing; None if there is none.

        Parameters
        ----------
        uniforms : (N, 32) float64
        """
        ranges = {name: getattr(self, name) for name in ADJUSTMENTS}
        if self.flip == 0 and not any(ranges.values()):
            return None
        columns = zip(ranges.items(), uniforms[:, FACTORS].T, strict=True)
        factors = {name: _factors(name, extent, u) for (name, extent), u in columns}
        order = np.argsort(uniforms[:, JITTER_ORDER], axis=1, kind="stable")
        return Jitter(flip=uniforms[:, FLIP] < self.flip, order=order, **factors)


def eval_transform(size: int = 227, resize: str = "stretch") -> Transform:
    """Return the transform for evaluation: deterministic."""
    return Transform(size=size, resize=resize, flip=0.0)


def center_crop(size: tuple[int, int]) -> Box:
    """Return the largest centred square of an image of `size` (width, height)."""
    width, height = size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def random_resized_crop(
    size: tuple[int, int],
    uniforms: Uniforms,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Box:
    """Return a crop of an image of `size` (width, height), random in area, aspect and position.

    Ten times an area and an aspect ratio (log-uniform) are drawn; the first crop that fits is
    taken. If none does, it is the largest centred crop whose aspect ratio lies within `ratio`.

    Parameters
    ----------
    size : pair of int
    uniforms : (32,) float64
    scale, ratio : pair of float
        The ranges of the area and of width / height.
    """
    width, height = size
    draws = uniforms.tolist()
    narrow, wide = math.log(ratio[0]), math.log(ratio[1])
    for u, v in zip(draws[AREAS], draws[ASPECTS], strict=True):
        area = width * height * _between(*scale, u)
        aspect = math.exp(_between(narrow, wide, v))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 1 <= w <= width and 1 <= h <= height:
            top = int(draws[TOP] * (height - h + 1))
            left = int(draws[LEFT] * (width - w + 1))
            return (left, top, left + w, top + h)
    return _centered(size, ratio)


def _centered(size: tuple[int, int], ratio: tuple[float, float]) -> Box:
    """Return the largest centred crop whose aspect ratio lies within `ratio`."""
    width, height = size
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w = width if width / height <= aspect else round(height * aspect)
    h = height if width / height >= aspect else round(width / aspect)
    left, top = (width - w) // 2, (height - h) // 2
    return (left, top, left + w, top + h)


def _factors(name: str, extent: float, uniforms: Uniforms) -> Factors | None:
    if extent == 0:
        return None
    low, high = (-extent, extent) if name == "hue" else (max(0.0, 1 - extent), 1 + extent)
    return _between(low, high, uniforms).astype(np.float32)


def _between(low: float, high: float, uniform: Number) -> Number:
    return low + (high - low) * uniform
