"""A batch for a GPU in one buffer: a single asynchronous copy uploads it ahead of its step."""

from __future__ import annotations

import math
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np

from minialex.arrays import Array, Device, module_of

Field: TypeAlias = tuple[str, type[np.generic], tuple[int, ...]]
"""Name, type and shape of an array in a buffer."""


class _Buffer:
    """Arrays of a batch in one stretch of memory; attributes that are views into it.

    Attributes
    ----------
    shape : tuple of int
        What the sizes of all arrays follow from.
    memory : (nbytes,) uint8
    targets : (N,) int64
        The classes.
    moves : (N, 7) int32
        Top and left of each image's window, whether it is mirrored, and which adjustments follow
        each other, -1 for none.
    factors : (N, 4) float32
        The adjustments' factors, in that order.
    """

    shape: tuple[int, ...]
    targets: Array
    moves: Array
    factors: Array
    pixels: Array

    def __init__(self, memory: Array, *shape: int) -> None:
        self.shape = shape
        self.memory = memory[: self.nbytes(*shape)]
        start = 0
        for name, dtype, sizes in self.fields(*shape):
            stop = start + math.prod(sizes) * np.dtype(dtype).itemsize
            setattr(self, name, self.memory[start:stop].view(dtype).reshape(sizes))
            start = stop

    @staticmethod
    def fields(*shape: int) -> list[Field]:
        """Return the arrays in their order, those of large numbers first: each is aligned."""
        raise NotImplementedError

    @classmethod
    def nbytes(cls, *shape: int) -> int:
        """Return the size of the buffer in bytes."""
        return sum(math.prod(s) * np.dtype(d).itemsize for _, d, s in cls.fields(*shape))

    @classmethod
    def capacity(cls, nbytes: int) -> int:
        """Return how much memory to have for a buffer, so that it does for the batches to come."""
        return nbytes

    @classmethod
    def pinned(cls, *shape: int, device: Device) -> Self:
        """Return one in pinned (page-locked) host memory, which a GPU copies asynchronously."""
        cupy: Any = module_of(device)
        size = cls.capacity(cls.nbytes(*shape))
        return cls(np.frombuffer(cupy.cuda.alloc_pinned_memory(size), np.uint8, size), *shape)


class BatchBuffer(_Buffer):
    """N images of S x S pixels: `pixels` is (N, S, S, 3) uint8. Its shape is N, S."""

    @staticmethod
    def fields(*shape: int) -> list[Field]:
        """Return the arrays."""
        N, S = shape
        return [
            ("targets", np.int64, (N,)),
            ("moves", np.int32, (N, 7)),
            ("factors", np.float32, (N, 4)),
            ("pixels", np.uint8, (N, S, S, 3)),
        ]


class CropBuffer(_Buffer):
    """N crops of any sizes, which the GPU brings to S x S pixels.

    Its shape is N, S, the taps of the filter, and how many bytes `pixels` has. The other
    attributes are those of `minialex.data.prepare.crops.Crops`.
    """

    starts: Array
    shapes: Array
    across: Array
    down: Array

    @staticmethod
    def fields(*shape: int) -> list[Field]:
        """Return the arrays."""
        N, S, taps, pixel_bytes = shape
        return [
            ("targets", np.int64, (N,)),
            ("starts", np.int64, (N,)),
            ("shapes", np.int32, (N, 2)),
            ("across", np.int32, (N, S, 1 + taps)),
            ("down", np.int32, (N, S, 1 + taps)),
            ("moves", np.int32, (N, 7)),
            ("factors", np.float32, (N, 4)),
            ("pixels", np.uint8, (pixel_bytes,)),
        ]

    @classmethod
    def capacity(cls, nbytes: int) -> int:
        """Return the next power of two: no two batches have crops of the same sizes."""
        return 1 << (nbytes - 1).bit_length()


Buffer = TypeVar("Buffer", bound=_Buffer)


class _DeviceBuffer:
    """One of the two buffers on the GPU, with the events that guard it."""

    def __init__(self, cupy: Any, nbytes: int) -> None:
        self.memory = cupy.empty(nbytes, np.uint8)
        self.copied, self.read = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        # keeps the host memory alive while it is copied
        self.source: _Buffer | None = None


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

    def upload(self, batch: Buffer) -> Buffer:
        """Begin to copy a batch; the current stream waits for it.

        The buffer returned two calls ago is overwritten. Call `record_read` once all that reads
        this one has been launched.
        """
        if len(self._buffers) < 2 or self._buffers[0].memory.size < batch.memory.size:
            size = batch.capacity(batch.memory.size)
            self._buffers = [_DeviceBuffer(self._cupy, size) for _ in range(2)]
        self._current ^= 1
        buffer = self._buffers[self._current]
        if buffer.source is not None:
            # the host's buffer of two batches ago may be filled again after this
            buffer.copied.synchronize()
        self._stream.wait_event(buffer.read)
        arrived = type(batch)(buffer.memory, *batch.shape)
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
