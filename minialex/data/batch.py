"""A batch of images, on the host or on its way to a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minialex.arrays import Array, Device, array_module, on_device, to_device
from minialex.data.batch_buffer import BatchBuffer, CropBuffer
from minialex.data.colour import Jitter
from minialex.data.datasets import Indices
from minialex.data.prepare import prepare, prepare_buffer, takes_buffers


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
