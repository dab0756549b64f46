"""From a batch of bytes to what the network takes: crop, colour jitter, flip, normalise.

array    operations that NumPy and CuPy share, a few images at a time on the CPU
kernel   kernels/prepare.cu: one launch, a block an image
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minialex import cuda
from minialex.arrays import Array, array_module, device_of
from minialex.autograd import Routine, implementation_for
from minialex.data.batch_buffer import BatchBuffer
from minialex.data.colour import ADJUSTMENTS, Factors, Jitter, adjust

CACHED_VALUES = 1 << 18
"""On the CPU so many values at a time, to stay in a core's cache."""

WARP, MOST_THREADS = 32, 1024
LIMIT = 2**31 - 1
"""The most bytes of one image: the kernel counts them with 32 bits."""


@dataclass(frozen=True)
class Crop:
    """Which windows of N images are seen.

    Attributes
    ----------
    corners : (N, 2) int32
        The first row and the first column of each window, on the host.
    size : (int, int)
        Height and width of all windows.
    """

    corners: npt.NDArray[np.int32]
    size: tuple[int, int]


def prepare(
    images: Array,
    jitter: Jitter | None = None,
    *,
    crop: Crop | None = None,
    out: Array | None = None,
) -> Array:
    """Crop, adjust the colours of, flip and normalise a batch of images.

    Parameters
    ----------
    images : (N, H, W, 3) uint8
        RGB, on any device.
    jitter : Jitter, optional
        One row an image, on the host.
    crop : Crop, optional
        Cut a window of one size, (H, W) from here on, out of each image first. `DataLoader` has no
        use for it: it crops where it decodes, which brings less than a whole image to size.
    out : (N, 3, H, W) float32, optional
        Where to write the result.

    Returns
    -------
    (N, 3, H, W) float32
        (value / 255 - 0.5) / 0.5, so from -1 to 1, on the device of `images`.

    Raises
    ------
    ValueError
        If `images` or `out` have another shape or type, a window does not lie within its image,
        or `jitter` or `crop` are of another number of images.
    """
    _check_array("images", images, ("N", "H", "W", 3), "uint8")
    N, *size = images.shape[:3]
    if crop is not None:
        _check_windows(crop, N, *size)
    if jitter is not None and len(jitter.flip) != N:
        raise ValueError(f"prepare: jitter is for {len(jitter.flip)} images, but there are {N}")
    shape = (N, 3, *(size if crop is None else crop.size))
    y = array_module(images).empty(shape, np.float32) if out is None else out
    _check_array("out", y, shape, "float32")
    implementation_for(PREPARE, device_of(images))(images, jitter, crop, y)
    return y


def _check_array(name: str, a: Array, shape: tuple[int | str, ...], dtype: str) -> None:
    """Refuse an array of another type or shape; a letter stands for any number."""
    fits = all(isinstance(n, str) or n == there for n, there in zip(shape, a.shape, strict=False))
    if a.ndim != len(shape) or not fits or a.dtype != dtype:
        wanted = f"({', '.join(map(str, shape))})"
        raise ValueError(
            f"prepare: {name} must be {wanted} of type {dtype}, not {a.shape} of type {a.dtype}"
        )


def _check_windows(crop: Crop, N: int, H: int, W: int) -> None:
    if crop.corners.shape != (N, 2):
        raise ValueError(
            f"prepare: crop.corners must have the shape {(N, 2)}, not {crop.corners.shape}"
        )
    last = np.array([H, W]) - crop.size
    wrong = np.flatnonzero(((crop.corners < 0) | (crop.corners > last)).any(axis=1))
    if len(wrong):
        corner = tuple(map(int, crop.corners[wrong[0]]))
        raise ValueError(
            f"prepare: a window of {crop.size} pixels at {corner} does not fit into image "
            f"{wrong[0]} of {(H, W)}"
        )


# ---- in array operations -------------------------------------------------------------------------


def prepare_plain(images: Array, jitter: Jitter | None, crop: Crop | None, out: Array) -> None:
    """Write the prepared images to `out`."""
    xp = array_module(images)
    for block in _blocks(xp, out.shape):
        pixels = images[block] if crop is None else _windows(xp, images[block], crop, block)
        _prepare_block(xp, pixels.transpose(0, 3, 1, 2), jitter, block, out[block])


def _blocks(xp: Any, shape: tuple[int, ...]) -> Iterator[slice]:
    """Cut a batch for the CPU's cache; a GPU takes it whole."""
    N, *rest = shape
    step = max(1, CACHED_VALUES // max(1, int(np.prod(rest)))) if xp is np else max(1, N)
    return (slice(start, min(start + step, N)) for start in range(0, N, step))


def _windows(xp: Any, images: Array, crop: Crop, block: slice) -> Array:
    H, W = crop.size
    corners = crop.corners[block].tolist()
    windows = [image[t : t + H, l : l + W] for image, (t, l) in zip(images, corners, strict=True)]
    return xp.stack(windows)  # type: ignore[no-any-return]


def _prepare_block(xp: Any, planes: Array, jitter: Jitter | None, block: slice, y: Array) -> None:
    y[...] = planes
    if jitter is None or not jitter.adjusts_colours:
        y *= np.float32(2 / 255)
        y -= np.float32(1)
    else:
        y *= np.float32(1 / 255)
        adjust(y, jitter, block)
        y *= np.float32(2)
        y -= np.float32(1)
    if jitter is not None:
        mirrored = xp.asarray(np.flatnonzero(jitter.flip[block]))
        y[mirrored] = y[mirrored, :, :, ::-1]


# ---- as a kernel ---------------------------------------------------------------------------------

_kernel = cuda.kernel("prepare.cu", "prepare")


def prepare_kernel(images: Array, jitter: Jitter | None, crop: Crop | None, out: Array) -> None:
    """Write the prepared images to `out`."""
    xp = array_module(images)
    IH, IW = images.shape[1:3]
    if IH * IW * 3 > LIMIT:
        raise ValueError(
            f"prepare: images of {IH} x {IW} pixels have more bytes than the kernel counts, "
            f"{LIMIT}: use the 'plain' implementation"
        )
    moves, factors = instructions(len(out), jitter, crop)
    pixels = xp.ascontiguousarray(images)
    _launch(pixels, xp.asarray(moves), xp.asarray(factors), out)


def prepare_buffer(buffer: BatchBuffer, out: Array) -> None:
    """Write the images of a batch whose every number is on the device already to `out`."""
    _launch(buffer.pixels, buffer.moves, buffer.factors, out)


def _launch(pixels: Array, moves: Array, factors: Array, out: Array) -> None:
    N, _, H, W = out.shape
    threads = min(MOST_THREADS, WARP * cuda.blocks(max(1, H * W), WARP))
    _kernel(N, threads, pixels, moves, factors, out, *pixels.shape[1:3], H, W)


def instructions(
    N: int, jitter: Jitter | None, crop: Crop | None = None
) -> tuple[npt.NDArray[np.int32], Factors]:
    """Return what the kernel is to do to each image.

    Returns
    -------
    moves : (N, 7) int32
        Top and left of the window, whether it is mirrored, and the numbers of the adjustments in
        order, -1 for none.
    factors : (N, 4) float32
        The factors of the adjustments, in that order.
    """
    moves, factors = np.zeros((N, 7), np.int32), np.ones((N, 4), np.float32)
    order = moves[:, 3:]
    order[:] = -1
    if crop is not None:
        moves[:, :2] = crop.corners
    if jitter is not None:
        moves[:, 2] = jitter.flip
        for number, name in enumerate(ADJUSTMENTS):
            amounts = getattr(jitter, name)
            if amounts is not None:
                turn = jitter.order == number
                order[turn] = number
                factors[:] = np.where(turn, amounts[:, None], factors)
    return moves, factors


PREPARE = Routine("prepare", {"plain": prepare_plain, "kernel": prepare_kernel}, kernel="kernel")
