"""Batches of images, prefetched by worker threads.

A batch depends on seed, epoch and index alone: it is the same for any number of workers, and an
epoch can be resumed at any batch.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import numpy as np

from minialex.arrays import CPU, Array, Device, array_module, on_device, to_device
from minialex.autograd.conversion import flag
from minialex.cpu.threads import chunks, cores
from minialex.data.batch_buffer import BatchBuffer, CropBuffer
from minialex.data.colour import Jitter
from minialex.data.datasets import Dataset, Indices
from minialex.data.prepare import instructions, prepare, prepare_buffer, takes_buffers
from minialex.data.resample import Pixels, filter_table, is_reduced, max_taps, window
from minialex.data.seeded import ORDER, permutation, uniforms
from minialex.data.transforms import DRAWS_PER_IMAGE, Transform, Uniforms
from minialex.wording import counted

PREFETCH_BATCHES = 2
"""Batches decoded beyond the one in use."""


@dataclass(frozen=True)
class Batch:
    """A batch of images with their classes.

    Attributes
    ----------
    images : (N, 3, S, S) float32
        From -1 to 1, on the loader's device.
    targets : (N,) int64
        The classes, on the loader's device.
    indices : (N,) int64
        Where the images stand in the data set, on the host.
    """

    images: Array
    targets: Array
    indices: Indices

    def __len__(self) -> int:
        return len(self.indices)


class StagedBatch(Batch):
    """A batch in a pinned staging buffer; images and targets are copied to the GPU on first access.

    Attributes
    ----------
    buffer : BatchBuffer or CropBuffer
        On the host: bytes and parameters from which the GPU itself prepares the images.
    """

    def __init__(
        self,
        buffer: BatchBuffer | CropBuffer,
        jitter: Jitter | None,
        indices: Indices,
        device: Device,
    ) -> None:
        # Batch is frozen; images and targets are the cached properties below
        self.__dict__.update(buffer=buffer, jitter=jitter, indices=indices, device=device)

    buffer: BatchBuffer | CropBuffer
    jitter: Jitter | None
    device: Device

    @cached_property
    def _arrived(self) -> BatchBuffer | CropBuffer:
        """The buffer on the device, by one copy."""
        memory = to_device(self.buffer.memory, self.device)
        return type(self.buffer)(memory, *self.buffer.shape)

    @cached_property
    def images(self) -> Array:
        """(N, 3, S, S) float32, on the device."""
        with on_device(self.device):
            if isinstance(self.buffer, BatchBuffer) and not takes_buffers(self.device):
                return prepare(self._arrived.pixels, self.jitter)
            N, S = self.buffer.shape[:2]
            out: Array = array_module(self._arrived.memory).empty((N, 3, S, S), np.float32)
            prepare_buffer(self._arrived, out)
            return out

    @cached_property
    def targets(self) -> Array:
        """(N,) int64, on the device."""
        return self._arrived.targets


class DataLoader:
    """Yields the batches of any epoch, from any batch on.

    ``for images, targets in loader`` is the next epoch each time it is used, from epoch 0 on;
    `epoch` is one by its number.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        Images per batch; the last batch may be smaller.
    transform : Transform
    shuffle : bool
        Draw a new order in each epoch.
    seed : int
        Of order and augmentation, from 0 to 2**64 - 1.
    workers : int, optional
        Threads that load images, as many as there are cores unless given; with 0 the calling
        thread does. Batches are the same for any number.
    drop_last : bool
        Drop the last batch if it is incomplete.
    device : Device
        Where the batches are needed.

    Raises
    ------
    ValueError
        If `batch_size` is below 1 or `workers` below 0.
    TypeError
        If one of them is no whole number, a flag neither True nor False, or `transform` no
        Transform.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        transform: Transform,
        *,
        shuffle: bool = False,
        seed: int = 0,
        workers: int | None = None,
        drop_last: bool = False,
        device: Device = CPU,
    ) -> None:
        workers = cores() if workers is None else workers
        for name, value in (("batch_size", batch_size), ("workers", workers)):
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise TypeError(f"DataLoader: {name} is {value!r}: give a whole number")
        if not isinstance(transform, Transform):
            raise TypeError(
                f"DataLoader: transform is {transform!r}: give a Transform, such as "
                "eval_transform(64)"
            )
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        if workers < 0:
            raise ValueError(f"DataLoader: workers must not be negative, got {workers}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.transform = transform
        self.shuffle = flag("DataLoader", "shuffle", shuffle)
        self.seed = seed
        self.workers = workers
        self.drop_last = flag("DataLoader", "drop_last", drop_last)
        self.device = device
        self._next_epoch = 0

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        epoch = self._next_epoch
        self._next_epoch += 1
        with contextlib.closing(self.epoch(epoch)) as batches:
            for batch in batches:
                yield batch.images, batch.targets

    def __repr__(self) -> str:
        order = f"shuffled with seed {self.seed}" if self.shuffle else "in order"
        S = self.transform.size
        return (
            f"DataLoader({counted(len(self), 'batch')} of {self.batch_size}, {order}, "
            f"{S}x{S} pixels on {self.device}, {self.dataset!r})"
        )

    def order(self, epoch: int) -> Indices:
        """Return the indices of the data set in the order of `epoch`."""
        N = len(self.dataset)
        return permutation(self.seed, ORDER, epoch, N) if self.shuffle else np.arange(N)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """Return the batches of `epoch` from batch `start` on; earlier ones are not decoded.

        Workers live as long as the iterator. Leaving a ``for`` loop ends them; where an exception
        may keep the iterator alive, hold it in ``contextlib.closing``.

        Parameters
        ----------
        epoch : int
            At least 0.
        start : int
            From 0 to ``len(loader)``.

        Raises
        ------
        ValueError
            If `start` is out of range.
        UnreadableImageError
            From the iterator, at the batch that holds an image that cannot be read.
        """
        if not 0 <= start <= len(self):
            raise ValueError(f"DataLoader.epoch: start must lie in 0..{len(self)}, got {start}")
        order = self.order(epoch)
        batches = [
            order[at * self.batch_size : (at + 1) * self.batch_size]
            for at in range(start, len(self))
        ]
        decoders = (_decoder(self, indices, epoch) for indices in batches)
        return _prefetched(decoders, self.workers) if self.workers else _sequential(decoders)


class _Decoder(ABC):
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


class _ImageDecoder(_Decoder):
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


class _CropCopier(_Decoder):
    """Copies crops out of a pack as they are: a GPU brings them to size as well."""

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

    def fits(self) -> bool:
        """Return whether a GPU can do to these crops what is done here."""
        S = self.loader.transform.size
        return not any(is_reduced(box, (S, S)) for box in self.boxes)

    def make_buffer(self) -> None:
        """Make room for the crops."""
        N, S, device = len(self.indices), self.loader.transform.size, self.loader.device
        left, top, right, bottom = self.windows.T
        sizes = 3 * (bottom - top) * (right - left)
        taps = max(max_taps(box, (S, S)) for box in self.boxes)
        self.buffer = CropBuffer.pinned(N, S, taps, int(sizes.sum()), device=device)
        self.buffer.starts[:] = np.cumsum(sizes) - sizes
        self.buffer.shapes[:] = np.stack([bottom - top, right - left], axis=1)

    def decode(self, part: slice, stop: threading.Event) -> None:
        """Copy one part of the crops, and say how they are filtered."""
        buffer, (_, S, taps, _) = self.buffer, self.buffer.shape
        left, top = self.windows[part, :2].T
        boxes = np.array(self.boxes[part])
        extents = np.array([picture.size for picture in self.pictures[part]])
        buffer.across[part] = filter_table(boxes[:, 0], boxes[:, 2], extents[:, 0], S, taps)
        buffer.down[part] = filter_table(boxes[:, 1], boxes[:, 3], extents[:, 1], S, taps)
        buffer.across[part, :, 0] -= left[:, None]
        buffer.down[part, :, 0] -= top[:, None]
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


def _decoder(loader: DataLoader, indices: Indices, epoch: int) -> _Decoder:
    """Return what makes a batch: for a GPU crops as they lie in a pack, where it can take them."""
    if loader.device != CPU and loader.dataset.in_memory and takes_buffers(loader.device):
        copier = _CropCopier(loader, indices, epoch)
        if copier.fits():
            copier.make_buffer()
            return copier
    return _ImageDecoder(loader, indices, epoch)


def _sequential(decoders: Iterable[_Decoder]) -> Generator[Batch, None, None]:
    never = threading.Event()
    for decoder in decoders:
        decoder.decode(slice(None), never)
        yield decoder.finish()


def _prefetched(decoders: Iterable[_Decoder], workers: int) -> Generator[Batch, None, None]:
    stop = threading.Event()
    pool = ThreadPoolExecutor(workers, "minialex-decode")
    pending: deque[tuple[_Decoder, list[Future[None]]]] = deque()
    try:
        for decoder in decoders:
            # `using` and `emulated` are context variables: each task gets its own copy of them
            parts = [
                pool.submit(copy_context().run, decoder.decode, part, stop)
                for part in chunks(len(decoder.indices), workers)
            ]
            pending.append((decoder, parts))
            if len(pending) > PREFETCH_BATCHES:
                yield _finish(*pending.popleft())
        while pending:
            yield _finish(*pending.popleft())
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _finish(decoder: _Decoder, parts: list[Future[None]]) -> Batch:
    # in order, so that the first unreadable image of the batch is the one that is named
    for part in parts:
        part.result()
    return decoder.finish()
