"""The fully connected layer's kernels, beyond what the conformance suite asks of every one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import Tensor, cuda, ops, using
from minialex.errors import MinialexError
from minialex.ops._cuda import launching, tiling
from minialex.ops.linear import cuda as linear_cuda

from .conv2d_runs import forced, poisoned
from .linear_runs import IMPLEMENTATIONS, assert_right, draw, results

RUNGS = ("naive", "tiled", "register_blocked", "tf32x3")
SIZES = {
    "one number": (1, 1, 1),
    "a batch of one": (1, 31, 33),
    "33 rows": (33, 31, 257),
    "in whole vectors": (8, 36, 40),
    "several tiles each way": (70, 131, 20),
}


@pytest.fixture(scope="module", autouse=True)
def poison():
    with poisoned(linear_cuda, tiling, launching):
        yield


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float", "double"])
@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("name", SIZES)
def test_checked(name, rung, dtype):
    arrays = draw(*SIZES[name], dtype)
    with cuda.emulated("checked"):
        got = results(rung, *arrays)
    assert_right(got, *arrays)


size = st.integers(1, 80)


# tests/campaigns draws many more
@pytest.mark.parametrize("rung", RUNGS)
@given(R=size, O=size, I=size)
def test_any_shape(rung, R, O, I):
    assert_right_anywhere(rung, R, O, I)


def assert_right_anywhere(rung, R, O, I):
    arrays = draw(R, O, I, np.float64)
    with cuda.emulated():
        got = results(rung, *arrays)
    assert_right(got, *arrays)


@pytest.mark.parametrize(("parts", "fix_up"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("rows", tiling.THREAD_ROWS)
@pytest.mark.parametrize("rung", ["register_blocked", "tf32x3"])
def test_every_plan(rung, rows, parts, fix_up, monkeypatch):
    monkeypatch.setattr(linear_cuda, "plan_tiles", forced(rows, parts, fix_up))
    arrays = draw(131, 260, 136, np.float32)
    with cuda.emulated("checked") as emulation:
        got = results(rung, *arrays)
    assert_right(got, *arrays)
    assert emulation.launches[f"linear_forward_{rung}<float, {rows}>"] == 1
    assert emulation.launches["sum_partials<float, float>"] == (0 if parts == 1 or fix_up else 3)


@pytest.mark.parametrize("backward", [*RUNGS, "plain"])
@pytest.mark.parametrize("forward", RUNGS)
def test_any_forward_with_any_backward(forward, backward):
    arrays = draw(3, 5, 7, np.float32)
    with cuda.emulated():
        got = results(forward, *arrays, backward)
    assert_right(got, *arrays)


@pytest.mark.parametrize("rung", RUNGS)
def test_rows_in_several_axes_and_scattered(rung):
    x, w, b, gy = draw(12, 5, 7, np.float32)
    with cuda.emulated():
        flat = results(rung, x, w, b, gy)
        x, gy = (np.asfortranarray(a.reshape(3, 4, -1)) for a in (x, gy))
        got = results(rung, x, np.asfortranarray(w), b, gy)
    assert got[0].shape == (3, 4, 5)
    assert got[1].shape == (3, 4, 7)
    for f, g in zip(flat, got, strict=True):
        np.testing.assert_array_equal(g.reshape(f.shape), f)


@pytest.mark.parametrize("rung", RUNGS)
def test_the_same_bits_in_any_order_of_threads(rung):
    arrays = draw(33, 40, 300, np.float32)

    def bits(**settings):
        with cuda.emulated(**settings):
            return [a.tobytes() for a in results(rung, *arrays)]

    natural = bits()
    assert bits(seed=1) == natural
    assert bits(seed=2) == natural


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("which", range(3))
def test_only_what_is_needed_is_computed(rung, which):
    x, w, _, gy = draw(3, 5, 7, np.float32)
    needs = tuple(i == which for i in range(3))
    with cuda.emulated() as emulation:
        got = IMPLEMENTATIONS[rung].backward(gy, (x, w), needs=needs)
    assert [g is not None for g in got] == list(needs)
    gradients = ("data_gradient", "weight_gradient", "bias_gradient")
    launched = [any(f"_{g}" in name for name in emulation.launches) for g in gradients]
    assert launched == list(needs)


@pytest.mark.parametrize("rung", RUNGS)
def test_gradients_are_written_to_out(rung):
    x, w, b, gy = draw(3, 5, 7, np.float32)
    buffers = (
        None,
        np.full((2, *w.shape), np.nan, np.float32).T[..., 1].T,
        np.full_like(b, np.nan),
    )
    with cuda.emulated():
        got = IMPLEMENTATIONS[rung].backward(gy, (x, w), out=buffers)
    assert got[1] is buffers[1]
    assert got[2] is buffers[2]
    assert_right((IMPLEMENTATIONS["plain"].forward(x, w, b)[0], *got), x, w, b, gy)


@pytest.mark.parametrize("rung", RUNGS)
def test_no_rows(rung):
    x, w, b, gy = draw(0, 3, 4, np.float64)
    with cuda.emulated():
        y, gx, gw, gb = results(rung, x, w, b, gy)
    assert y.shape == (0, 3)
    assert gx.shape == (0, 4)
    assert not gw.any()
    assert not gb.any()


@pytest.mark.parametrize("rung", RUNGS)
def test_training_on_a_rung(rung):
    arrays = draw(6, 5, 7, np.float32)[:3]

    def gradients():
        x, w, b = (Tensor(a.copy(), requires_grad=True) for a in arrays)
        y = ops.linear(x, w, b)
        (y * y).sum().backward()
        return [x.grad, w.grad, b.grad]

    want = gradients()
    with cuda.emulated() as emulation, using(linear=rung):
        got = gradients()
    assert any(rung in name for name in emulation.launches)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=2e-6 * np.abs(w).max())


@pytest.mark.parametrize("rung", RUNGS)
def test_numpy_arrays_need_the_emulator(rung):
    with pytest.raises(MinialexError, match="emulated"):
        results(rung, *draw(1, 1, 1, np.float32))


def test_what_is_too_large_to_index_is_refused():
    x, w = (np.broadcast_to(np.float32(0), s) for s in ((2**16, 1), (2**15, 1)))
    with cuda.emulated(), pytest.raises(ValueError, match="linear: y has 2147483648 elements"):
        IMPLEMENTATIONS["naive"].forward(x, w)
