"""Image preparation as a CUDA kernel: kernels/prepare.cu, one block of threads per image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.data.colour import ADJUSTMENTS, Factors, Jitter
from minialex.data.prepare.crop import Crop

WARP, MAX_THREADS = 32, 1024
MAX_IMAGE_BYTES = 2**31 - 1
"""The kernel counts the bytes of an image with 32 bits."""

_kernel = cuda.kernel("prepare.cu", "prepare")


def prepare_kernel(images: Array, jitter: Jitter | None, crop: Crop | None, out: Array) -> None:
    """Write the prepared images to `out`."""
    xp = array_module(images)
    IH, IW = images.shape[1:3]
    if IH * IW * 3 > MAX_IMAGE_BYTES:
        raise ValueError(
            f"prepare: images of {IH} x {IW} pixels have more bytes than the kernel counts, "
            f"{MAX_IMAGE_BYTES}: use the 'plain' implementation"
        )
    moves, factors = instructions(len(out), jitter, crop)
    pixels = xp.ascontiguousarray(images)
    launch(pixels, xp.asarray(moves), xp.asarray(factors), out)


def launch(pixels: Array, moves: Array, factors: Array, out: Array) -> None:
    """Write the prepared images to `out`; `instructions` are on the device already."""
    N, _, H, W = out.shape
    _kernel(N, threads_per_image(H, W), pixels, moves, factors, out, *pixels.shape[1:3], H, W)


def threads_per_image(H: int, W: int) -> int:
    """Return how many threads, in whole warps, compute an image of H x W pixels."""
    return min(MAX_THREADS, WARP * cuda.blocks(max(1, H * W), WARP))


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
                here = jitter.order == number
                order[here] = number
                factors[:] = np.where(here, amounts[:, None], factors)
    return moves, factors
