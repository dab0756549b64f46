"""What several test files here share."""

from __future__ import annotations

from pathlib import Path

import pytest

from minialex import cuda
from minialex.cuda import nvrtc
from minialex.study.kernel_uses import default_kernels

KERNELS = Path(__file__).parent / "kernels"
MISSING = nvrtc.why_missing()
compiles = pytest.mark.skipif(bool(MISSING), reason=MISSING)
"""Marks tests that need NVRTC."""


def kernel(file: str, name: str, **options: object) -> cuda.Kernel:
    """Return a kernel of this folder's own files."""
    return cuda.kernel(KERNELS / file, name, **options)  # type: ignore[arg-type]


def line_of(file: str, marker: str) -> int:
    """Return the number of the one line of a kernel file that ends in `marker`."""
    lines = (KERNELS / file).read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(marker)]
    return found


def assert_compiles(file: str, architecture: str) -> None:
    """Compile every instantiation; kernels that run by default keep everything in registers."""
    found = nvrtc.usage(file, architecture)
    assert [u.kernel for u in found] == nvrtc.instances(file)
    assert all(0 < u.registers <= 255 for u in found)
    spilling = {u.kernel.partition("<")[0] for u in found if u.spill_stores + u.spill_loads}
    assert {(file, name) for name in spilling}.isdisjoint(default_kernels()), found
