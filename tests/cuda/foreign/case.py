"""What a table of foreign kernels holds: how each is launched, what it computes, how it breaks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel, and what must be there afterwards.

    Parameters
    ----------
    grid, block : int or tuple of int
    args : tuple
        The kernel's arguments.
    outputs : dict of int to array
        What the arguments at these positions hold afterwards. Where an argument holds the bits of
        bfloat16 (uint16), numbers may be given.
    tolerance : float
        Both relative and absolute; 0 asks for equality.
    shared : int
        Bytes of dynamic shared memory.
    template : dict of str to Any
        Template arguments by name.
    variables : dict of str to array
        What ``__constant__`` and ``__device__`` variables are filled with before.
    left : dict of str to array
        What ``__device__`` variables hold afterwards.
    architecture : str
        What ``__CUDA_ARCH__`` says.
    """

    grid: int | tuple[int, ...]
    block: int | tuple[int, ...]
    args: tuple[Any, ...]
    outputs: Mapping[int, Any]
    tolerance: float = 1e-5
    shared: int = 0
    template: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    left: Mapping[str, Any] = field(default_factory=dict)
    architecture: str = "sm_90"


@dataclass(frozen=True)
class Fault:
    """A mistake: `old`, which stands in the file exactly once, becomes `new`.

    The checked mode answers with an `EmulationError` of kind `kind`.
    """

    old: str
    new: str
    kind: str


@dataclass(frozen=True)
class Case:
    """A kernel of the file ``foreign/<file>``: ``"name"`` or ``"space::name"``.

    `launch` makes a launch of random numbers, the same each time that it is given the same ones.
    """

    file: str
    kernel: str
    launch: Callable[[np.random.Generator], Launch]
    fault: Fault

    def __str__(self) -> str:
        return f"{self.file}: {self.kernel}"

    @property
    def path(self) -> Path:
        return FOLDER / self.file


def drawn(cases: list[Case], share: int, part: int = 0) -> list[Case]:
    """Return one in `share` of the cases, by their names; `part` draws others."""
    return [case for case in cases if zlib.crc32(f"{part} {case}".encode()) % share == 0]


def normal(rng: np.random.Generator, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def unset(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Return an array for results: what a kernel leaves as it was is no result."""
    floating = np.issubdtype(dtype, np.floating)
    return np.full(shape, np.nan if floating else np.iinfo(dtype).max, dtype)


def to_bfloat16(numbers: np.ndarray) -> np.ndarray:
    """Return the bits of the nearest bfloat16."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)
