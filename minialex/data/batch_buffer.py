"""A batch for a GPU in one buffer: a single asynchronous copy uploads it ahead of its step."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import Array, Device, module_of

_FIELDS_PER_IMAGE = (("targets", np.int64, 1), ("moves", np.int32, 7), ("factors", np.float32, 4))
"""Beside the pixels: each image's class, and what the kernel ``prepare`` does to it."""


class BatchBuffer:
    """The pixels of N images of S x S, their targets and augmentation parameters, in one buffer.

    Parameters
    ----------
    memory : (at least `BatchBuffer.nbytes(N, S)`,) uint8
        On the host or on a device. The other attributes are views into it.
    N, S : int

    Attributes
    ----------
    targets : (N,) int64
        The classes.
    moves : (N, 7) int32
        Top and left of each image's window, whether it is mirrored, and which adjustments follow
        each other, -1 for none.
    factors : (N, 4) float32
        The adjustments' factors, in that order.
    pixels : (N, S, S, 3) uint8
    """

    targets: Array
    moves: Array
    factors: Array

    def __init__(self, memory: Array, N: int, S: int) -> None:
        self.shape = N, S
        self.memory = memory[: self.nbytes(N, S)]
        start = 0
        for name, dtype, count in _FIELDS_PER_IMAGE:
            stop = start + N * count * np.dtype(dtype).itemsize
            view = self.memory[start:stop].view(dtype)
            setattr(self, name, view if count == 1 else view.reshape(N, count))
            start = stop
        self.pixels: Array = self.memory[start:].reshape(N, S, S, 3)

    @staticmethod
    def nbytes(N: int, S: int) -> int:
        """Return the size of the buffer in bytes."""
        return N * (
            sum(np.dtype(d).itemsize * count for _, d, count in _FIELDS_PER_IMAGE) + 3 * S * S
        )

    @classmethod
    def pinned(cls, N: int, S: int, device: Device) -> BatchBuffer:
        """Return one in pinned (page-locked) host memory, which a GPU copies asynchronously."""
        cupy: Any = module_of(device)
        nbytes = cls.nbytes(N, S)
        return cls(np.frombuffer(cupy.cuda.alloc_pinned_memory(nbytes), np.uint8, nbytes), N, S)


class _DeviceBuffer:
    """One of the two buffers on the GPU, with the events that guard it."""

    def __init__(self, cupy: Any, nbytes: int) -> None:
        self.memory = cupy.empty(nbytes, np.uint8)
        self.copied, self.read = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        # keeps the host memory alive while it is copied
        self.source: BatchBuffer | None = None


class Uploader:
    """Copies batches to a GPU on its own stream, into two buffers (double buffering).

    So the copy of a batch overlaps with the computation on the one before.

    Parameters
    ----------
    device : Device
        A GPU.
    """

    def __init__(self, device: Device) -> None:
        self._cupy: Any = module_of(device)
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._buffers: list[_DeviceBuffer] = []
        self._current = 0

    def upload(self, batch: BatchBuffer) -> BatchBuffer:
        """Begin to copy a batch; the current stream waits for it.

        The buffer returned two calls ago is overwritten. Call `record_read` once all that reads
        this one has been launched.
        """
        if len(self._buffers) < 2 or self._buffers[0].memory.size < batch.memory.size:
            self._buffers = [_DeviceBuffer(self._cupy, batch.memory.size) for _ in range(2)]
        self._current ^= 1
        buffer = self._buffers[self._current]
        if buffer.source is not None:
            # the host's buffer of two batches ago may be filled again after this
            buffer.copied.synchronize()
        self._stream.wait_event(buffer.read)
        arrived = BatchBuffer(buffer.memory, *batch.shape)
        arrived.memory.set(  # type: ignore[attr-defined]
            batch.memory, stream=self._stream
        )
        buffer.copied.record(self._stream)
        buffer.source = batch
        self._cupy.cuda.get_current_stream().wait_event(buffer.copied)
        return arrived

    def record_read(self) -> None:
        """Record that everything that reads the last batch is on the current stream."""
        self._buffers[self._current].read.record(self._cupy.cuda.get_current_stream())
