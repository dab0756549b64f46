"""What a block of threads may use on each GPU architecture that kernels are compiled for.

Source: CUDA Programming Guide, "Compute Capabilities", the tables of technical specifications.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
STATIC_SHARED = 48 * KIB
"""Bytes of shared memory that a block may declare; more must be dynamic, and be asked for."""


@dataclass(frozen=True)
class Architecture:
    """The limits of one architecture.

    Attributes
    ----------
    name : str
        As NVRTC's ``--gpu-architecture`` takes it: ``"sm_90"``.
    shared_per_block : int
        Bytes of shared memory that a block may have, static and dynamic together.
    threads_per_block, registers_per_thread, registers_per_block : int
        The same on all of them so far. Registers have 32 bits.
    """

    name: str
    shared_per_block: int
    threads_per_block: int = 1024
    registers_per_thread: int = 255
    registers_per_block: int = 64 * KIB


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("sm_70", 96 * KIB),
        Architecture("sm_75", 64 * KIB),
        Architecture("sm_80", 163 * KIB),
        Architecture("sm_86", 99 * KIB),
        Architecture("sm_89", 99 * KIB),
        Architecture("sm_90", 227 * KIB),
        Architecture("sm_90a", 227 * KIB),
        Architecture("sm_100", 227 * KIB),
        Architecture("sm_120", 99 * KIB),
    )
}
"""By name, the oldest first."""
