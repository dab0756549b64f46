"""Batches of images, decoded ahead of the training step by threads.

A batch depends on seed, epoch and index alone: it is the same whatever the number of threads,
and an epoch can be taken up at any batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minialex.arrays import CPU, Array, Device, on_device, to_device
from minialex.cpu.threads import chunks
from minialex.data.colour import Jitter
from minialex.data.datasets import Dataset, Indices
from minialex.data.decode import Pixels
from minialex.data.packed import Packed
from minialex.data.prepare import instructions, prepare
from minialex.data.seeded import ORDER, permutation, uniforms
from minialex.data.transforms import DRAWS, Transform, Uniforms

# Batches decoded beyond the one that is being used.
PREFETCH = 2


@dataclass(frozen=True)
class Batch:
    """What the network is shown at once.

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


class PackedBatch(Batch):
    """A batch that is on its way to a GPU: images and targets get there when they are asked for.

    Attributes
    ----------
    packed : Packed
        On the host, with all that a GPU needs to make the images itself.
    """

    def __init__(
        self, packed: Packed, jitter: Jitter | None, indices: Indices, device: Device
    ) -> None:
        # the other attributes of a Batch, which does not change, are made below
        self.__dict__.update(packed=packed, jitter=jitter, indices=indices, device=device)

    packed: Packed
    jitter: Jitter | None
    device: Device

    @cached_property
    def images(self) -> Array:
        """(N, 3, S, S) float32, on the device."""
        with on_device(self.device):
            return prepare(to_device(self.packed.pixels, self.device), self.jitter)

    @cached_property
    def targets(self) -> Array:
        """(N,) int64, on the device."""
        return to_device(self.packed.targets, self.device)


class Loader:
    """Gives the batches of any epoch, from any batch on.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        Images a batch; the last batch may be smaller.
    transform : Transform
    shuffle : bool
        Take the images of each epoch in an order of its own.
    seed : int
        Decides order and augmentation, from 0 to 2**64 - 1.
    workers : int
        Threads that decode; with 0 the caller does it. Never changes a batch.
    drop_last : bool
        Leave out a last batch that is not full.
    device : Device
        Where batches are wanted.

    Raises
    ------
    ValueError
        If `batch_size` is below 1 or `workers` below 0.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        transform: Transform,
        *,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 2,
        drop_last: bool = False,
        device: Device = CPU,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"Loader: batch_size must be at least 1, got {batch_size}")
        if workers < 0:
            raise ValueError(f"Loader: workers must not be negative, got {workers}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.transform = transform
        self.shuffle = shuffle
        self.seed = seed
        self.workers = workers
        self.drop_last = drop_last
        self.device = device

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def order(self, epoch: int) -> Indices:
        """Return the indices of the data set in the order of `epoch`."""
        N = len(self.dataset)
        return permutation(self.seed, ORDER, epoch, N) if self.shuffle else np.arange(N)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """Return the batches of `epoch` from batch `start` on; earlier ones are not decoded.

        Threads live as long as the iterator. Leaving a ``for`` loop ends them; where an
        exception may keep the iterator alive, hold it in ``contextlib.closing``.

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
        BadImageError
            From the iterator, at the batch that holds an image that cannot be read.
        """
        if not 0 <= start <= len(self):
            raise ValueError(f"Loader.epoch: start must lie in 0..{len(self)}, got {start}")
        order = self.order(epoch)
        cuts = [
            order[at * self.batch_size : (at + 1) * self.batch_size]
            for at in range(start, len(self))
        ]
        jobs = (_Job(self, indices, epoch) for indices in cuts)
        return _ahead(jobs, self.workers) if self.workers else _in_turn(jobs)


class _Job:
    """One batch in the making: its parts may be decoded by different threads."""

    def __init__(self, loader: Loader, indices: Indices, epoch: int) -> None:
        self.loader = loader
        self.indices = indices
        self.epoch = epoch
        N, S = len(indices), loader.transform.size
        self.uniforms: Uniforms = np.zeros((N, DRAWS))
        # The CPU's cores prepare what they decode; a GPU gets bytes and prepares them itself.
        on_cpu = loader.device == CPU
        self.images: Array | None = np.empty((N, 3, S, S), np.float32) if on_cpu else None
        self.packed = None if on_cpu else Packed.pinned(N, S, loader.device)

    def decode(self, part: slice, stop: threading.Event) -> None:
        """Make one part of the batch; leave it unfinished once `stop` is set."""
        loader, indices, transform = self.loader, self.indices[part], self.loader.transform
        chance = self.uniforms[part]
        if transform.random:
            chance[:] = uniforms(loader.seed, self.epoch, indices, DRAWS)
        S = transform.size
        if self.packed is not None:
            pixels: Pixels = self.packed.pixels[part]
        else:
            pixels = np.empty((len(indices), S, S, 3), np.uint8)
        for row, index in enumerate(indices):
            if stop.is_set():
                return
            picture = loader.dataset.load(int(index))
            pixels[row] = picture.view(transform.box(picture.size, chance[row]), S)
        if self.images is not None:
            prepare(pixels, transform.jitter(chance), out=self.images[part])

    def finish(self) -> Batch:
        """Return the batch, all parts of which are decoded."""
        loader, targets = self.loader, self.loader.dataset.targets[self.indices]
        if self.images is not None:
            return Batch(self.images, targets, self.indices)
        packed, jitter = self.packed, loader.transform.jitter(self.uniforms)
        assert packed is not None
        packed.targets[:] = targets
        packed.moves[:], packed.factors[:] = instructions(len(targets), jitter)
        return PackedBatch(packed, jitter, self.indices, loader.device)


def _in_turn(jobs: Iterable[_Job]) -> Generator[Batch, None, None]:
    never = threading.Event()
    for job in jobs:
        job.decode(slice(None), never)
        yield job.finish()


def _ahead(jobs: Iterable[_Job], workers: int) -> Generator[Batch, None, None]:
    stop = threading.Event()
    pool = ThreadPoolExecutor(workers, "minialex-decode")
    waiting: deque[tuple[_Job, list[Future[None]]]] = deque()
    try:
        for job in jobs:
            # Threads know nothing of `using` and `emulated` unless they are told, each apart.
            begun = [
                pool.submit(copy_context().run, job.decode, part, stop)
                for part in chunks(len(job.indices), workers)
            ]
            waiting.append((job, begun))
            if len(waiting) > PREFETCH:
                yield _finish(*waiting.popleft())
        while waiting:
            yield _finish(*waiting.popleft())
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _finish(job: _Job, parts: list[Future[None]]) -> Batch:
    # In order, so that the first bad image of the batch is the one that is named.
    for part in parts:
        part.result()
    return job.finish()
