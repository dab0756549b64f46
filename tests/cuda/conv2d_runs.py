"""Running one convolution on a rung, and comparing it with what is known to be right."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import pytest

from minialex import reference
from minialex.autograd import OPS
from minialex.ops._cuda import tiling
from minialex.ops.conv2d import cuda as conv2d_cuda

RUNGS = ("naive", "tiled", "im2col", "implicit_gemm", "tf32x3")
NAMES = ("y", "gx", "gw", "gb")


@dataclass(frozen=True)
class Conv:
    """A convolution's shapes and parameters."""

    x: tuple[int, ...]
    O: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = True

    @property
    def params(self):
        names = ("stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}

    def draw(self, dtype):
        """Return (x, w, b, gy), the same numbers in every type."""
        rng = np.random.default_rng(7)
        w = (self.O, self.x[1] // self.groups, *self.kernel)
        shapes = [self.x, w, (self.O,)]
        x, w, b = (rng.standard_normal(s).astype(np.float32).astype(dtype) for s in shapes)
        size = reference.conv2d(x[:1, :, :, :], w, None, **self.params).shape[2:]
        gy = rng.standard_normal((len(x), self.O, *size)).astype(np.float32).astype(dtype)
        return x, w, b if self.bias else None, gy


def results(case, rung, dtype, backward=None):
    """Return y, gx, gw and gb as `rung` has them, its backward replaced by that of another."""
    x, w, b, gy = case.draw(dtype)
    there = OPS["conv2d"].implementations
    y, saved = there[rung].forward(x, w, b, **case.params)
    return y, *there[backward or rung].backward(gy, saved, **case.params)


def expected(case):
    """Return y by the definition, and the gradients of the plain implementation, in float64."""
    x, w, b, gy = case.draw(np.float64)
    there = OPS["conv2d"].implementations["plain"]
    y = reference.conv2d(x, w, b, **case.params)
    return y, *there.backward(gy, (x, w), **case.params)


def assert_right(got, want, dtype):
    """Hold every number to a few hundred rounding errors of the largest one of its array."""
    for name, g, w in zip(NAMES, got, want, strict=True):
        assert g.shape == w.shape, name
        assert g.dtype == dtype, name
        bound = 200 * np.finfo(dtype).eps * np.abs(w).max(initial=0)
        np.testing.assert_allclose(g, w, rtol=0, atol=bound, err_msg=name)


def many_filters():
    """Have one block sum up the bias gradient of several images, for there are so many filters."""
    case = Conv((5, 1, 9, 9), 530, (1, 1))
    assert_right(results(case, "naive", np.float32), expected(case), np.float32)


def parts_of_the_last_block():
    """Have the last block of each tile add up its parts, in groups, float and double."""
    _in_parts(fix_up=True)


def parts_of_another_launch():
    """Have another launch add up the same parts."""
    _in_parts(fix_up=False)


def _in_parts(*, fix_up):
    case = Conv((3, 4, 9, 8), 6, (3, 3), (1, 2), (1, 2), groups=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv2d_cuda, "plan_tiles", forced(4, 3, fix_up))
        for dtype in (np.float32, np.float64):
            assert_right(results(case, "implicit_gemm", dtype), expected(case), dtype)


def forced(rows, parts, fix_up):
    """Return what stands in for `tiling.plan_tiles` and splits every sum so, as far as it can."""

    def plan_tiles(M, N, K, *, batch_count, itemsize, max_split_k=64, loop=tiling.DOUBLE_BUFFERED):
        steps = max(1, -(-K // loop.tile_k))
        split_k = min(parts, max_split_k, steps)
        fix_up_here = fix_up and split_k > 1
        return tiling.make_plan(M, N, steps, itemsize, rows, split_k, fix_up_here, loop)

    return plan_tiles


class Poisoned:
    """NumPy, but what is not written is NaN, and never right by chance; of bfloat16 too."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def empty(shape, dtype):
        return np.full(shape, 0x7FC0 if dtype == np.uint16 else np.nan, dtype)


@contextlib.contextmanager
def poisoned(*modules):
    """Have `modules` allocate results and scratch that are full of NaN."""
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, "array_module", lambda _: Poisoned())
        yield
