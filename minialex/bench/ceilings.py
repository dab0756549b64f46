"""What the machine can do: the rate of a large matrix product, and of a large copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minialex.arrays import CPU, Device, on_device
from minialex.bench.clock import Clock
from minialex.cpu import threads

# far beyond any cache
CPU_MATRIX_SIDE, GPU_MATRIX_SIDE = 2048, 8192
CPU_COPY_BYTES, GPU_COPY_BYTES = 256 << 20, 1 << 30
ITERATIONS = 5


def gemm(device: Device, clock: Clock) -> float:
    """Return the operations per second of a large float32 matrix product: the best of some."""
    side = CPU_MATRIX_SIDE if device == CPU else GPU_MATRIX_SIDE
    rng = np.random.default_rng(6)
    with on_device(device) as xp:
        a, b = (xp.asarray(rng.standard_normal((side, side), np.float32)) for _ in range(2))
        out = xp.empty_like(a)
        return float(2 * side**3 / _fastest(clock, lambda: xp.matmul(a, b, out=out)))


def copy(device: Device, clock: Clock) -> float:
    """Return the bytes per second, read and written, of a large copy: the best of some."""
    size = CPU_COPY_BYTES if device == CPU else GPU_COPY_BYTES
    with on_device(device) as xp:
        a, out = xp.ones(size // 4, np.float32), xp.empty(size // 4, np.float32)
        chunks = threads.chunks(a.size, threads.cores() if device == CPU else 1)

        def run() -> Any:
            return threads.run(lambda chunk: xp.copyto(out[chunk], a[chunk]), chunks)

        return float(2 * a.nbytes / _fastest(clock, run))


def _fastest(clock: Clock, run: Callable[[], Any]) -> float:
    run()
    return min(clock.time_call(run) for _ in range(ITERATIONS))
