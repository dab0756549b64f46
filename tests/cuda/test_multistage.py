"""The products whose panels are copied several stages ahead, beyond what all rungs are asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import cuda
from minialex.autograd import OPS
from minialex.cuda import nvrtc
from minialex.cuda.architectures import ARCHITECTURES, KIB
from minialex.ops._cuda import launching, tiling
from minialex.ops.conv2d import multistage
from minialex.ops.conv2d.cuda import checked_shape
from minialex.ops.linear import bf16
from minialex.ops.linear import cuda as linear_cuda
from minialex.study.tensor_cores import round_to_bfloat16, round_to_tf32
from tests.cuda import conv2d_runs, linear_runs, tools
from tests.cuda.conv2d_runs import Conv, forced, poisoned

FP32, TF32, BF16 = "multistage_tf32x3", "multistage_tf32", "bf16"
F32 = np.float32
RUNGS = FP32, TF32, BF16
TENSOR_CORES = [name for name, one in ARCHITECTURES.items() if one.tensor_cores is not None]
RESERVED = KIB
"""Bytes of a multiprocessor's shared memory that the system takes for each block."""


@pytest.fixture(scope="module", autouse=True)
def poison():
    with poisoned(linear_cuda, bf16, multistage, tiling, launching):
        yield


def rounded(rung, a):
    """Return what a rung keeps of `a`."""
    return {TF32: round_to_tf32, BF16: round_to_bfloat16}.get(rung, np.asarray)(a)


def bits_of_bfloat16(a):
    """Return the upper halves of floats whose lower ones are zero."""
    bits = np.ascontiguousarray(a).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return (bits >> 16).astype(np.uint16)


# ---- linear --------------------------------------------------------------------------------------

SIZES = {
    "one number": (1, 1, 1),
    "no row in whole chunks": (33, 31, 257),
    "some rows in whole chunks": (9, 36, 41),
    "all rows in whole chunks": (40, 132, 100),
}


def linear_module(rung):
    return bf16 if rung == BF16 else linear_cuda


def assert_linear(rung, arrays, got):
    """Hold the fp32 rung to float32's bounds, the others to those of rounded factors."""
    if rung == FP32:
        linear_runs.assert_right(got, *arrays)
        return
    x, w, b, gy = arrays
    factors = [rounded(rung, a).astype(np.float64) for a in (x, w, gy)]
    x, w, gy_rounded = factors
    wanted = x @ w.T + b, gy_rounded @ w, gy_rounded.T @ x, gy.astype(np.float64).sum(axis=0)
    for g, t in zip(got, wanted, strict=True):
        bound = 200 * np.finfo(F32).eps * np.abs(t).max(initial=0)
        np.testing.assert_allclose(g, t, rtol=0, atol=bound)


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("name", SIZES)
def test_linear_checked(name, rung):
    arrays = linear_runs.draw(*SIZES[name], F32)
    with cuda.emulated("checked"):
        got = linear_runs.results(rung, *arrays)
    assert_linear(rung, arrays, got)


size = st.integers(1, 80)


@pytest.mark.parametrize("rung", RUNGS)
@given(R=size, O=size, I=size)
def test_linear_of_any_shape(rung, R, O, I):
    arrays = linear_runs.draw(R, O, I, F32)
    with cuda.emulated():
        got = linear_runs.results(rung, *arrays)
    assert_linear(rung, arrays, got)


PARTS = [(1, False), (3, False), (3, True)]
PLANS = [(rung, rows, *parts) for rung in RUNGS for rows in (4, 8, 16) for parts in PARTS]
DRAWN_PLANS = PLANS[::2]


@pytest.mark.parametrize(("rung", "rows", "parts", "fix_up"), DRAWN_PLANS)
def test_linear_by_every_plan(rung, rows, parts, fix_up, monkeypatch):
    monkeypatch.setattr(linear_module(rung), "plan_tiles", forced(rows, parts, fix_up))
    arrays = linear_runs.draw(131, 260, 136, F32)
    with cuda.emulated() as emulation:
        got = linear_runs.results(rung, *arrays)
    assert_linear(rung, arrays, got)
    assert emulation.launches[f"linear_forward_{rung}<{rows}>"] == 1
    assert emulation.launches["sum_partials<float, float>"] == (0 if parts == 1 or fix_up else 3)


@pytest.mark.parametrize("names", ["x w", "gy x w", "gy x", "gy w"])
@pytest.mark.parametrize("name", SIZES)
def test_rounded_rows(name, names):
    R, O, I = SIZES[name]
    x, w, _, gy = linear_runs.draw(R, O, I, F32)
    arrays = {name: array for name, array in {"x": x, "w": w, "gy": gy}.items() if name in names}
    with cuda.emulated("checked") as emulation:
        found = bf16.rounded_rows((R, O, I), **arrays)
    assert emulation.launches.total() == 1
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        rows, columns = array.shape
        assert found[name].shape == (rows, -(-columns // 8) * 8)
        assert (found[name][:, :columns] == bits_of_bfloat16(rounded(BF16, array))).all()
        assert not found[name][:, columns:].any()


# ---- conv2d --------------------------------------------------------------------------------------

CONVOLUTIONS = {
    "groups, channels in no whole chunks": Conv((2, 6, 7, 6), 10, (3, 2), padding=(1, 1), groups=2),
    "phases without taps": Conv((1, 3, 9, 9), 5, (2, 2), (3, 4), (1, 0)),
    "dilated": Conv((2, 5, 9, 8), 6, (3, 2), (2, 1), (2, 3), (2, 3)),
    "several tiles": Conv((1, 33, 13, 13), 132, (3, 3), padding=(1, 1)),
}


def assert_conv(rung, case, got):
    """As `assert_linear`."""
    if rung == FP32:
        conv2d_runs.assert_right(got, conv2d_runs.expected(case), F32)
        return
    x, w, b, gy = case.draw(F32)
    plain = OPS["conv2d"].implementations["plain"]
    exact = [rounded(rung, a).astype(np.float64) for a in (x, w, gy)]
    bias = None if b is None else b.astype(np.float64)
    y = plain.forward(*exact[:2], bias, **case.params)[0]
    gx, gw, _ = plain.backward(exact[2], (exact[0], exact[1]), **case.params)
    gb = gy.astype(np.float64).sum(axis=(0, 2, 3))
    conv2d_runs.assert_right(got, (y, gx, gw, gb), F32)


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d_checked(name, rung):
    case = CONVOLUTIONS[name]
    with cuda.emulated("checked"):
        got = conv2d_runs.results(case, rung, F32)
    assert_conv(rung, case, got)


@pytest.mark.parametrize(("rung", "rows", "parts", "fix_up"), DRAWN_PLANS)
def test_conv2d_by_every_plan(rung, rows, parts, fix_up, monkeypatch):
    monkeypatch.setattr(multistage, "plan_tiles", forced(rows, parts, fix_up))
    case = CONVOLUTIONS["several tiles"]
    with cuda.emulated() as emulation:
        got = conv2d_runs.results(case, rung, F32)
    assert_conv(rung, case, got)
    assert emulation.launches[f"conv2d_weight_gradient_{rung}<{rows}>"] == 1


REWRITTEN = {
    "few channels": Conv((2, 3, 9, 40), 5, (3, 3)),
    "channels of several blocks": Conv((1, 40, 5, 7), 65, (2, 2)),
    "groups": Conv((2, 14, 3, 3), 6, (1, 2), groups=2),
    "channels that are no power of two": Conv((1, 12, 19, 11), 24, (5, 3)),
    "one pixel": Conv((1, 8, 1, 1), 8, (1, 1)),
}


@pytest.mark.parametrize("names", ["x w", "gy x w", "gy x", "gy w"])
@pytest.mark.parametrize("case", REWRITTEN)
@pytest.mark.parametrize("rung", [multistage.TF32X3, multistage.TF32, multistage.BF16])
def test_channels_last(case, names, rung):
    x, w, _, gy = REWRITTEN[case].draw(F32)
    groups = REWRITTEN[case].params.get("groups", 1)
    arrays = {name: array for name, array in {"x": x, "w": w, "gy": gy}.items() if name in names}
    s = checked_shape(x, w, **REWRITTEN[case].params)
    with cuda.emulated("checked") as emulation:
        found = multistage.channels_last(s, rung, **arrays)
    assert emulation.launches.total() == 1
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        G = 1 if name == "w" else groups
        B, C, P = len(array), array.shape[1] // G, array.shape[2] * array.shape[3]
        wanted = rounded(rung.name, array).reshape(B, G, C, P).transpose(0, 3, 1, 2)
        if rung is multistage.BF16:
            wanted = bits_of_bfloat16(wanted)
        chunk = 8 if rung is multistage.BF16 else 4
        assert found[name].shape == (B, P, G, -(-C // chunk) * chunk)
        assert (found[name][..., :C] == wanted).all()
        assert not found[name][..., C:].any()


# ---- what the hardware has -----------------------------------------------------------------------


def test_the_same_bits_in_any_order_of_threads():
    case = CONVOLUTIONS["groups, channels in no whole chunks"]

    def bits(**settings):
        with cuda.emulated(**settings):
            return [a.tobytes() for a in conv2d_runs.results(case, FP32, F32)]

    natural = bits()
    assert bits(seed=1) == natural
    assert bits(seed=2) == natural


@pytest.mark.parametrize(("few", "many"), [("sm_86", "sm_80"), ("sm_120", "sm_90")])
def test_the_number_of_stages_changes_no_bit(few, many):
    arrays = linear_runs.draw(20, 24, 200, F32)

    def bits(architecture):
        with cuda.emulated(architecture=architecture):
            return [a.tobytes() for a in linear_runs.results(FP32, *arrays)]

    assert bits(few) == bits(many)


@pytest.mark.parametrize("name", TENSOR_CORES)
@pytest.mark.parametrize("rung", [FP32, BF16])
@pytest.mark.parametrize("rows", tiling.THREAD_ROWS)
def test_the_stages_of_two_blocks_fit_and_no_more_than_four_are_taken(rows, rung, name):
    architecture, itemsize = ARCHITECTURES[name], tiling.STAGE_ARITHMETICS[rung].itemsize
    stages = tiling.num_stages(architecture.capability, itemsize)
    one = tiling.stages_bytes(rows, architecture.capability, rung)
    # the Coords of each stage, with a gap after every eighth, and a little beside them
    coords = 16 * 72 // itemsize
    static = coords * stages + 128
    room = architecture.shared_per_block + RESERVED
    assert 2 * (one + static + RESERVED) <= room
    # of the largest tile, as many as there is room for
    more = one // stages * (stages + 1) + static + coords
    assert stages == 4 or rows < 16 or 2 * (more + RESERVED) > room


@pytest.mark.parametrize("name", TENSOR_CORES)
@pytest.mark.parametrize("rung", [FP32, BF16])
def test_a_kernel_has_as_many_stages_as_memory_is_asked_for(rung, name, monkeypatch):
    """One stage less is too little memory, which the emulator says."""
    arrays = linear_runs.draw(8, 8, 100, F32)
    itemsize = tiling.STAGE_ARITHMETICS[rung].itemsize
    stages = tiling.num_stages(ARCHITECTURES[name].capability, itemsize)
    with cuda.emulated("checked", architecture=name):
        linear_runs.results(rung, *arrays)
        monkeypatch.setattr(tiling, "num_stages", lambda *_: stages - 1)
        with pytest.raises(cuda.EmulationError) as caught:
            linear_runs.results(rung, *arrays)
    assert caught.value.kind == "out-of-bounds"


@tools.compiles
@pytest.mark.parametrize("rung", [FP32, BF16])
def test_the_compiler_sees_as_many_stages_as_the_host_has(rung):
    """Of each GPU that it knows, by the memory that Coords take; sm_121 is one of them."""
    file = "conv2d_bf16.cu" if rung == BF16 else "conv2d_multistage.cu"
    itemsize = tiling.STAGE_ARITHMETICS[rung].itemsize
    capabilities = [n for n in nvrtc.capabilities() if n >= 80]
    assert {80, 86, 90, 120, 121} <= set(capabilities)
    for capability in capabilities:
        names = [f"conv2d_forward_{rung}<4>"]
        (usage,) = nvrtc.usage(file, f"sm_{capability}", names)
        seen = usage.shared // (16 * 72 // itemsize)
        assert seen == tiling.num_stages(capability, itemsize), capability


MAIN_LOOP = {"stage_panels.cuh", "async_copy.cuh", "vectors.cuh"}


@pytest.mark.parametrize("rows", tiling.THREAD_ROWS)
@pytest.mark.parametrize("rung", [FP32, BF16])
@pytest.mark.parametrize("op", ["linear", "conv2d"])
def test_no_bank_conflicts_and_no_sector_too_many(op, rung, rows, monkeypatch):
    module = linear_module(rung) if op == "linear" else multistage
    monkeypatch.setattr(module, "plan_tiles", forced(rows, 1, False))
    with cuda.emulated("counted") as emulation:
        if op == "linear":
            linear_runs.results(rung, *linear_runs.draw(128, 128, 128, F32))
        else:
            conv2d_runs.results(Conv((2, 16, 8, 8), 128, (3, 3), padding=(1, 1)), rung, F32)
    launches = [c for c in emulation.counts if f"_{rung}<" in c.kernel]
    assert len(launches) == 3
    seen = set()
    for counts in launches:
        for one in counts.memory:
            if one.file not in MAIN_LOOP:
                continue
            seen.add((one.memory, one.access))
            if one.memory == "shared":
                assert one.wavefronts == one.least_wavefronts, (counts.kernel, one)
            elif one.access == "read":
                assert one.sectors <= 1.01 * one.least_sectors, (counts.kernel, one)
    assert {("shared", "read"), ("shared", "write"), ("global", "read")} <= seen
