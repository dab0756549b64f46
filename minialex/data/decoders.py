"""Making a batch: decoded and resized on the host, or for a GPU the crops of a pack as they are."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from minialex.arrays import CPU, Array
from minialex.data.batch import Batch, StagedBatch
from minialex.data.batch_buffer import BatchBuffer, CropBuffer
from minialex.data.datasets import Indices
from minialex.data.prepare import instructions, prepare, takes_buffers
from minialex.data.resample import Pixels, filter_tables, is_reduced, max_taps, window
from minialex.data.seeded import uniforms
from minialex.data.transforms import DRAWS_PER_IMAGE, Uniforms

if TYPE_CHECKING:
    from minialex.data.loader import DataLoader


class Decoder(ABC):
    """Makes one batch, different parts of it in different threads."""

    def __init__(self, loader: DataLoader, indices: Indices, epoch: int) -> None:
        self.loader = loader
        self.indices = indices
        self.epoch = epoch
        self.uniforms: Uniforms = np.zeros((len(indices), DRAWS_PER_IMAGE))

    def draw(self, part: slice) -> Uniforms:
        """Return the random numbers of one part of the batch, all 0 where nothing is random."""
        draws, loader = self.uniforms[part], self.loader
        if loader.transform.random:
            draws[:] = uniforms(loader.seed, self.epoch, self.indices[part], DRAWS_PER_IMAGE)
        return draws

    @abstractmethod
    def decode(self, part: slice, stop: threading.Event) -> None:
        """Decode one part of the batch; return early once `stop` is set."""

    @abstractmethod
    def finish(self) -> Batch:
        """Return the batch, once all its parts are decoded."""

    def staged(self, buffer: BatchBuffer | CropBuffer) -> StagedBatch:
        """Return a batch whose pixels are in a buffer."""
        loader, jitter = self.loader, self.loader.transform.jitter(self.uniforms)
        buffer.targets[:] = loader.dataset.targets[self.indices]
        buffer.moves[:], buffer.factors[:] = instructions(len(self.indices), jitter)
        return StagedBatch(buffer, jitter, self.indices, loader.device)


class ImageDecoder(Decoder):
    """Decodes, crops and resizes; on the CPU workers also prepare what they decode."""

    def __init__(self, loader: DataLoader, indices: Indices, epoch: int) -> None:
        super().__init__(loader, indices, epoch)
        N, S = len(indices), loader.transform.size
        on_cpu = loader.device == CPU
        self.images: Array | None = np.empty((N, 3, S, S), np.float32) if on_cpu else None
        # A GPU gets bytes and prepares them.
        self.buffer = None if on_cpu else BatchBuffer.pinned(N, S, device=loader.device)

    def decode(self, part: slice, stop: threading.Event) -> None:
        """Decode one part of the batch; return early once `stop` is set."""
        loader, indices, transform = self.loader, self.indices[part], self.loader.transform
        draws, S = self.draw(part), transform.size
        if self.buffer is not None:
            pixels: Pixels = self.buffer.pixels[part]
        else:
            pixels = np.empty((len(indices), S, S, 3), np.uint8)
        for row, index in enumerate(indices):
            if stop.is_set():
                return
            image = loader.dataset.load(int(index))
            pixels[row] = image.resized_crop(transform.box(image.size, draws[row]), S)
        if self.images is not None:
            prepare(pixels, transform.jitter(draws), out=self.images[part])

    def finish(self) -> Batch:
        """Return the batch, once all its parts are decoded."""
        if self.buffer is not None:
            return self.staged(self.buffer)
        assert self.images is not None
        return Batch(self.images, self.loader.dataset.targets[self.indices], self.indices)


class CropCopier(Decoder):
    """Copies crops out of a pack as they are: a GPU brings them to size as well.

    Attributes
    ----------
    buffer : CropBuffer
        Of `shape`, to be given before anything is copied.
    """

    buffer: CropBuffer

    def __init__(self, loader: DataLoader, indices: Indices, epoch: int) -> None:
        super().__init__(loader, indices, epoch)
        self.pictures = [loader.dataset.load(index) for index in indices.tolist()]
        S, draws = loader.transform.size, self.draw(slice(None))
        pairs = zip(self.pictures, draws, strict=True)
        self.boxes = [loader.transform.box(picture.size, drawn) for picture, drawn in pairs]
        self.windows = np.array(
            [
                window(box, picture.size, (S, S))
                for picture, box in zip(self.pictures, self.boxes, strict=True)
            ]
        )
        left, top, right, bottom = self.windows.T
        self._sizes = 3 * (bottom - top) * (right - left)

    def fits(self) -> bool:
        """Return whether a GPU can do to these crops what is done here."""
        S = self.loader.transform.size
        return not any(is_reduced(box, (S, S)) for box in self.boxes)

    def shape(self) -> tuple[int, int, int, int]:
        """Return the shape of the buffer that is wanted."""
        N, S = len(self.indices), self.loader.transform.size
        taps = max(max_taps(box, (S, S)) for box in self.boxes)
        return N, S, taps, int(self._sizes.sum())

    def decode(self, part: slice, stop: threading.Event) -> None:
        """Copy one part of the crops, and say how they are filtered."""
        buffer, (_, S, taps, _) = self.buffer, self.buffer.shape
        left, top, right, bottom = self.windows[part].T
        buffer.starts[part] = (np.cumsum(self._sizes) - self._sizes)[part]
        buffer.shapes[part] = np.stack([bottom - top, right - left], axis=1)
        boxes = np.array(self.boxes[part])
        extents = np.array([picture.size for picture in self.pictures[part]])
        buffer.across[part], buffer.down[part] = filter_tables(
            boxes, self.windows[part], extents, (S, S), taps
        )
        starts = buffer.starts[part].tolist()
        windows = self.windows[part].tolist()
        for start, (l, t, r, b), picture in zip(starts, windows, self.pictures[part], strict=True):
            if stop.is_set():
                return
            there = buffer.pixels[start : start + 3 * (b - t) * (r - l)]
            there.reshape(b - t, r - l, 3)[...] = picture.pixels()[t:b, l:r]

    def finish(self) -> Batch:
        """Return the batch, once all its parts are copied."""
        return self.staged(self.buffer)


def decoder_for(loader: DataLoader, indices: Indices, epoch: int) -> Decoder:
    """Return what makes a batch: for a GPU the crops of a pack, where it can take them."""
    if loader.device != CPU and loader.dataset.in_memory and takes_buffers(loader.device):
        copier = CropCopier(loader, indices, epoch)
        if copier.fits():
            copier.buffer = CropBuffer.pinned(*copier.shape(), device=loader.device)
            return copier
    return ImageDecoder(loader, indices, epoch)
