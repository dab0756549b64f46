"""Which windows of a batch of images are cut out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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

    def __getitem__(self, block: slice) -> Crop:
        """Return the windows of some of the images."""
        return Crop(self.corners[block], self.size)


def check_windows(crop: Crop, N: int, H: int, W: int) -> None:
    """Check that there is a window within each of `N` images of `H` x `W` pixels.

    Raises
    ------
    ValueError
        If there is not.
    """
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
