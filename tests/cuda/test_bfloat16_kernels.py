"""Kernels on arrays of bfloat16: what they compute of the same numbers as floats, rounded once."""

import ml_dtypes
import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import nvrtc
from minialex.ops._cuda import tiling
from minialex.ops.adaptive_avg_pool2d import cuda as adaptive_avg_pool2d
from minialex.ops.avg_pool2d import cuda as avg_pool2d
from minialex.ops.dropout import cuda as dropout
from minialex.ops.local_response_norm import cuda as local_response_norm
from minialex.ops.max_pool2d import cuda as max_pool2d
from minialex.ops.relu import cuda as relu
from tests.cuda.bfloat16_runs import types_converted
from tests.cuda.tools import compiles

BF16, F32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)
SIZES = [0, 1, 7, 8, 9, 31, 1000, 2049]
SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-40, -1e-40, 3.3e38]
WINDOWS = [
    {"kernel_size": (3, 3), "stride": (2, 2), "padding": (0, 0), "ceil_mode": False},
    {"kernel_size": (3, 2), "stride": (1, 1), "padding": (1, 1), "ceil_mode": False},
    {"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 0), "ceil_mode": True},
]
each_mode = pytest.mark.parametrize("mode", ["fast", "checked"])
each_start = pytest.mark.parametrize("start", [0, 1, 3])


def numbers(shape, seed=0, start=0):
    """Return numbers of bfloat16, each of a few kinds; in memory from the element `start` on."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    drawn = rng.standard_normal(start + size).astype(F32)
    at = rng.random(start + size) < 0.2
    drawn[at] = rng.choice(np.array(SPECIAL, F32), at.sum())
    return drawn.astype(BF16)[start:].reshape(shape)


def assert_rounded(found, want):
    """Hold bfloat16 numbers to floats that are rounded once: the same bits, and NaN for NaN."""
    assert (found.dtype, found.shape, want.dtype) == (BF16, want.shape, F32)
    with np.errstate(over="ignore"):
        rounded = want.astype(BF16)
    nan = np.isnan(want)
    np.testing.assert_array_equal(np.isnan(found.astype(F32)), nan)
    np.testing.assert_array_equal(found.view(np.uint16)[~nan], rounded.view(np.uint16)[~nan])


def assert_both_rounded(op, shape, start, mode, **params):
    """Hold what an op makes of images of bfloat16 to that of floats; return what either saved."""
    x = numbers(shape, 4, start)
    with cuda.emulated(mode):
        y, saved = op.forward(x, **params)
        want, saved_wide = op.forward(x.astype(F32), **params)
        gy = numbers(y.shape, 5, start)
        (gx,) = op.backward(gy, saved, **params)
        (gx_wide,) = op.backward(gy.astype(F32), saved_wide, **params)
    assert_rounded(y, want)
    assert_rounded(gx, gx_wide)
    return saved, saved_wide


@each_mode
@each_start
@pytest.mark.parametrize("n", SIZES)
def test_relu(n, start, mode):
    x, gy = numbers(n, 1, start), numbers(n, 2, start)
    with cuda.emulated(mode):
        y, saved = relu.forward(x)
        want, saved_wide = relu.forward(x.astype(F32))
        (gx,) = relu.backward(gy, saved)
        (gx_wide,) = relu.backward(gy.astype(F32), saved_wide)
    assert_rounded(y, want)
    assert_rounded(gx, gx_wide)


@each_mode
@each_start
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("p", [0.3, 1.0])
def test_dropout(n, p, start, mode):
    x, params = numbers(n, 3, start), {"p": p, "seed": 2**40 + 3, "offset": 2**33 + 9}
    with cuda.emulated(mode), np.errstate(over="ignore"):
        y, _ = dropout.forward(x, **params)
        want, _ = dropout.forward(x.astype(F32), **params)
        (gx,) = dropout.backward(x, (), **params)
    assert_rounded(y, want)
    assert_rounded(gx, want)


@each_mode
@each_start
@pytest.mark.parametrize("params", WINDOWS, ids=lambda p: f"{p['kernel_size']}")
@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (2, 3, 9, 10)])
def test_max_pool2d(shape, params, start, mode):
    saved, saved_wide = assert_both_rounded(max_pool2d, shape, start, mode, **params)
    np.testing.assert_array_equal(saved[0], saved_wide[0])


@each_mode
@each_start
@pytest.mark.parametrize("include_pad", [False, True])
@pytest.mark.parametrize("params", WINDOWS, ids=lambda p: f"{p['kernel_size']}")
@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (2, 3, 9, 10)])
def test_avg_pool2d(shape, params, include_pad, start, mode):
    params = {**params, "count_include_pad": include_pad}
    assert_both_rounded(avg_pool2d, shape, start, mode, **params)


@each_mode
@each_start
@pytest.mark.parametrize("cells", [(1, 1), (3, 4), (5, 5)])
@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (2, 3, 9, 10)])
def test_adaptive_avg_pool2d(shape, cells, start, mode):
    assert_both_rounded(adaptive_avg_pool2d, shape, start, mode, output_size=cells)


@each_mode
@each_start
@pytest.mark.parametrize("beta", [0.75, 0.6])
@pytest.mark.parametrize("size", [1, 5, 51])
@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (2, 40, 3, 5)])
def test_local_response_norm(shape, size, beta, start, mode):
    # neither alpha nor k is a number of bfloat16
    params = {"size": size, "alpha": 0.3, "beta": beta, "k": 1.7}
    (x, s), (x_wide, s_wide) = assert_both_rounded(
        local_response_norm, shape, start, mode, **params
    )
    assert (x.dtype, x_wide.dtype, s.dtype) == (BF16, F32, F32)
    np.testing.assert_array_equal(s, s_wide)


def test_a_mean_is_rounded_once():
    # in bfloat16 256 + 1 is 256, however often it is added: the mean would be 32.25
    x = np.array([256, 1, 1, 1, 1, 1, 1, 2], BF16).reshape(1, 1, 1, 8)
    windows = {"kernel_size": (1, 8), "stride": (1, 1), "padding": (0, 0), "ceil_mode": False}
    with cuda.emulated("checked"):
        y, _ = avg_pool2d.forward(x, **windows, count_include_pad=True)
        same, _ = adaptive_avg_pool2d.forward(x, output_size=(1, 1))
    assert y.ravel().tolist() == same.ravel().tolist() == [33]


def test_a_gradient_of_many_windows_is_rounded_once():
    # in bfloat16 256 + 1 is 256, however often it is added
    params = {"kernel_size": (1, 3), "stride": (1, 1), "padding": (0, 0), "ceil_mode": False}
    x, gy = np.array([0, 0, 9, 0, 0], BF16), np.array([256, 1, 1], BF16)
    with cuda.emulated("checked"):
        _, saved = max_pool2d.forward(x.reshape(1, 1, 1, 5), **params)
        (gx,) = max_pool2d.backward(gy.reshape(1, 1, 1, 3), saved, **params)
    assert gx.ravel().tolist() == [0, 0, 258, 0, 0]


@each_mode
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("parts", [1, 3, 8])
def test_sum_partials(parts, bias, add, mode):
    rng = np.random.default_rng(6)
    partials = rng.standard_normal((parts, 5, 7)).astype(F32)
    b = rng.standard_normal(5).astype(F32) if bias else None
    out = numbers((5, 7), 7)
    wide = out.astype(F32)
    with cuda.emulated(mode) as emulation:
        tiling.sum_partials(partials, out, b=b, inner=7, add=add)
        tiling.sum_partials(partials, wide, b=b, inner=7, add=add)
    assert_rounded(out, wide)
    assert emulation.launches == {
        "sum_partials<float, __nv_bfloat16>": 1,
        "sum_partials<float, float>": 1,
    }


def test_eight_numbers_are_moved_at_once():
    x, y = np.ones(2048, BF16), np.ones(2048, BF16)
    with cuda.emulated("counted") as emulation:
        cuda.kernel("relu.cu", "relu_forward")(1, 256, x, y, 2048)
    (counts,) = emulation.counts
    # 8 warps, each with 32 vectors of half a sector
    assert {(one.access, one.requests, one.sectors) for one in counts.memory} == {
        ("read", 8, 128),
        ("write", 8, 128),
    }


@compiles
@pytest.mark.parametrize("name", ["float", "__nv_bfloat16"])
def test_nothing_lies_in_local_memory(name):
    kernels = {"relu.cu": ["relu_forward", "relu_backward"], "dropout.cu": ["dropout"]}
    for file, names in kernels.items():
        for architecture in nvrtc.architectures(file):
            for used in nvrtc.compiled(file, architecture, [f"{k}<{name}>" for k in names]).usage:
                assert (used.stack, used.spill_stores, used.spill_loads) == (0, 0, 0), used


@each_mode
def test_types_are_converted_as_numpy_does(mode):
    with cuda.emulated(mode):
        types_converted()
