"""From a batch of bytes to what the network takes: crop, colour jitter, flip, normalise.

plain    array operations on the whole batch
blocked  the same, a few images at a time
kernel   kernels/prepare.cu: one launch, one block of threads per image
"""

from __future__ import annotations

import numpy as np

from minialex.arrays import Array, Device, array_module, device_of
from minialex.autograd import Routine, implementation_for
from minialex.data.batch_buffer import BatchBuffer, CropBuffer
from minialex.data.colour import Jitter
from minialex.data.prepare.blocked import prepare_blocked
from minialex.data.prepare.crop import Crop, check_windows
from minialex.data.prepare.crops import PREPARE_CROPS, Crops, crops_kernel, launch_crops
from minialex.data.prepare.cuda import instructions, launch, prepare_kernel
from minialex.data.prepare.plain import prepare_plain

__all__ = [
    "PREPARE",
    "PREPARE_CROPS",
    "Crop",
    "Crops",
    "instructions",
    "prepare",
    "prepare_buffer",
    "takes_buffers",
]

PREPARE = Routine(
    "prepare",
    {"plain": prepare_plain, "blocked": prepare_blocked, "kernel": prepare_kernel},
    kernel="kernel",
    # 128 images of 227 x 227 take a third of the time of plain, with colour jitter half
    cpu="blocked",
)


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
        One row per image, on the host.
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
        check_windows(crop, N, *size)
    if jitter is not None and len(jitter.flip) != N:
        raise ValueError(f"prepare: jitter is for {len(jitter.flip)} images, but there are {N}")
    shape = (N, 3, *(size if crop is None else crop.size))
    y = array_module(images).empty(shape, np.float32) if out is None else out
    _check_array("out", y, shape, "float32")
    implementation_for(PREPARE, device_of(images))(images, jitter, crop, y)
    return y


def takes_buffers(device: Device) -> bool:
    """Return whether what runs on a device reads a buffer: `prepare_buffer`."""
    chosen = implementation_for(PREPARE, device), implementation_for(PREPARE_CROPS, device)
    return chosen == (prepare_kernel, crops_kernel)


def prepare_buffer(buffer: BatchBuffer | CropBuffer, out: Array) -> None:
    """Write the images of a batch whose every number is on the device already to `out`: a launch.

    Parameters
    ----------
    buffer : BatchBuffer or CropBuffer
    out : (N, 3, S, S) float32
    """
    if isinstance(buffer, BatchBuffer):
        launch(buffer.pixels, buffer.moves, buffer.factors, out)
        return
    crops = Crops(buffer.pixels, buffer.starts, buffer.shapes, buffer.across, buffer.down)
    launch_crops(crops, buffer.moves, buffer.factors, out)


def _check_array(name: str, a: Array, shape: tuple[int | str, ...], dtype: str) -> None:
    """Refuse an array of another type or shape; a letter stands for any number."""
    fits = all(isinstance(n, str) or n == there for n, there in zip(shape, a.shape, strict=False))
    if a.ndim != len(shape) or not fits or a.dtype != dtype:
        wanted = f"({', '.join(map(str, shape))})"
        raise ValueError(
            f"prepare: {name} must be {wanted} of type {dtype}, not {a.shape} of type {a.dtype}"
        )
