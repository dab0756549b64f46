"""Batches of images, made by worker threads: for a GPU ahead of the step that needs them.

A batch depends on seed, epoch and index alone: it is the same for any number of workers, and an
epoch can be resumed at any batch.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from numbers import Integral

import numpy as np

from minialex.arrays import CPU, Array, Device
from minialex.autograd.conversion import flag
from minialex.cpu.threads import chunks, cores
from minialex.data.batch import Batch
from minialex.data.datasets import Dataset, Indices
from minialex.data.decoders import Decoder, decoder_for
from minialex.data.seeded import ORDER, permutation
from minialex.data.transforms import Transform
from minialex.wording import counted

PREFETCH_BATCHES = 2
"""Batches decoded beyond the one in use, where the step leaves the CPU free.

A step on the CPU takes all cores. What is decoded beside it takes no less time than in between, and
each of NumPy's calls waits for the interpreter besides: a step of AlexNet with photographs takes a
quarter longer with it, one of its small variant with 32 images of 32 x 32 a tenth."""


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
        thread does. Batches are the same for any number. On the CPU a batch is loaded when it is
        asked for, on a GPU two batches ahead.
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
        decoders = (decoder_for(self, indices, epoch) for indices in batches)
        if not self.workers:
            return _sequential(decoders)
        return prefetched(decoders, self.workers, 0 if self.device == CPU else PREFETCH_BATCHES)


def _sequential(decoders: Iterable[Decoder]) -> Generator[Batch, None, None]:
    never = threading.Event()
    for decoder in decoders:
        decoder.decode(slice(None), never)
        yield decoder.finish()


def prefetched(
    decoders: Iterable[Decoder], workers: int, ahead: int
) -> Generator[Batch, None, None]:
    """Yield the batches that are made in so many threads, so many batches ahead."""
    stop = threading.Event()
    pool = ThreadPoolExecutor(workers, "minialex-decode")
    pending: deque[tuple[Decoder, list[Future[None]]]] = deque()
    try:
        for decoder in decoders:
            # `using` and `emulated` are context variables: each task gets its own copy of them
            parts = [
                pool.submit(copy_context().run, decoder.decode, part, stop)
                for part in chunks(len(decoder.indices), workers)
            ]
            pending.append((decoder, parts))
            if len(pending) > ahead:
                yield _finish(*pending.popleft())
        while pending:
            yield _finish(*pending.popleft())
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _finish(decoder: Decoder, parts: list[Future[None]]) -> Batch:
    # in order, so that the first unreadable image of the batch is the one that is named
    for part in parts:
        part.result()
    return decoder.finish()
