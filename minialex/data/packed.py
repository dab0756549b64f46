"""A batch for a GPU: one stretch of memory, so that one copy brings it there ahead of its time."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import Array, Device, module_of

_PER_IMAGE = (("targets", np.int64, 1), ("moves", np.int32, 7), ("factors", np.float32, 4))
"""What goes along with each image: its class, and what the kernel ``prepare`` is to do to it."""


class Packed:
    """The bytes of N images of S x S pixels, with what is to be done to them.

    Parameters
    ----------
    memory : (at least `Packed.nbytes(N, S)`,) uint8
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
        for name, dtype, count in _PER_IMAGE:
            stop = start + N * count * np.dtype(dtype).itemsize
            view = self.memory[start:stop].view(dtype)
            setattr(self, name, view if count == 1 else view.reshape(N, count))
            start = stop
        self.pixels: Array = self.memory[start:].reshape(N, S, S, 3)

    @staticmethod
    def nbytes(N: int, S: int) -> int:
        """Return how many bytes it takes."""
        return N * (sum(np.dtype(d).itemsize * count for _, d, count in _PER_IMAGE) + 3 * S * S)

    @classmethod
    def pinned(cls, N: int, S: int, device: Device) -> Packed:
        """Return one on the host, in memory that a GPU copies from while the host goes on."""
        cupy: Any = module_of(device)
        nbytes = cls.nbytes(N, S)
        return cls(np.frombuffer(cupy.cuda.alloc_pinned_memory(nbytes), np.uint8, nbytes), N, S)


class _Buffer:
    """Room for a packed batch on a GPU."""

    def __init__(self, cupy: Any, nbytes: int) -> None:
        self.memory = cupy.empty(nbytes, np.uint8)
        self.copied, self.read = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        self.source: Packed | None = None


class Uploader:
    """Brings packed batches to a GPU on a stream of its own, into two buffers in turn.

    So one batch is on its way while the GPU works on the one before.

    Parameters
    ----------
    device : Device
        A GPU.
    """

    def __init__(self, device: Device) -> None:
        self._cupy: Any = module_of(device)
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._buffers: list[_Buffer] = []
        self._turn = 0

    def bring(self, packed: Packed) -> Packed:
        """Begin to copy a batch; the current stream waits for it.

        What was returned two calls ago is overwritten. Call `read` when what reads this one is
        launched.
        """
        if len(self._buffers) < 2 or self._buffers[0].memory.size < packed.memory.size:
            self._buffers = [_Buffer(self._cupy, packed.memory.size) for _ in range(2)]
        self._turn ^= 1
        buffer = self._buffers[self._turn]
        if buffer.source is not None:
            # the host's memory of two batches ago goes back to those who fill it
            buffer.copied.synchronize()
        self._stream.wait_event(buffer.read)
        arrived = Packed(buffer.memory, *packed.shape)
        arrived.memory.set(  # type: ignore[attr-defined]
            packed.memory, stream=self._stream
        )
        buffer.copied.record(self._stream)
        buffer.source = packed
        self._cupy.cuda.get_current_stream().wait_event(buffer.copied)
        return arrived

    def read(self) -> None:
        """Say that what reads the last batch is on the current stream."""
        self._buffers[self._turn].read.record(self._cupy.cuda.get_current_stream())
