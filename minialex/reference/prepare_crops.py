"""Definition of bringing crops of several sizes to one: a filter along the rows, then down."""

from typing import Any

import numpy as np

from minialex.reference.prepare import prepare

Array = np.ndarray[Any, np.dtype[Any]]

ONE = 2**22


def prepare_crops(crops: Any, jitter: Any, out: Array) -> None:
    """Write the crops, filtered and prepared, to `out` (N, 3, H, W).

    `crops` has the attributes of `minialex.data.prepare.Crops`, `jitter` those of
    `minialex.data.Jitter`, or it is None.
    """
    N, _, H, W = out.shape
    images = np.zeros((N, H, W, 3), np.uint8)
    for n in range(N):
        h, w = crops.shapes[n]
        crop = crops.pixels[crops.starts[n] :][: h * w * 3].reshape(h, w, 3)
        rows = np.zeros((h, W, 3), np.uint8)
        for k, j, c in np.ndindex(h, W, 3):
            rows[k, j, c] = filtered(crop[k, :, c], crops.across[n, j])
        for i, j, c in np.ndindex(H, W, 3):
            images[n, i, j, c] = filtered(rows[:, j, c], crops.down[n, i])
    prepare(images, jitter, None, out)


def filtered(x: Array, entry: Array) -> int:
    """Return a weighted sum of numbers of x, rounded: from x[first] on, until a weight is 0."""
    first, *weights = map(int, entry)
    total = ONE // 2
    for t, weight in enumerate(weights):
        if weight == 0:
            break
        total += weight * int(x[first + t])
    return total // ONE
