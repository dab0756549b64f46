"""The products whose panels are copied several stages ahead, beyond what all rungs are asked.

Of what is tried with each tile, each rung and each architecture some is tried here, the rest in
``tests/campaigns``.
"""

import itertools

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
from tests.cuda.bfloat16_runs import BFLOAT16, CONV2D, LINEAR, assert_rounded_once, two_runs
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


def instance(kernel, rung, rows):
    """Return the name of a kernel for float32 activations."""
    return f"{kernel}_{rung}<{rows}, float>" if rung == BF16 else f"{kernel}_{rung}<{rows}>"


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
DRAWN_PLANS = PLANS[4::10]


@pytest.mark.parametrize(("rung", "rows", "parts", "fix_up"), DRAWN_PLANS)
def test_linear_by_every_plan(rung, rows, parts, fix_up, monkeypatch):
    assert_linear_by_plan(rung, rows, parts, fix_up, monkeypatch)


def assert_linear_by_plan(rung, rows, parts, fix_up, monkeypatch):
    monkeypatch.setattr(linear_module(rung), "plan_tiles", forced(rows, parts, fix_up))
    arrays = linear_runs.draw(131, 260, 136, F32)
    with cuda.emulated() as emulation:
        got = linear_runs.results(rung, *arrays)
    assert_linear(rung, arrays, got)
    assert emulation.launches[instance("linear_forward", rung, rows)] == 1
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
    assert_conv_by_plan(rung, rows, parts, fix_up, monkeypatch)


def assert_conv_by_plan(rung, rows, parts, fix_up, monkeypatch):
    monkeypatch.setattr(multistage, "plan_tiles", forced(rows, parts, fix_up))
    case = CONVOLUTIONS["several tiles"]
    with cuda.emulated() as emulation:
        got = conv2d_runs.results(case, rung, F32)
    assert_conv(rung, case, got)
    assert emulation.launches[instance("conv2d_weight_gradient", rung, rows)] == 1


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


# ---- activations of bfloat16 ---------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_linear_of_bfloat16(name):
    with cuda.emulated("checked"):
        assert_rounded_once(*two_runs(LINEAR, linear_runs.draw(*SIZES[name], F32)))


@given(R=size, O=size, I=size)
def test_linear_of_bfloat16_of_any_shape(R, O, I):
    with cuda.emulated():
        assert_rounded_once(*two_runs(LINEAR, linear_runs.draw(R, O, I, F32)))


PLANS_OF_BFLOAT16 = [(rows, *parts) for rows in (4, 8, 16) for parts in PARTS]
DRAWN_PLANS_OF_BFLOAT16 = PLANS_OF_BFLOAT16[4:5]


@pytest.mark.parametrize(("rows", "parts", "fix_up"), DRAWN_PLANS_OF_BFLOAT16)
def test_linear_of_bfloat16_by_every_plan(rows, parts, fix_up, monkeypatch):
    assert_linear_of_bfloat16_by_plan(rows, parts, fix_up, monkeypatch)


def assert_linear_of_bfloat16_by_plan(rows, parts, fix_up, monkeypatch):
    monkeypatch.setattr(bf16, "plan_tiles", forced(rows, parts, fix_up))
    with cuda.emulated() as emulation:
        assert_rounded_once(*two_runs(LINEAR, linear_runs.draw(70, 132, 136, F32)))
    apart = parts > 1 and not fix_up
    assert emulation.launches["sum_partials<float, __nv_bfloat16>"] == 2 * apart
    # parts are float32
    assert emulation.launches[f"linear_forward_bf16<{rows}, __nv_bfloat16>"] == 1 - apart


def test_rows_of_bfloat16_in_whole_chunks_are_not_rewritten():
    x, w, b, gy = linear_runs.draw(9, 24, 40, F32)
    with cuda.emulated("checked") as emulation:
        _, saved = LINEAR.forward(x.astype(BFLOAT16), w, b)
        assert emulation.launches["linear_bf16_rows<__nv_bfloat16>"] == 0
        assert emulation.launches["linear_bf16_rows<float>"] == 1
        LINEAR.backward(gy.astype(BFLOAT16), saved, needs=(False, True, True))
        assert emulation.launches.total() == 3


@pytest.mark.parametrize("name", SIZES)
def test_rounded_rows_of_bfloat16(name):
    R, O, I = SIZES[name]
    x, w, _, gy = linear_runs.draw(R, O, I, F32)
    with cuda.emulated("checked"):
        found = bf16.rounded_rows((R, O, I), x=x.astype(BFLOAT16), w=w, gy=gy.astype(BFLOAT16))
    for name, array in {"x": x, "w": w, "gy": gy}.items():
        rows, columns = array.shape
        assert found[name].shape == (rows, -(-columns // 8) * 8)
        bits = found[name].view(np.uint16)
        assert (bits[:, :columns] == bits_of_bfloat16(round_to_bfloat16(array))).all()
        assert not bits[:, columns:].any()


def test_rows_of_bfloat16_that_begin_anywhere():
    x, w, b, gy = linear_runs.draw(9, 24, 40, F32)
    shifted = np.empty(x.size + 1, BFLOAT16)[1:].reshape(x.shape)
    shifted[...] = x
    with cuda.emulated("checked"):
        y, saved = LINEAR.forward(shifted, w, b)
        got = y, *LINEAR.backward(gy.astype(BFLOAT16), saved)
        assert_rounded_once(got, two_runs(LINEAR, (x, w, b, gy))[1])


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d_of_bfloat16(name):
    case = CONVOLUTIONS[name]
    with cuda.emulated("checked"):
        assert_rounded_once(*two_runs(CONV2D, case.draw(F32), **case.params))


LAYERS = {
    "alexnet's first": Conv((2, 3, 31, 31), 64, (11, 11), (4, 4), (2, 2)),
    "alexnet's second": Conv((2, 64, 7, 7), 72, (5, 5), padding=(2, 2)),
    "without a bias": Conv((2, 24, 6, 5), 16, (3, 3), padding=(1, 1), bias=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_bfloat16(name):
    case = LAYERS[name]
    with cuda.emulated():
        assert_rounded_once(*two_runs(CONV2D, case.draw(F32), **case.params))


@pytest.mark.parametrize(("rows", "parts", "fix_up"), DRAWN_PLANS_OF_BFLOAT16)
def test_conv2d_of_bfloat16_by_every_plan(rows, parts, fix_up, monkeypatch):
    assert_conv_of_bfloat16_by_plan(rows, parts, fix_up, monkeypatch)


def assert_conv_of_bfloat16_by_plan(rows, parts, fix_up, monkeypatch):
    monkeypatch.setattr(multistage, "plan_tiles", forced(rows, parts, fix_up))
    case = Conv((2, 34, 7, 6), 20, (3, 2), (1, 2), (1, 1), groups=2)
    with cuda.emulated() as emulation:
        assert_rounded_once(*two_runs(CONV2D, case.draw(F32), **case.params))
    apart = parts > 1 and not fix_up
    assert emulation.launches["sum_partials<float, __nv_bfloat16>"] == 2 * apart
    assert emulation.launches[f"conv2d_forward_bf16<{rows}, __nv_bfloat16>"] == 1 - apart


@pytest.mark.parametrize("needs", list(itertools.product((False, True), repeat=3))[1:])
@pytest.mark.parametrize("op", ["linear", "conv2d"])
def test_gradients_of_bfloat16_that_are_needed(op, needs):
    if op == "linear":
        one, arrays, params = LINEAR, linear_runs.draw(9, 36, 40, F32), {}
    else:
        case = CONVOLUTIONS["dilated"]
        one, arrays, params = CONV2D, case.draw(F32), case.params
    with cuda.emulated("checked"):
        assert_rounded_once(*two_runs(one, arrays, {"needs": needs}, **params))


@pytest.mark.parametrize("op", ["linear", "conv2d"])
def test_gradients_of_bfloat16_are_written_where_they_are_wanted(op):
    if op == "linear":
        one, (x, w, b, gy), params = LINEAR, linear_runs.draw(9, 36, 40, F32), {}
    else:
        case = CONVOLUTIONS["dilated"]
        one, (x, w, b, gy), params = CONV2D, case.draw(F32), case.params
    out = np.empty(x.shape, BFLOAT16), np.empty(w.shape, F32), np.empty(b.shape, F32)
    with cuda.emulated("checked"):
        y, saved = one.forward(x.astype(BFLOAT16), w, b, **params)
        got = one.backward(gy.astype(BFLOAT16), saved, out=out, **params)
        assert all(g is o for g, o in zip(got, out, strict=True))
        assert_rounded_once((y, *got), two_runs(one, (x, w, b, gy), **params)[1])


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("op", ["linear", "conv2d"])
def test_what_is_not_finite_in_bfloat16(op, number):
    if op == "linear":
        one, arrays, params = LINEAR, linear_runs.draw(9, 36, 41, F32), {}
    else:
        case = CONVOLUTIONS["groups, channels in no whole chunks"]
        one, arrays, params = CONV2D, case.draw(F32), case.params
    arrays[0].flat[7] = arrays[3].flat[5] = number
    with cuda.emulated(), np.errstate(all="ignore"):
        got, wanted = two_runs(one, arrays, **params)
    assert_rounded_once(got, wanted)
    for name, g in zip(("y", "gx", "gw", "gb"), got, strict=True):
        assert not np.isfinite(g.astype(F32)).all() or number == 3e38, name


@pytest.mark.parametrize("case", REWRITTEN)
def test_channels_last_of_bfloat16(case):
    x, w, _, gy = REWRITTEN[case].draw(F32)
    s = checked_shape(x, w, **REWRITTEN[case].params)
    given = {"x": x.astype(BFLOAT16), "w": w, "gy": gy.astype(BFLOAT16)}
    for names in ("x", "w"), ("gy", "x", "w"), ("gy", "x"), ("gy", "w"):
        some = {name: given[name] for name in names}
        numbers = {name: array.astype(F32) for name, array in some.items()}
        with cuda.emulated("checked") as emulation:
            found = multistage.channels_last(s, multistage.BF16, **some)
            assert emulation.launches.total() == 1
            wanted = multistage.channels_last(s, multistage.BF16, **numbers)
        assert set(found) == set(names)
        for name in names:
            np.testing.assert_array_equal(found[name], wanted[name])


# ---- what the hardware has -----------------------------------------------------------------------


def test_the_same_bits_in_any_order_of_threads():
    case = CONVOLUTIONS["groups, channels in no whole chunks"]

    def bits(**settings):
        with cuda.emulated(**settings):
            return [a.tobytes() for a in conv2d_runs.results(case, FP32, F32)]

    natural = bits()
    assert bits(seed=1) == natural
    assert bits(seed=2) == natural


def test_the_number_of_stages_changes_no_bit():
    assert_the_same_bits("sm_120", "sm_90")


def assert_the_same_bits(few, many):
    """Of two architectures that add up alike, one of which has room for fewer stages."""
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


BUILDS = list(itertools.product([FP32, BF16], TENSOR_CORES))
DRAWN_BUILDS = [(FP32, "sm_120"), (BF16, "sm_90")]


@pytest.mark.parametrize(("rung", "name"), DRAWN_BUILDS)
def test_a_kernel_has_as_many_stages_as_memory_is_asked_for(rung, name, monkeypatch):
    assert_one_stage_less_is_too_little(rung, name, monkeypatch)


def assert_one_stage_less_is_too_little(rung, name, monkeypatch):
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
@pytest.mark.parametrize(("rung", "capability"), [(FP32, 86), (BF16, 90)])
def test_the_compiler_sees_as_many_stages_as_the_host_has(rung, capability):
    assert_stages_seen(rung, capability)


def assert_stages_seen(rung, capability):
    """The memory that Coords take says how many there are."""
    file = "conv2d_bf16.cu" if rung == BF16 else "conv2d_multistage.cu"
    itemsize = tiling.STAGE_ARITHMETICS[rung].itemsize
    (usage,) = nvrtc.usage(file, f"sm_{capability}", [instance("conv2d_forward", rung, 4)])
    assert usage.shared // (16 * 72 // itemsize) == tiling.num_stages(capability, itemsize)


MAIN_LOOP = {"stage_panels.cuh", "async_copy.cuh", "vectors.cuh"}
COUNTED = list(itertools.product(["linear", "conv2d"], [FP32, BF16], tiling.THREAD_ROWS))
DRAWN_COUNTED = [("linear", BF16, 4), ("conv2d", FP32, 4)]


@pytest.mark.parametrize(("op", "rung", "rows"), DRAWN_COUNTED)
def test_no_bank_conflicts_and_no_sector_too_many(op, rung, rows, monkeypatch):
    assert_no_conflict_and_no_sector_too_many(op, rung, rows, monkeypatch)


def assert_no_conflict_and_no_sector_too_many(op, rung, rows, monkeypatch):
    module = linear_module(rung) if op == "linear" else multistage
    monkeypatch.setattr(module, "plan_tiles", forced(rows, 1, False))
    with cuda.emulated("counted") as emulation:
        if op == "linear":
            linear_runs.results(rung, *linear_runs.draw(128, 128, 128, F32))
        else:
            conv2d_runs.results(Conv((2, 16, 8, 8), 128, (3, 3), padding=(1, 1)), rung, F32)
    products = f"{op}_{'bf16' if rung == BF16 else 'multistage'}.cu"
    launches = [c for c in emulation.counts if c.plan.source.file == products]
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
