"""Batches that do not fit into memory: refused before they start, where that can be known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from minialex.arrays import CPU, Device
from minialex.errors import MinialexError
from minialex.wording import counted

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
BATCHES_IN_MEMORY = 2
"""One in use, and on a CPU the next while it is made."""


@contextlib.contextmanager
def translate_memory_error(device: Device, batch_size: int, image_size: int) -> Iterator[None]:
    """Translate a MemoryError inside into a MinialexError that says what to lower.

    Raises
    ------
    MinialexError
        In place of any `MemoryError`, CuPy's included.
    """
    try:
        yield
    except MemoryError as error:
        raise _too_large(device, batch_size, image_size, "not enough memory") from error


def check_memory(output_bytes: int, device: Device, batch_size: int, image_size: int) -> None:
    """Refuse a batch larger than the available memory: the system would kill the process.

    Only images and the layers' outputs are counted, so a batch that passes may still be too large.
    Nothing is refused where the system does not report its available memory, nor for a GPU, whose
    allocator raises by itself.

    Parameters
    ----------
    output_bytes : int
        Of all layers' outputs for one image.
    device : Device
    batch_size, image_size : int

    Raises
    ------
    MinialexError
        Saying what to lower.
    """
    available = available_memory()
    if device != CPU or available is None:
        return
    needed = batch_size * (output_bytes + BATCHES_IN_MEMORY * 12 * image_size**2)
    if needed > available:
        why = (
            f"at least {needed / 1e9:.1f} GB of memory are needed and {available / 1e9:.1f} GB "
            "are available"
        )
        raise _too_large(device, batch_size, image_size, why)


def available_memory() -> int | None:
    """Return the bytes of memory that are available; None where the system does not report it."""
    limits = [n for n in (_available_on_machine(), _available_in_cgroup()) if n is not None]
    return min(limits, default=None)


def _available_on_machine() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return None


def _available_in_cgroup() -> int | None:
    """Return what the limit of a container leaves; None for the limit ``max``."""
    with contextlib.suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text())
        return limit - int((CGROUP / "memory.current").read_text())
    return None


def _too_large(device: Device, batch_size: int, image_size: int, why: str) -> MinialexError:
    images = counted(batch_size, "image")
    return MinialexError(
        f"{why} on {device} for batches of {images} of {image_size}x{image_size} pixels: "
        "lower the batch size, or the image size"
    )
