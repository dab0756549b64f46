"""The convolution's kernels, beyond what the conformance suite asks of every implementation."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minialex.ops
from minialex import Tensor, cuda, using
from minialex.autograd import OPS
from minialex.errors import MinialexError
from minialex.ops._cuda import launching, tiling
from minialex.ops.conv2d import cuda as conv2d_cuda

from .conv2d_runs import (
    RUNGS,
    Conv,
    assert_right,
    expected,
    forced,
    many_filters,
    poisoned,
    results,
)

IMPLEMENTATIONS = OPS["conv2d"].implementations


@pytest.fixture(scope="module", autouse=True)
def poison():
    with poisoned(conv2d_cuda, tiling, launching):
        yield


CASES = {
    "one number": Conv((1, 1, 1, 1), 1, (1, 1)),
    "31x33, stride 2x3, padding 4x2": Conv((1, 3, 31, 33), 5, (5, 3), (2, 3), (4, 2)),
    "stride beyond the window": Conv((2, 4, 9, 8), 6, (3, 3), (4, 5), (2, 2), groups=2),
    "dilation and stride share a factor": Conv((2, 3, 12, 9), 4, (3, 2), (2, 4), (1, 3), (2, 2)),
    "a group a channel": Conv((1, 6, 10, 9), 12, (3, 3), padding=(1, 1), groups=6, bias=False),
    "AlexNet's first, small": Conv((1, 3, 23, 27), 9, (11, 11), (4, 4), (2, 2)),
    "AlexNet's third, small": Conv((3, 8, 13, 13), 40, (3, 3), padding=(1, 1)),
    "several tiles each way": Conv((2, 36, 9, 9), 70, (3, 2), padding=(1, 1)),
}


CHECKED = [(name, rung, dtype) for name in CASES for rung in RUNGS for dtype in ("f", "d")]
DRAWN_CHECKED = CHECKED[::3]
"""Those that the suite has; ``tests/campaigns`` has the others."""


@pytest.mark.parametrize(("name", "rung", "dtype"), DRAWN_CHECKED)
def test_checked(name, rung, dtype):
    assert_checked(name, rung, np.dtype(dtype).type)


def assert_checked(name, rung, dtype):
    with cuda.emulated("checked"):
        got = results(CASES[name], rung, dtype)
    want = expected(CASES[name])
    assert_right(got, want, dtype)


def test_many_filters():
    with cuda.emulated("checked"):
        many_filters()


def pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def convolutions(draw):
    kernel, dilation = draw(pairs(1, 4)), draw(pairs(1, 3))
    padding = draw(pairs(0, 5))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    least = [max(1, r - 2 * p) for r, p in zip(reach, padding, strict=True)]
    groups, C, O = (draw(st.integers(1, 3)) for _ in range(3))
    size = [n + draw(st.integers(0, 9)) for n in least]
    x = (draw(st.integers(1, 3)), C * groups, *size)
    stride = draw(pairs(1, 5))
    return Conv(x, O * groups, kernel, stride, padding, dilation, groups, draw(st.booleans()))


# tests/campaigns draws many more
@pytest.mark.parametrize("rung", RUNGS)
@given(case=convolutions())
def test_any_shape(rung, case):
    assert_right_anywhere(rung, case)


def assert_right_anywhere(rung, case):
    with cuda.emulated():
        got = results(case, rung, np.float64)
    assert_right(got, expected(case), np.float64)


# Three tiles of rows, two of columns, at every size of tile.
LARGE = Conv((1, 33, 13, 13), 132, (3, 3), padding=(1, 1))


PLANS = [
    (rung, rows, *parts)
    for rung in ("im2col", "implicit_gemm", "tf32x3")
    for rows in tiling.THREAD_ROWS
    for parts in [(1, False), (3, False), (3, True)]
]
DRAWN_PLANS = [plan for n, plan in enumerate(PLANS) if (n + n // 3 + n // 9) % 3 == 0]
"""Each rung with each number of rows and of parts; ``tests/campaigns`` has all combinations."""


@pytest.mark.parametrize(("rung", "rows", "parts", "fix_up"), DRAWN_PLANS)
def test_every_plan(rung, rows, parts, fix_up, monkeypatch):
    assert_right_by_plan(rung, rows, parts, fix_up, monkeypatch)


def assert_right_by_plan(rung, rows, parts, fix_up, monkeypatch):
    monkeypatch.setattr(conv2d_cuda, "plan_tiles", forced(rows, parts, fix_up))
    # in checked mode the smallest tiles, of which there are most
    with cuda.emulated("checked" if (rows, parts) == (4, 1) else "fast") as emulation:
        got = results(LARGE, rung, np.float32)
    assert_right(got, expected(LARGE), np.float32)
    assert emulation.launches[f"conv2d_weight_gradient_{rung}<float, {rows}>"] == 1
    # im2col's data gradient has no parts
    apart = 0 if parts == 1 or fix_up else 2 if rung == "im2col" else 3
    assert emulation.launches["sum_partials<float, float>"] == apart


@pytest.mark.parametrize("rows", tiling.THREAD_ROWS)
@pytest.mark.parametrize("rung", ["implicit_gemm", "tf32x3"])
def test_parts_that_the_last_block_adds_up_are_checked(rung, rows, monkeypatch):
    """With groups and phases, where some tiles have no elements and some parts no terms."""
    case = Conv((2, 4, 9, 8), 6, (3, 3), (2, 3), (2, 2), groups=2)
    monkeypatch.setattr(conv2d_cuda, "plan_tiles", forced(rows, 3, True))
    with cuda.emulated("checked"):
        got = results(case, rung, np.float32)
    assert_right(got, expected(case), np.float32)


def test_both_ways_to_add_up_parts_give_the_same_bits(monkeypatch):
    def bits(fix_up):
        monkeypatch.setattr(conv2d_cuda, "plan_tiles", forced(8, 3, fix_up))
        with cuda.emulated():
            return [a.tobytes() for a in results(LARGE, "implicit_gemm", np.float32)]

    assert bits(True) == bits(False)


@pytest.mark.parametrize("backward", [*RUNGS, "plain"])
@pytest.mark.parametrize("forward", RUNGS)
def test_any_forward_with_any_backward(forward, backward):
    case = CASES["stride beyond the window"]
    with cuda.emulated():
        got = results(case, forward, np.float32, backward)
    assert_right(got, expected(case), np.float32)


@pytest.mark.parametrize("rung", RUNGS)
def test_the_same_bits_in_any_order_of_threads(rung):
    case = CASES["AlexNet's third, small"]

    def bits(**settings):
        with cuda.emulated(**settings):
            return [a.tobytes() for a in results(case, rung, np.float32)]

    natural = bits()
    assert bits(seed=1) == natural
    assert bits(seed=2) == natural


def test_parts_are_added_in_order():
    parts = np.array([[1], [1e8], [-1e8]], np.float32)
    out = np.empty(1, np.float32)
    with cuda.emulated():
        tiling.sum_partials(parts, out)
    # In float32 (1 + 1e8) - 1e8 is 0; in the reverse order it would be 1.
    assert out[0] == 0


def test_parts_are_added_to_what_is_there_and_the_bias_of_each_channel_once():
    parts, out = np.ones((3, 2, 2, 2)), np.full((2, 2, 2), 10.0)
    with cuda.emulated():
        tiling.sum_partials(parts, out, b=np.array([100.0, 200.0]), inner=2, add=True)
    np.testing.assert_array_equal(out, np.broadcast_to([[[113.0], [213.0]]], (2, 2, 2)))


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("which", range(3))
def test_only_what_is_needed_is_computed(rung, which):
    case = CASES["stride beyond the window"]
    x, w, _, gy = case.draw(np.float32)
    needs = tuple(i == which for i in range(3))
    with cuda.emulated() as emulation:
        got = IMPLEMENTATIONS[rung].backward(gy, (x, w), needs=needs, **case.params)
    assert [g is not None for g in got] == list(needs)
    gradients = ("data_gradient", "weight_gradient", "bias_gradient")
    launched = [any(f"_{g}" in name for name in emulation.launches) for g in gradients]
    assert launched == list(needs)


@pytest.mark.parametrize("rung", RUNGS)
def test_gradients_are_written_to_out(rung):
    case = CASES["stride beyond the window"]
    x, w, b, gy = case.draw(np.float32)
    buffers = (None, np.full_like(w, np.nan), np.full((2, *b.shape), np.nan, np.float32).T[:, 1])
    with cuda.emulated():
        got = IMPLEMENTATIONS[rung].backward(gy, (x, w), out=buffers, **case.params)
    assert got[1] is buffers[1]
    assert got[2] is buffers[2]
    assert_right((gy, *got), (gy, *expected(case)[1:]), np.float32)


@pytest.mark.parametrize("rung", RUNGS)
def test_arrays_that_no_vector_can_be_read_from(rung):
    # 8 channels of 3x3 make filters of 72 weights, which are read in vectors where w is aligned.
    case = Conv((1, 8, 5, 5), 4, (3, 3))
    x, w, b, gy = (shifted(a) for a in case.draw(np.float32))
    with cuda.emulated("checked"):
        y, saved = IMPLEMENTATIONS[rung].forward(x, w, b, **case.params)
        got = y, *IMPLEMENTATIONS[rung].backward(gy, saved, **case.params)
    assert_right(got, expected(case), np.float32)


def shifted(a):
    """Return a copy that begins 4 bytes after a multiple of 16."""
    buffer = np.empty(a.size + 8, a.dtype)
    skip = (4 - buffer.ctypes.data) % 16 // 4
    buffer[skip : skip + a.size] = a.ravel()
    moved = buffer[skip : skip + a.size].reshape(a.shape)
    assert moved.ctypes.data % 16 == 4
    return moved


@pytest.mark.parametrize("rung", RUNGS)
def test_saved_is_what_the_plain_implementation_saves(rung):
    case = CASES["a group a channel"]
    x, w, b, _ = case.draw(np.float32)
    with cuda.emulated():
        _, saved = IMPLEMENTATIONS[rung].forward(x, w, b, **case.params)
    assert [a is s for a, s in zip((x, w), saved, strict=True)] == [True, True]


@pytest.mark.parametrize("rung", RUNGS)
def test_an_empty_batch(rung):
    case = Conv((0, 2, 5, 4), 3, (3, 2))
    x, w, b = np.empty(case.x), np.ones((3, 2, 3, 2)), np.ones(3)
    with cuda.emulated():
        y, saved = IMPLEMENTATIONS[rung].forward(x, w, b, **case.params)
        gx, gw, gb = IMPLEMENTATIONS[rung].backward(y, saved, **case.params)
    assert y.shape == (0, 3, 3, 3)
    assert gx.shape == x.shape
    assert not gw.any()
    assert not gb.any()


def test_im2col_takes_images_block_by_block(monkeypatch):
    case = Conv((5, 2, 6, 5), 3, (3, 2), (1, 2), (1, 0), bias=True)
    # As much as the patches of two images of float32 take.
    monkeypatch.setattr(conv2d_cuda, "MAX_SCRATCH_BYTES", 2 * 12 * 12 * 4)
    with cuda.emulated("checked") as emulation:
        got = results(case, "im2col", np.float32)
    assert emulation.launches["conv2d_im2col<float>"] == 6
    assert_right(got, expected(case), np.float32)


@pytest.mark.parametrize("rung", RUNGS)
def test_training_on_a_rung(rung):
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((2, 4, 6, 6), (6, 2, 3, 3), 6)]

    def losses():
        x, w, b = (Tensor(a.copy(), requires_grad=True) for a in arrays)
        y = minialex.ops.conv2d(x, w, b, stride=(2, 1), padding=1, groups=2)
        (y * y).sum().backward()
        return [x.grad, w.grad, b.grad]

    want = losses()
    with cuda.emulated() as emulation, using(conv2d=rung):
        got = losses()
    assert any(rung in name for name in emulation.launches)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=2e-6 * np.abs(w).max())


@pytest.mark.parametrize("rung", RUNGS)
def test_numpy_arrays_need_the_emulator(rung):
    case = CASES["one number"]
    with pytest.raises(MinialexError, match="emulated"):
        results(case, rung, np.float32)


def huge(*shape):
    """Return an array of any size that takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


@pytest.mark.parametrize(
    ("x", "w", "params", "message"),
    [
        (huge(2**15, 1, 2**8, 2**8), huge(1, 1, 1, 1), {}, "conv2d: x has 2147483648 elements"),
        (huge(2, 1, 1, 1), huge(2**30, 1, 1, 1), {}, "conv2d: y has 2147483648 elements"),
        (huge(1, 1, 4, 4), huge(1, 1, 2, 2), {"padding": (0, 2**28)}, "spans 536870916 pixels"),
        (huge(1, 1, 4, 4), huge(1, 1, 2, 2), {"stride": (2**29, 1)}, "spans 536870912 pixels"),
    ],
)
def test_what_is_too_large_to_index_is_refused(x, w, params, message):
    params = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1} | params
    with cuda.emulated(), pytest.raises(ValueError, match=message):
        IMPLEMENTATIONS["naive"].forward(x, w, None, **params)


def test_im2col_refuses_an_image_whose_patches_are_too_many():
    x, w = huge(1, 64, 1500, 1500), huge(1, 64, 4, 4)
    params = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    s = conv2d_cuda.checked_shape(x, w, **params)
    with pytest.raises(ValueError, match="use the 'implicit_gemm' implementation"):
        next(conv2d_cuda._image_blocks(x, s))


@settings(max_examples=200)
@given(
    M=st.integers(1, 5000),
    N=st.integers(1, 200_000),
    K=st.integers(0, 400_000),
    batch_count=st.integers(1, 8),
    itemsize=st.sampled_from((4, 8)),
)
@example(M=384, N=1728, K=21632, batch_count=1, itemsize=4)
def test_a_plan_covers_the_product(M, N, K, batch_count, itemsize):
    plan = tiling.plan_tiles(M, N, K, batch_count=batch_count, itemsize=itemsize)
    height, width = tiling.tile_shape(plan.rows, itemsize)
    assert plan.tiles == -(-M // height) * -(-N // width)
    assert plan.depth % tiling.TILE_K == 0
    assert (plan.split_k - 1) * plan.depth < max(K, 1) <= plan.split_k * plan.depth
    scratch = plan.split_k * M * N * batch_count * itemsize
    assert plan.split_k == 1 or scratch <= tiling.MAX_SCRATCH_BYTES


def test_the_plan_that_the_module_shows():
    """AlexNet's second convolution, the gradient of its filters at batch 128."""
    plan = tiling.plan_tiles(192, 1600, 128 * 27 * 27, batch_count=1, itemsize=4)
    assert tiling.tile_shape(plan.rows, 4) == (64, 128)
    assert (plan.tiles, plan.split_k, plan.depth, plan.fix_up) == (39, 16, 5832, False)


def test_another_order_of_parts_is_noticed():
    order = "for (int s = 0; s < S; ++s)", "for (int s = S - 1; s >= 0; --s)"
    with cuda.edited("sum_partials.cu", *order), pytest.raises(AssertionError):
        test_parts_are_added_in_order()
