"""Image preparation in array operations, for the whole batch at once.

y = 2 adjust(crop(x) / 255) - 1        mirrored where asked
"""

from __future__ import annotations

import numpy as np

from minialex.arrays import Array, array_module
from minialex.data.colour import Jitter, adjust
from minialex.data.prepare.crop import Crop


def prepare_plain(images: Array, jitter: Jitter | None, crop: Crop | None, out: Array) -> None:
    """Write the prepared images to `out`."""
    xp = array_module(images)
    pixels = images if crop is None else windows(images, crop)
    out[...] = pixels.transpose(0, 3, 1, 2)
    out *= np.float32(1 / 255)
    if jitter is not None:
        adjust(out, jitter)
        mirrored = xp.asarray(np.flatnonzero(jitter.flip))
        out[mirrored] = out[mirrored, :, :, ::-1]
    out *= np.float32(2)
    out -= np.float32(1)


def windows(images: Array, crop: Crop) -> Array:
    """Return the windows (N, H, W, 3) of `images`."""
    (H, W), corners = crop.size, crop.corners.tolist()
    cut = [image[t : t + H, l : l + W] for image, (t, l) in zip(images, corners, strict=True)]
    return array_module(images).stack(cut)  # type: ignore[no-any-return]
