"""The updates as CUDA kernels: one launch over all parameters, ``kernels/arena.cuh``."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from minialex import cuda
from minialex.arrays import Array, address_of
from minialex.optim.update import ReplayInputs

MAX_ELEMENTS_PER_LAUNCH = 1 << 30
"""Kernels index with 32 bits."""

VECTOR_BYTES = 16
"""Each thread takes one 16-byte vector of each array."""

REPLAY_INPUTS = "rates", "failed"

_rmsprop = cuda.kernel("rmsprop.cu", "rmsprop", optional=("m", "b", "shadow", *REPLAY_INPUTS))
_sgd = cuda.kernel("sgd.cu", "sgd", optional=("b", "shadow", *REPLAY_INPUTS))
_adam = cuda.kernel("adam.cu", "adam", optional=("shadow", *REPLAY_INPUTS))


def rmsprop(
    p: Array, g: Array, v: Array, m: Array | None, b: Array | None, *,
    lr: float, alpha: float, eps: float, weight_decay: float, momentum: float,
    shadow: Array | None = None, replay_inputs: ReplayInputs | None = None,
) -> None:  # fmt: skip
    """Step as ``rmsprop.py`` says: without `m` not centered, without `b` without momentum."""
    numbers = lr, alpha, 1 - alpha, eps, weight_decay, momentum
    _launch(_rmsprop, [p, g, v, m, b, shadow], numbers, replay_inputs)


def sgd(
    p: Array, g: Array, b: Array | None, *,
    lr: float, weight_decay: float, momentum: float,
    shadow: Array | None = None, replay_inputs: ReplayInputs | None = None,
) -> None:  # fmt: skip
    """Step as ``sgd.py`` says: without `b` without momentum."""
    _launch(_sgd, [p, g, b, shadow], (lr, weight_decay, momentum), replay_inputs)


def adam(
    p: Array, g: Array, m: Array, v: Array, *,
    lr: float, b1: float, b2: float, eps: float, weight_decay: float, t: int,
    shadow: Array | None = None, replay_inputs: ReplayInputs | None = None,
) -> None:  # fmt: skip
    """Step as ``adam.py`` says; `t` is 1 at the first step."""
    numbers = *adam_rates(lr, b1, b2, t), b1, 1 - b1, b2, 1 - b2, eps, weight_decay
    _launch(_adam, [p, g, m, v, shadow], numbers, replay_inputs)


def adam_rates(lr: float, b1: float, b2: float, t: int) -> tuple[float, float]:
    """Return by what the kernel multiplies at step `t`, and by what it divides the root."""
    return lr / (1 - b1**t), sqrt(1 - b2**t)


def _launch(
    kernel: cuda.Kernel,
    arrays: Sequence[Array | None],
    numbers: Sequence[float],
    replay_inputs: ReplayInputs | None,
) -> None:
    """Run a kernel over flat arrays of one length, None where there is no such state."""
    read = (None, None) if replay_inputs is None else (replay_inputs.rates, replay_inputs.failed)
    given = [a for a in arrays if a is not None]
    size, itemsize = given[0].size, given[0].itemsize
    vectors = all(address_of(a) % VECTOR_BYTES == 0 for a in given)
    for lo in range(0, size, MAX_ELEMENTS_PER_LAUNCH):
        n = min(MAX_ELEMENTS_PER_LAUNCH, size - lo)
        grid = cuda.blocks(n, cuda.BLOCK_SIZE * VECTOR_BYTES // itemsize)
        cut = (None if a is None else a[lo : lo + n] for a in arrays)
        kernel(grid, cuda.BLOCK_SIZE, *cut, *read, *numbers, n, vectors)
