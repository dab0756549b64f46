"""Batches that do not fit into memory: found before they start, where that can be known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from minialex.arrays import CPU, Device
from minialex.errors import MinialexError

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
# a batch is being used while two more wait and one is being made
BATCHES_AHEAD = 4


@contextlib.contextmanager
def translate_memory_error(device: Device, batch_size: int, image_size: int) -> Iterator[None]:
    """Say what to lower if memory gives out inside.

    Raises
    ------
    MinialexError
        In place of any `MemoryError`, of which CuPy's is a kind.
    """
    try:
        yield
    except MemoryError as error:
        raise _too_large(device, batch_size, image_size, "not enough memory") from error


def check_memory(outputs: int, device: Device, batch_size: int, image_size: int) -> None:
    """Refuse a batch that is larger than all memory that is left, which would end the process.

    Only images and the layers' outputs are counted, so what passes may still be too much. Nothing
    is refused where the system does not tell how much is left, nor for a GPU, which does it itself.

    Parameters
    ----------
    outputs : int
        The bytes of all layers' outputs for one image.
    device : Device
    batch_size, image_size : int

    Raises
    ------
    MinialexError
        Saying what to lower.
    """
    left = memory_left()
    if device != CPU or left is None:
        return
    need = batch_size * (outputs + BATCHES_AHEAD * 12 * image_size**2)
    if need > left:
        why = f"at least {need / 1e9:.1f} GB of memory are needed and {left / 1e9:.1f} GB are left"
        raise _too_large(device, batch_size, image_size, why)


def memory_left() -> int | None:
    """Return the bytes of memory that this process may still take; None where nobody tells."""
    limits = [left for left in (_left_on_machine(), _left_in_group()) if left is not None]
    return min(limits, default=None)


def _left_on_machine() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return None


def _left_in_group() -> int | None:
    """Return what a container's limit leaves; a limit of ``max`` is none."""
    with contextlib.suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text())
        return limit - int((CGROUP / "memory.current").read_text())
    return None


def _too_large(device: Device, batch_size: int, image_size: int, why: str) -> MinialexError:
    return MinialexError(
        f"{why} on {device} for batches of {batch_size} images of {image_size}x{image_size} "
        "pixels: lower the batch size, or the image size"
    )
