"""Every planted fault is found, in every schedule; no correct kernel is accused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import cuda
from tests.cuda.tools import kernel, line_of

F32, I32, U32 = np.float32, np.int32, np.uint32
FILE = "faults.cu"
SEEDS = [None, 0, 1, 2, 3]


def zeros(*shape, dtype=F32):
    return np.zeros(shape, dtype)


def launch(name, grid, block, *args, mode="checked", seed=None, optional=(), **options):
    with cuda.emulated(mode, seed=seed):
        kernel(FILE, name, optional=optional)(grid, block, *args, **options)


def caught(*args, **options):
    with pytest.raises(cuda.EmulationError) as info:
        launch(*args, **options)
    return info.value


def product(fault, N=20, **options):
    A = np.random.default_rng(0).standard_normal((N, N)).astype(F32)
    C, blocks = zeros(N, N), cuda.blocks(N, 8)
    launch("product", (blocks, blocks), (8, 8), A, A.copy(), C, N, fault, **options)
    return A, C


RACES = {
    "no barrier after a tile load": (
        ("product", (3, 3), (8, 8), zeros(20, 20), zeros(20, 20), zeros(20, 20), 20, 1),
        "FAULT tile",
    ),
    "no barrier before the next load": (
        ("product", (3, 3), (8, 8), zeros(20, 20), zeros(20, 20), zeros(20, 20), 20, 2),
        "FAULT tile",
    ),
    "a reduction's buffer used again": (
        ("mean_and_largest", 3, 96, zeros(3, 50), zeros(3, 2), 50, 1),
        "FAULT reuse",
    ),
    "no __syncwarp between two lanes": (
        ("neighbours", 1, 64, zeros(64, dtype=I32), 1),
        "FAULT neighbour",
    ),
    "one writes what another reads": (
        ("neighbours", 1, 64, zeros(64, dtype=I32), 3),
        "FAULT box",
    ),
    "a plain sum over blocks": (
        ("block_totals", 4, 64, zeros(256), zeros(2), 1),
        "FAULT plain",
    ),
    "a plain read beside atomics": (
        ("block_totals", 4, 64, zeros(256), zeros(2), 2),
        "FAULT read",
    ),
    "no fence before the last block reads": (
        ("without_fence", 4, 1, zeros(4), zeros(4), zeros(1, dtype=U32), zeros(1)),
        "FAULT unfenced",
    ),
    "one of those that write one place writes another value": (
        ("nearly_one_value", 1, 64, zeros(64, dtype=I32), 1),
        "FAULT another",
    ),
    "a second value before the barrier": (
        ("nearly_one_value", 1, 64, zeros(64, dtype=I32), 2),
        "FAULT later",
    ),
    "a value that others write, too, is read before the barrier": (
        ("nearly_one_value", 1, 64, zeros(64, dtype=I32), 3),
        "FAULT early",
    ),
    "an atomic beside a write of the same value": (
        ("nearly_one_value", 1, 64, zeros(64, dtype=I32), 4),
        "FAULT atomic",
    ),
    "all blocks write one place": (("same_place", 4, 1, zeros(1, dtype=I32)), "FAULT all write"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("what", RACES)
def test_races_are_found_in_every_schedule(what, seed):
    args, marker = RACES[what]
    error = caught(*args, seed=seed)
    assert error.kind == "race"
    # Either side of a race may run first: both lines are told.
    assert f"{FILE}:{line_of(FILE, marker)} " in str(error)


def test_a_race_names_element_place_and_both_threads():
    error = caught(*RACES["no barrier after a tile load"][0])
    assert str(error).startswith(
        "product: race on a[0][0] in shared memory: a read and a write, no barrier between them\n"
    )
    assert "by thread (0, 0, 0) of block (0, 0, 0)" in str(error)
    assert (error.array, error.index) == ("a", 0)
    assert (error.block, error.thread) == ((0, 0, 0), (1, 0, 0))
    assert error.line == line_of(FILE, "FAULT tile")


@pytest.mark.parametrize(
    ("what", "element", "said", "kinds"),
    [
        ("all blocks write one place", "out[0]", "two writes", ["write", "write"]),
        ("a plain sum over blocks", "total[0]", "a read and a write", ["write", "read"]),
        ("a plain read beside atomics", "total[0]", "an atomic and a read", ["read", "atomic"]),
    ],
)
def test_a_race_between_blocks_names_both_accesses(what, element, said, kinds):
    args, marker = RACES[what]
    first, *sides = str(caught(*args)).splitlines()
    assert first == (
        f"{args[0]}: race on {element} in global memory: {said}, blocks run in any order"
    )
    # what ran first stands first
    assert [side.split()[0] for side in sides[::2]] == kinds
    assert sides[1::2] == [f"  by thread (0, 0, 0) of block ({block}, 0, 0)" for block in (0, 1)]
    assert any(side.endswith(marker) for side in sides[::2])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_result_written_without_asking_whether_it_exists(seed):
    error = caught("product", (3, 3), (8, 8), *(zeros(20, 20) for _ in range(3)), 20, 3, seed=seed)
    # Past the end of a row lies the next row, which another block writes, or nothing at all.
    assert error.kind in ("race", "out-of-bounds")
    assert (error.array, error.line) == ("C", line_of(FILE, "FAULT unguarded"))


def test_a_missing_barrier_shows_in_a_fast_run_too():
    A, C = product(1, mode="fast")
    assert np.isnan(C).any()
    A, C = product(0, mode="fast")
    np.testing.assert_allclose(C, A @ A, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_uninitialised_shared_memory(seed):
    error = caught("half_written", 1, 32, zeros(32), seed=seed)
    assert (error.kind, error.line) == ("uninitialised", line_of(FILE, "FAULT uninitialised"))
    assert (error.array, error.index, error.thread) == ("box", 31, (0, 0, 0))
    assert "reads box[31], which no thread wrote" in str(error)


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("args", "marker", "other"),
    [
        (("some_threads_only", 2, 32, zeros(32, dtype=I32)), "FAULT divergent", "has returned"),
        (("early_return", 2, 32, zeros(64, dtype=I32), 50), "FAULT returned", "has returned"),
        (("two_barriers", 1, 32, zeros(32, dtype=I32)), "FAULT other", "is in __syncthreads at"),
    ],
)
def test_divergent_barriers(mode, seed, args, marker, other):
    error = caught(*args, mode=mode, seed=seed)
    assert (error.kind, error.array, error.index) == ("divergent barrier", "", -1)
    assert f"{FILE}:{line_of(FILE, marker)} " in str(error) + " "
    assert other in str(error)


@pytest.mark.parametrize(
    ("by", "index", "thread", "where"),
    [
        (1, 50, 49, "past its end"),
        (-1, -1, 0, "before its start"),
        (10**6, 10**6, 0, "past its end"),
    ],
)
def test_reads_outside_an_argument(by, index, thread, where):
    # Slices of one array, so that what lies beside them is memory that may be touched.
    arena = zeros(100)
    error = caught("shifted", 1, 64, arena[10:60], zeros(50), 50, by, 1)
    assert (error.kind, error.array, error.index) == ("out-of-bounds", "x", index)
    assert error.line == line_of(FILE, "FAULT reads outside")
    assert error.thread == (thread, 0, 0)
    assert f"out-of-bounds read: x[{index}] is {where}; x has 50 elements, shape (50)" in str(error)


def test_an_address_beyond_all_arrays_is_told_as_it_is():
    error = caught("shifted", 1, 1, zeros(50), zeros(50), 1, 2**30, 1)
    assert (error.kind, error.array, error.index) == ("out-of-bounds", "", -1)
    assert re.search(r"out-of-bounds read: address 0x[0-9a-f]+ is near no array\n", str(error))


def test_neighbours_in_one_arena_are_told_apart():
    arena = zeros(100)
    error = caught("shifted", 1, 64, arena[:50], arena[50:], 50, 1, 1)
    assert (error.array, error.index) == ("x", 50)


def test_a_write_outside_an_argument_names_the_index():
    with cuda.edited("relu.cu", "slice(n, begin_vectors(x", "slice(n + 1, begin_vectors(x"):
        error = None
        with cuda.emulated("checked"), pytest.raises(cuda.EmulationError) as info:
            cuda.kernel("relu.cu", "relu_forward")(2, 8, zeros(5, 8), zeros(5, 8), 40)
        error = info.value
    assert (error.kind, error.array, error.index) == ("out-of-bounds", "x", 40)
    assert (error.kernel, error.file) == ("relu_forward<float>", "slices.cuh")
    assert (error.block, error.thread) == ((1, 0, 0), (2, 0, 0))
    assert "pack[k] = a && k < count ? Number(a[first + k]) : Number(0);" in str(error)


def test_a_failed_launch_leaves_its_arrays_alone():
    y = np.full(50, 3, F32)
    caught("shifted", 1, 64, zeros(50), y, 50, 1, 1)
    assert (y == 3).all()


@pytest.mark.parametrize(
    ("fault", "array", "said"),
    [
        (1, "dynamic", "write of shared memory: dynamic[32] is past its end; dynamic has 32"),
        (2, "fixed", "index: fixed[32] is past its end; fixed has 32"),
    ],
)
def test_writes_past_shared_memory(fault, array, said):
    error = caught("past_shared", 1, 32, zeros(32), fault, shared=128)
    assert (error.kind, error.array, error.index) == ("out-of-bounds", array, 32)
    assert error.line == line_of(FILE, f"FAULT {array}")
    assert error.thread == (31, 0, 0)
    assert f"out-of-bounds {said}" in str(error)


def test_dynamic_shared_memory_that_was_not_asked_for():
    error = caught("past_shared", 1, 32, zeros(32), 0)
    assert (error.array, error.index) == ("dynamic", 0)
    assert "it asked for none: give shared=" in str(error)


def test_a_null_pointer():
    error = caught("without_bias", 1, 32, None, zeros(32), optional=("bias",))
    assert error.kind == "out-of-bounds"
    assert "read through a null pointer: the argument was None" in str(error)
    assert error.line == line_of(FILE, "FAULT null")


@pytest.mark.parametrize(
    ("x", "offset"), [(zeros(8), 1), (zeros(9)[1:], 0)], ids=["odd offset", "odd slice"]
)
@pytest.mark.parametrize("mode", ["checked", "counted"])
def test_a_vector_across_its_alignment(x, offset, mode):
    launch("four_at_once", 1, 1, zeros(8), zeros(8), 4, mode=mode)
    error = caught("four_at_once", 1, 1, x, zeros(8), offset, mode=mode)
    assert (error.kind, error.line) == ("misaligned", line_of(FILE, "FAULT misaligned"))
    assert str(error).splitlines()[0] == (
        f"four_at_once: misaligned read: 16 bytes at x[{offset}], which a GPU takes only at a "
        "multiple of as many"
    )


@pytest.mark.parametrize("mode", ["checked", "counted"])
def test_a_struct_is_aligned_as_it_is_declared_not_as_it_is_wide(mode):
    x, y = np.arange(17, dtype=F32), zeros(19)
    launch("structs_at_once", 1, 1, x[1:], y[1:], mode=mode)
    assert y.tolist() == [0, *range(1, 17), 1, 2]


@pytest.mark.parametrize(("size", "of_result", "array"), [(14, 16, "x"), (16, 14, "y")])
def test_a_struct_that_a_function_takes_or_returns_is_watched(size, of_result, array):
    x, y = np.arange(16, dtype=F32), zeros(16)
    launch("turned", 1, 8, x, y, (0.0, 1.0))
    assert y.view(np.complex64).tolist() == (1j * x.view(np.complex64)).tolist()
    error = caught("turned", 1, 8, zeros(size), zeros(of_result), (0.0, 1.0))
    assert (error.kind, error.array, error.index) == ("out-of-bounds", array, 14)
    assert error.line == line_of(FILE, "FAULT by value")


@pytest.mark.parametrize(
    ("size", "of_result", "adds", "array"),
    [(31, 32, False, "x"), (32, 31, False, "y"), (31, 1, True, "x")],
)
def test_halves_that_an_atomic_or_a_shuffle_takes_or_returns_are_watched(
    size, of_result, adds, array
):
    error = caught("halves_by_value", 1, 32, zeros(size), zeros(of_result), adds)
    assert (error.kind, error.array, error.index) == ("out-of-bounds", array, 31)
    assert error.line == line_of(FILE, "FAULT added" if adds else "FAULT shuffled")


@pytest.mark.parametrize("mode", ["fast", "checked", "counted"])
def test_where_a_buffer_lies_is_no_fault_of_the_kernel(mode):
    # 4 bytes behind what the processor takes for a float4; a GPU has copies of its own
    memory = zeros(16 + 3)
    begin = (4 - memory.ctypes.data) % 16
    x, y = (np.frombuffer(memory.data, F32, 8, begin + at) for at in (0, 32))
    x[:] = np.arange(8)
    launch("four_at_once", 1, 1, x, y, 4, mode=mode)
    assert y.tolist() == [4, 5, 6, 7, 0, 0, 0, 0]


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(
    ("fault", "marker", "message"),
    [
        (1, "FAULT absent", r"__shfl_xor_sync waits for ever: its mask names thread \(16, 0, 0\)"),
        (2, "FAULT left out", "__shfl_xor_sync is called by a lane that its own mask leaves out"),
        (3, "FAULT from outside", "__shfl_down_sync reads from a lane that is not in the mask"),
        (4, "FAULT mixed", "lanes of one mask meet in different primitives: __shfl_"),
    ],
)
def test_misused_warp_primitives(mode, seed, fault, marker, message):
    with pytest.raises(cuda.EmulationError, match=message) as info:
        launch("half_warp", 1, 32, zeros(32), zeros(32), fault, mode=mode, seed=seed)
    assert info.value.kind == "warp"
    # Mixed primitives stand on two lines, and either may be reached first.
    lines = {line_of(FILE, marker)} | ({line_of(FILE, marker) - 1} if fault == 4 else set())
    assert info.value.line in lines


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize(
    ("fault", "marker", "message"),
    [(1, "trap", "__trap() was reached"), (2, "assert", "assert(fault != 2) failed")],
)
def test_traps(mode, fault, marker, message):
    error = caught("traps", 1, 1, zeros(1, dtype=I32), fault, mode=mode)
    assert (error.kind, error.line) == ("trap", line_of(FILE, f"FAULT {marker}"))
    assert message in str(error)


def test_more_shared_memory_than_a_block_may_declare(tmp_path):
    path = tmp_path / "big.cu"
    path.write_text(
        "__global__ void big(float* y) {\n    __shared__ float a[12 * 1024], b[256];\n"
        "    a[threadIdx.x] = b[threadIdx.x] = 1;\n    y[threadIdx.x] = a[0] + b[0];\n}\n"
    )
    with cuda.emulated(), pytest.raises(cuda.EmulationError, match="__shared__ b does not") as info:
        cuda.kernel(path, "big")(1, 32, zeros(32))
    assert (info.value.kind, info.value.kernel) == ("shared memory", "big")


def test_after_a_fault_the_next_launch_is_right():
    for mode in ("fast", "checked"):
        caught("two_barriers", 4, 64, zeros(64, dtype=I32), mode=mode)
        A, C = product(0, mode=mode)
        np.testing.assert_allclose(C, A @ A, atol=1e-5)


def test_without_addr2line_the_fault_is_still_told(monkeypatch):
    monkeypatch.setattr("minialex.cuda.emulator.system.shutil.which", lambda _: None)
    error = caught("shifted", 1, 64, zeros(50), zeros(50), 50, 1, 1)
    assert (error.kind, error.array, error.index, error.line) == ("out-of-bounds", "x", 50, 0)


# ---- correct kernels are not accused -------------------------------------------------------------

seeds = st.one_of(st.none(), st.integers(0, 1000))


@given(st.integers(1, 26), seeds)
def test_a_right_product_is_not_accused(N, seed):
    A, C = product(0, N=N, seed=seed)
    np.testing.assert_allclose(C, A @ A, atol=1e-4)


@given(st.integers(1, 300), st.sampled_from([32, 64, 96, 256, 1024]), seeds)
def test_right_reductions_are_not_accused(C, block, seed):
    x = np.random.default_rng(C).standard_normal((3, C)).astype(F32)
    y = zeros(3, 2)
    launch("mean_and_largest", 3, block, x, y, C, 0, seed=seed)
    np.testing.assert_allclose(y, np.stack([x.mean(1), x.max(1)], 1), atol=1e-5)


@given(seeds, st.sampled_from([1, 2, 7, 16]), st.sampled_from([32, 64, 128]))
def test_right_kernels_of_many_blocks_are_not_accused(seed, blocks, block):
    x = np.random.default_rng(blocks).integers(-9, 9, blocks * block).astype(F32)
    total = zeros(2)
    launch("block_totals", blocks, block, x, total, 0, seed=seed)
    assert total[0] == x.sum()
    total = zeros(1)
    with cuda.emulated("checked", seed=seed):
        kernel("features.cu", "last_block")(
            blocks, block, x, zeros(blocks), zeros(1, dtype=U32), total
        )
        kernel("features.cu", "reductions")(blocks, block, x, zeros(blocks * block, 4))
        out = zeros(8)
        kernel("features.cu", "histogram")(blocks, block, (x % 8).astype(I32), out, x.size)
        kernel("features.cu", "warp_mates")(1, 32, zeros(32, dtype=I32))
        kernel("features.cu", "declarations")(1, 64, zeros(64, dtype=I32))
    assert total[0] == x.sum()
    assert (out == np.bincount((x % 8).astype(int), minlength=8)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_right_warps_and_neighbours_are_not_accused(seed):
    launch("half_warp", 1, 32, zeros(32), zeros(32), 0, seed=seed)
    launch("nearly_one_value", 1, 64, zeros(64, dtype=I32), 0, seed=seed)
    launch("neighbours", 1, 64, zeros(64, dtype=I32), 0, seed=seed)
    launch("past_shared", 1, 32, zeros(32), 0, seed=seed, shared=128)
    launch("traps", 1, 1, zeros(1, dtype=I32), 0, seed=seed)
