"""Every feature of CUDA that the emulator knows, on tiny kernels with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import cuda
from tests.cuda.tools import SHAPE, kernel

F32, F64, I32, U32 = np.float32, np.float64, np.int32, np.uint32
FILE = "features.cu"


@pytest.fixture(params=["fast", "checked"])
def run(request):
    """Return a function that runs a kernel of features.cu in one mode or the other."""

    def launched(name, grid, block, *args, seed=None, optional=(), **options):
        with cuda.emulated(request.param, seed=seed):
            kernel(FILE, name, optional=optional)(grid, block, *args, **options)

    return launched


# ---- grids, blocks, shared memory ----------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 0, 1, 7])
def test_grids_and_blocks_of_three_dimensions(run, seed):
    grid, block = (2, 3, 4), (5, 2, 3)
    out = np.full(math.prod(grid) * math.prod(block), -1, I32)
    run("thread_indices", grid, block, out, seed=seed)
    bz, by, bx, tz, ty, tx = np.indices(grid[::-1] + block[::-1]).reshape(6, -1)
    assert (out == tx + 10 * ty + 100 * tz + 1000 * bx + 10000 * by + 100000 * bz).all()


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([F32, F64]), st.integers(0, 5))
def test_shared_tiles_and_barriers(H, W, dtype, seed):
    x = np.arange(H * W, dtype=dtype).reshape(H, W)
    y = np.full((W, H), -1, dtype)
    with cuda.emulated(seed=seed):
        kernel(FILE, "transpose")((cuda.blocks(W, 8), cuda.blocks(H, 8)), (8, 8), x, y, H, W)
    assert (y == x.T).all()


@pytest.mark.parametrize("block", [1, 2, 32, 64, 1024])
def test_dynamic_shared_memory(run, block):
    x = np.random.default_rng(0).standard_normal((5, 300))
    y = np.zeros(5)
    run("row_sums", 5, block, x, y, 300, shared=8 * block)
    np.testing.assert_allclose(y, x.sum(1), rtol=1e-12)


@pytest.mark.parametrize("block", [33, 64])
def test_declarations_of_shared_memory(run, block):
    out = np.zeros(block, I32)
    run("declarations", 1, block, out)
    other = block - 1 - np.arange(block)
    assert (out == 6 * other + 1000 + 110 * other).all()


def test_constant_memory_and_local_arrays(run):
    out = np.zeros(12, F32)
    run("constants", 1, 12, out)
    t = np.arange(12)
    assert (out == np.array([1, 2, 4, 8])[t % 4] + np.array([0.25, 0.5, 0.75])[t % 3]).all()


# ---- barriers and warps --------------------------------------------------------------------------


@pytest.mark.parametrize(("positive", "expected"), [(0, 0), (5, 501), (70, 7011)])
def test_barriers_that_count(run, positive, expected):
    x = (np.arange(70) < positive).astype(I32)
    out = np.zeros(70, I32)
    run("counted_barriers", 1, 70, x, out)
    assert (out == expected).all()


def test_shuffles(run):
    x = np.arange(100, 132, dtype=F32)
    out = np.zeros(256, F32)
    run("shuffles", 1, 32, x, out)
    lane = np.arange(32)
    sources = [
        np.full(32, 5),
        np.where(lane < 3, lane, lane - 3),
        np.where(lane + 7 > 31, lane, lane + 7),
        lane ^ 9,
        lane // 8 * 8 + (lane + 1) % 8,
        np.where(lane % 16 < 1, lane, lane - 1),
        np.where(lane % 4 + 2 > 3, lane, lane + 2),
    ]
    assert (out[:224].reshape(7, 32) == x[sources]).all()
    assert (out[224:240] == x[lane[:16] ^ 1]).all()


def bits(predicate):
    return int(sum(1 << lane for lane in np.flatnonzero(predicate)))


@pytest.mark.parametrize("values", ["mixed", "equal"])
def test_votes_matches_and_reductions(run, values):
    x = np.random.default_rng(3).integers(0, 5, 32).astype(I32)
    x = x if values == "mixed" else np.full(32, 3, I32)
    out = np.zeros(384, U32)
    run("votes", 1, 32, x, out)
    rows = out.reshape(12, 32)
    assert (rows[0] == bits(x > 2)).all()
    assert (rows[1] == (x > 2).any()).all()
    assert (rows[2] == (x > 2).all()).all()
    assert rows[3].tolist() == [bits(x == v) for v in x]
    same = len(set(x.tolist())) == 1
    assert (rows[4] == (2**32 - 1 if same else 0)).all()
    assert (rows[5] == same).all()
    folds = [np.add, np.maximum, np.minimum, np.bitwise_and, np.bitwise_or, np.bitwise_xor]
    for row, fold in zip(rows[6:], folds, strict=True):
        assert (row == fold.reduce(x)).all()


@pytest.mark.parametrize("seed", [None, 2, 3])
def test_lanes_hand_on_through_shared_memory_with_syncwarp(run, seed):
    out = np.zeros(32, I32)
    run("warp_mates", 1, 32, out, seed=seed)
    box = 31 - np.arange(32)
    lane = np.arange(32)
    box = box + box[lane ^ 1]
    box[16:] = (box + box[lane ^ 1])[16:]
    assert (out == box[31 - lane]).all()


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("block", [32, 96, 1024])
def test_the_reductions_of_the_common_header(run, dtype, block):
    x = np.random.default_rng(1).standard_normal((2, block)).astype(dtype)
    out = np.zeros((2 * block, 4), dtype)
    run("reductions", 2, block, x, out)
    tolerance = {"rtol": 0, "atol": 1e-4 if dtype is F32 else 1e-12}
    warps = x.reshape(-1, 32)
    rows = out.reshape(-1, 32, 4)
    np.testing.assert_allclose(rows[:, :, 0], warps.sum(1)[:, None].repeat(32, 1), **tolerance)
    assert (rows[:, :, 1] == warps.max(1)[:, None]).all()
    whole = x.sum(1)[:, None].repeat(block, 1)
    np.testing.assert_allclose(out.reshape(2, block, 4)[:, :, 2], whole, **tolerance)
    np.testing.assert_allclose(out.reshape(2, block, 4)[:, :, 3], 2 * whole, **tolerance)


# ---- atomics -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "blocks"), [("checked", 50), ("fast", 50), ("fast", 20_000)])
def test_integer_atomics(mode, blocks):
    # 20,000 blocks keep all cores at it long enough to lose a sum that is not atomic.
    n = blocks * 64
    out = np.array([0, 0, 0, 0, -1, 0, 0, 0, 0], I32)
    wide = np.zeros(1, np.uint64)
    with cuda.emulated(mode):
        kernel(FILE, "integer_atomics")(blocks, 64, out, wide)
    total = np.arange(n, dtype=I32).sum(dtype=I32)
    assert out.tolist() == [total, n - 1, 1 - n, 255, -256, n % 2, -2 * n, 1, 7]
    assert wide[0] == n << 32


@pytest.mark.parametrize("dtype", [F32, F64])
def test_float_atomics_from_all_cores(run, dtype):
    x = np.random.default_rng(2).integers(0, 8, 10_000).astype(I32)
    out = np.zeros(8, dtype)
    run("histogram", 79, 128, x, out, 10_000)
    assert (out == np.bincount(x, minlength=8)).all()


@pytest.mark.parametrize("seed", [None, 4])
def test_the_last_block_sees_what_all_others_left(run, seed):
    x = np.random.default_rng(0).integers(-9, 9, 16 * 64).astype(F32)
    total = np.zeros(1, F32)
    run("last_block", 16, 64, x, np.zeros(16, F32), np.zeros(1, U32), total, seed=seed)
    assert total[0] == x.sum()


# ---- vectors, functions, bits, scalars -----------------------------------------------------------


def test_vectors(run):
    x = np.arange(128, dtype=F32)
    y, z = np.zeros(128, F32), np.zeros(128, np.uint8)
    run("vectors", 1, 32, x, y, z)
    expected = x.copy().reshape(32, 4)
    expected[:, 3] += expected[:, 1] * expected[:, 2]
    expected[:, 0] += 1
    expected[0, 1] = expected[0, 0] + 1
    assert (y.reshape(32, 4) == expected).all()
    assert (z.reshape(32, 4) == np.arange(32)[:, None] + np.arange(4)).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(F32, 3e-7), (F64, 1e-15)])
def test_functions(run, dtype, tolerance):
    v, w = 0.7, 1.3
    y = np.zeros(23, dtype)
    run("functions", 1, 1, np.array([v, w], dtype), y)
    expected = [
        math.exp(v), math.log(v), v**w, math.sqrt(v), 1 / math.sqrt(v), v * w + v, math.tanh(v),
        v, w, v, 1.0, 2.0, math.erf(v), math.log1p(v), math.expm1(v), math.sin(v), math.cos(v), -v,
        math.cbrt(v), math.hypot(v, w), math.fmod(w, v), 1.0, 1.0,
    ]  # fmt: skip
    np.testing.assert_allclose(y, expected, rtol=tolerance)


def test_float_functions(run):
    v, w = 0.7, 1.3
    y = np.zeros(16, F32)
    run("float_functions", 1, 1, np.array([v, w], F32), y)
    expected = [
        math.exp(v), math.log(v), v**w, v / w, 1.0, 0.0, 1 / math.sqrt(v), w, v, v * w + v, 2**v,
        math.log2(v), math.sin(v), math.cos(v), 1 / v, (1 + math.erf(v / math.sqrt(2))) / 2,
    ]  # fmt: skip
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_bits(run):
    v = 0x12345678
    y = np.zeros(13, I32)
    run("bits", 1, 1, np.array([v], I32), y)
    reverse = int(f"{v:032b}"[::-1], 2)
    expected = [13, 3, 4, reverse, v * v >> 32, v * v >> 32, 0x3FC00000, 5, 2, -2, 7, v, 16]
    assert y.tolist() == expected


def test_scalars_arrive_as_they_were_given(run):
    values = (True, 200, -300, -(2**31), 2**32 - 1, 2**52 + 1, 2**53, 0.1, 0.1)
    out = np.zeros(9)
    run("scalars", 1, 1, out, *values)
    assert out.tolist() == [*map(float, values[:7]), float(F32(0.1)), 0.1]


def test_a_struct_arrives_as_it_was_given(run):
    out = np.zeros(7)
    run("structs", 1, 1, out, SHAPE, 9)
    assert out.tolist() == [1, 3, -5, -(2**40), 250, -15, 9]


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("doubled", [False, True])
def test_template_numbers_and_null_pointers(run, step, doubled):
    x, bias = np.arange(20, dtype=F32), np.arange(10, 20, dtype=F32)
    for b in (bias, None):
        y = np.zeros(10, F32)
        run("strided", 1, 32, x, b, y, 10, 3, STEP=step, DOUBLED=doubled, optional=("bias",))
        expected = x[::step][:10] * (6 if doubled else 3) + (0 if b is None else bias)
        assert (y == expected).all()


# ---- the emulation itself ------------------------------------------------------------------------


def test_shared_memory_is_poisoned_before_each_block():
    out = np.zeros(32, F32)
    with cuda.emulated():
        kernel("faults.cu", "half_written")(1, 32, out)
    assert np.isnan(out[0])
    assert (out[1:] == 1).all()


def test_inputs_are_copied_back_only_where_written():
    x = np.random.default_rng(0).standard_normal(300).astype(F32)
    memory = np.full(400, 7, F32)
    with cuda.emulated("checked"):
        cuda.kernel("relu.cu", "relu_forward")(2, 256, x, memory[50:350], 300)
    assert (memory[50:350] == np.maximum(x, 0)).all()
    assert (memory[:50] == 7).all()
    assert (memory[350:] == 7).all()


def test_a_read_only_input_is_left_alone():
    x = np.arange(4, dtype=F32)
    x.flags.writeable = False
    y = np.zeros(4, F32)
    with cuda.emulated("checked"):
        cuda.kernel("relu.cu", "relu_forward")(1, 32, x, y, 4)
    assert (y == x).all()


def test_launches_are_counted_by_name():
    x = np.zeros(4, F32)
    with cuda.emulated() as outer:
        for _ in range(3):
            cuda.kernel("relu.cu", "relu_forward")(1, 32, x, x.copy(), 4)
        with cuda.emulated("checked") as inner:
            cuda.kernel("relu.cu", "relu_forward")(1, 32, x.astype(F64), np.zeros(4), 4)
    assert outer.launches == {"relu_forward<float>": 3}
    assert inner.launches == {"relu_forward<double>": 1}
    assert cuda.emulation() is None


def test_one_kernel_alone_can_be_checked():
    x = np.zeros((5, 64), F32)
    with cuda.emulated("checked", kernel="same_place"):
        kernel("faults.cu", "block_totals")(5, 64, x, np.zeros(2, F32), 1)
        with pytest.raises(cuda.EmulationError, match="same_place: race"):
            kernel("faults.cu", "same_place")(4, 1, np.zeros(1, I32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "slow"}, "mode is 'slow': use one of fast, checked, traced"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, r"seed is \d+: use a whole number from 0 to 2\*\*63 - 1"),
        ({"architecture": "sm_91"}, "architecture is 'sm_91': use one of sm_70, .*, sm_120"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=f"emulated: {message}"), cuda.emulated(**settings):
        pass


@given(
    st.integers(1, 600),
    st.sampled_from([1, 31, 32, 33, 256, 1024]),
    st.sampled_from([F32, F64]),
    st.integers(0, 9),
)
def test_relu(n, block, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array([-1.5, -0.0, 0.0, 2.5, np.nan, np.inf, -np.inf], dtype), n)
    gy = rng.standard_normal(n).astype(dtype)
    y, gx = np.empty_like(x), np.empty_like(x)
    with cuda.emulated("checked", seed=seed):
        cuda.kernel("relu.cu", "relu_forward")(cuda.blocks(n, block), block, x, y, n)
        cuda.kernel("relu.cu", "relu_backward")(cuda.blocks(n, block), block, gy, y, gx, n)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    # a gradient passes where NaN came from
    np.testing.assert_array_equal(gx, np.where((x > 0) | np.isnan(x), gy, 0))
