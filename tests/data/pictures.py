"""Images and data sets that the tests make for themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from minialex.data import Dataset, LazyImage, UnreadableImageError

ORIENTATION = 0x0112

# EXIF 2.32, tag 0x0112: which sides of the scene the first row and the first column show.
STORED = {
    1: lambda v: v,  # top, left
    2: lambda v: v[:, ::-1],  # top, right
    3: lambda v: v[::-1, ::-1],  # bottom, right
    4: lambda v: v[::-1],  # bottom, left
    5: lambda v: v.swapaxes(0, 1),  # left, top
    6: lambda v: v.swapaxes(0, 1)[::-1],  # right, top
    7: lambda v: v.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda v: v.swapaxes(0, 1)[:, ::-1],  # left, bottom
}


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return random RGB pixels, (height, width, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def slopes(height: int, width: int) -> np.ndarray:
    """Return an image that is a linear function of place: red grows to the right, green down."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [255 * x / (width - 1), 255 * y / (height - 1), np.full_like(x, 128)], axis=-1
    ).astype(np.uint8)


def save(path: Path, pixels: np.ndarray | None = None, **options: object) -> Path:
    """Write pixels, noise unless given, to `path`, making its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(8, 10) if pixels is None else pixels).save(path, **options)
    return path


def turned(path: Path, pixels: np.ndarray, orientation: int, **options: object) -> Path:
    """Write pixels to `path` stored another way, which its EXIF orientation says."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = np.ascontiguousarray(STORED[orientation](pixels))
    return save(path, stored, exif=exif, **options)


def tree(root: Path, counts: dict[str, int], suffix: str = ".png") -> Path:
    """Write `counts[name]` different images into each folder `root/name`."""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            save(root / name / f"{i}{suffix}", noise(9, 12, 1000 * number + i))
    return root


class MemoryDataset(Dataset):
    """A data set in memory that records which images were loaded; some may be unreadable."""

    def __init__(self, count: int, size: int = 6, unreadable: tuple[int, ...] = ()) -> None:
        self.classes = ["even", "odd"]
        self.targets = np.arange(count) % 2
        self.images = [noise(size, size + 1, seed) for seed in range(count)]
        self.unreadable = unreadable
        self.loaded: list[int] = []

    def load(self, index: int) -> LazyImage:
        self.loaded.append(index)
        if index in self.unreadable:
            raise UnreadableImageError(self.name(index), "it is torn")
        return LazyImage(Image.fromarray(self.images[index]), self.name(index))

    def name(self, index: int) -> str:
        return f"picture {index}"
