"""Crops of several sizes in one array of bytes, each brought to the same size and then prepared.

plain    array operations, image by image
kernel   kernels/prepare.cu: one launch, one block of threads per image

Both take the crops of a pack as they are. They give, to the bit, the bytes that
`minialex.data.resample.crop_and_resize` gives on the host.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Routine
from minialex.data.colour import Jitter
from minialex.data.prepare.cuda import instructions, threads_per_image
from minialex.data.prepare.plain import prepare_plain
from minialex.data.resample import WEIGHT_BITS

_kernel = cuda.kernel("prepare.cu", "prepare_crops")


@dataclass(frozen=True)
class Crops:
    """N crops, and how the filter brings them to H x W pixels: see `filter_table`.

    Attributes
    ----------
    pixels : (B,) uint8
        The bytes of all of them, one crop (h, w, 3) after the other.
    starts : (N,) int64
        Where each begins.
    shapes : (N, 2) int32
        Their h and w.
    across : (N, W, 1 + taps) int32
        The filter along the rows.
    down : (N, H, 1 + taps) int32
        The filter down the columns of what that gives.
    """

    pixels: Array
    starts: Array
    shapes: Array
    across: Array
    down: Array


def crops_plain(crops: Crops, jitter: Jitter | None, out: Array) -> None:
    """Write the prepared images to `out`."""
    xp = array_module(out)
    N, _, H, W = out.shape
    filtered = xp.empty((N, H, W, 3), np.uint8)
    for n in range(N):
        start, (h, w) = int(crops.starts[n]), map(int, crops.shapes[n])
        crop = crops.pixels[start : start + h * w * 3].reshape(h, w, 3)
        rows = _filter_rows(crop, crops.across[n])
        filtered[n] = _filter_rows(rows.transpose(1, 0, 2), crops.down[n]).transpose(1, 0, 2)
    prepare_plain(filtered, jitter, None, out)


def _filter_rows(x: Array, table: Array) -> Array:
    """Return x (h, w, 3) with its rows filtered to as many pixels as the table has."""
    xp = array_module(x)
    weights = table[:, 1:]
    places = xp.minimum(table[:, :1] + xp.arange(weights.shape[1]), x.shape[1] - 1)
    sums: Array = (x[:, places] * weights[None, :, :, None]).sum(axis=2)
    return ((sums + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS).astype(np.uint8)


def crops_kernel(crops: Crops, jitter: Jitter | None, out: Array) -> None:
    """Write the prepared images to `out`."""
    xp = array_module(out)
    moves, factors = instructions(len(out), jitter)
    launch_crops(crops, xp.asarray(moves), xp.asarray(factors), out)


def launch_crops(crops: Crops, moves: Array, factors: Array, out: Array) -> None:
    """Write the prepared images to `out`; `instructions` are on the device already."""
    N, _, H, W = out.shape
    taps = crops.across.shape[2] - 1
    tables = crops.starts, crops.shapes, crops.across, crops.down
    _kernel(N, threads_per_image(H, W), crops.pixels, *tables, moves, factors, out, taps, H, W)


PREPARE_CROPS = Routine(
    "prepare_crops",
    {"plain": crops_plain, "kernel": crops_kernel},
    kernel="kernel",
)
