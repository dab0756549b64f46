"""What several test files here share."""

from __future__ import annotations

from pathlib import Path

from minialex import cuda

KERNELS = Path(__file__).parent / "kernels"


def kernel(file: str, name: str, **options: object) -> cuda.Kernel:
    """Return a kernel of this folder's own files."""
    return cuda.kernel(KERNELS / file, name, **options)  # type: ignore[arg-type]


def line_of(file: str, marker: str) -> int:
    """Return the number of the one line of a kernel file that ends in `marker`."""
    lines = (KERNELS / file).read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(marker)]
    return found
