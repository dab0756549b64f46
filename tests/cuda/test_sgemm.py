"""The rungs of ``benchmarks/sgemm`` are right, free of races, and do not spill."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.sgemm.rungs import FILE, RUNGS, SgemmRung
from minialex import cuda
from minialex.cuda import disassembly, nvrtc, source
from minialex.cuda.emulator import EmulationError
from minialex.errors import MinialexError
from minialex.study.profile import profiled
from minialex.study.profile.lines import total
from tests.cuda.tools import compiles, disassembles, too_much

by_rung = pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)


def matrices(rung: SgemmRung, tiles: tuple[int, int, int]) -> list[np.ndarray]:
    """Return A, B and C of so many tiles of M, N and K, whole numbers, so that sums are exact."""
    M, N, K = (tile * count for tile, count in zip(rung.tile, tiles, strict=True))
    rng = np.random.default_rng(M + N + K)
    return [rng.integers(-8, 9, shape).astype(np.float32) for shape in ((M, K), (K, N), (M, N))]


@by_rung
@pytest.mark.parametrize("tiles", [(1, 1, 3), (2, 1, 2), (1, 2, 2)], ids=str)
def test_a_rung_is_the_product(rung, tiles):
    A, B, C = matrices(rung, tiles)
    wanted = 0.5 * (A @ B) + 3 * C
    with cuda.emulated("checked" if tiles == (2, 1, 2) else "fast"):
        rung.launch(A, B, C)
    np.testing.assert_array_equal(C, wanted)


@pytest.mark.parametrize("rung", RUNGS[2:], ids=lambda rung: rung.name)
def test_without_its_second_barrier_a_rung_races(rung):
    own = source.read(FILE).own
    body = own[own.index(rung.name + "(") :]
    between = body.split("__syncthreads();")[1]
    A, B, C = matrices(rung, (1, 1, 2))
    with (
        source.edited(FILE, between + "__syncthreads();", between),
        cuda.emulated("checked"),
        pytest.raises(EmulationError, match=r"race on [ab]_tile"),
    ):
        rung.launch(A, B, C)


@pytest.mark.parametrize(
    ("rung", "axis"),
    [(rung, axis) for rung in RUNGS for axis in range(3) if rung.tile[axis] > 1],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_size_that_is_no_multiple_of_the_tile_is_refused(rung, axis):
    A, B, C = matrices(rung, (2, 2, 2))
    M, N, K = (size - (axis == n) for n, size in enumerate((*C.shape, A.shape[1])))
    with cuda.emulated(), pytest.raises(MinialexError, match=f"{'MNK'[axis]} is .*multiple of"):
        rung.launch(A[:M, :K].copy(), B[:K, :N].copy(), C[:M, :N].copy())


@compiles
def test_no_rung_spills():
    usages = nvrtc.usage(FILE, "sm_86")
    assert [usage.kernel for usage in usages] == [rung.name for rung in RUNGS]
    for usage, rung in zip(usages, RUNGS, strict=True):
        assert usage.spill_stores == usage.spill_loads == usage.stack == 0
        threads = int(np.prod(rung.threads))
        shape = {"threads": threads, "registers": usage.registers, "shared": usage.shared}
        assert too_much("sm_86", **shape) == []


BY_HAND = {
    # A, C: 32 rows; B: one number for all lanes
    "sgemm_uncoalesced": {("read", "A"): (32, 4), ("read", "B"): (1, 1), ("write", "C"): (32, 4)},
    "sgemm_coalesced": {("read", "A"): (1, 1), ("read", "B"): (4, 4), ("write", "C"): (4, 4)},
    "sgemm_shared_tiles": {("read", "a_tile"): (1, 1), ("read", "b_tile"): (1, 1)},
    # four rows of 8 numbers
    "sgemm_thread_columns": {("read", "A"): (4, 4), ("read", "a_tile"): (1, 1)},
    # 16 lanes 8 words apart, in 4 banks; two rows 64 words apart; 16 sectors of two rows of C each
    "sgemm_thread_tiles": {
        ("read", "b_tile"): (4, 1),
        ("read", "a_tile"): (2, 1),
        ("write", "C"): (32, 4),
    },
    # vectors 8 words apart, two quarters of 8 to a bank; all 16 lanes of a half read one vector; a
    # pair of lanes stores to one column of rows 4 apart
    "sgemm_vectorised": {
        ("read", "b_tile"): (8, 4),
        ("read", "a_tile"): (2, 2),
        ("write", "a_tile"): (2, 1),
        ("write", "b_tile"): (4, 4),
        ("read", "A"): (16, 16),
        ("write", "C"): (32, 16),
    },
}
"""Sectors per request of global memory, wavefronts of shared memory, and the least of them."""


@by_rung
def test_a_rung_asks_of_memory_what_was_computed_by_hand(rung):
    A, B, C = matrices(rung, (2, 1, 32 // rung.tile[2]))
    with profiled("RTX A6000") as profile:
        rung.launch(A, B, C)
    memory = profile.launches[0].counts.memory
    for (access, array), wanted in BY_HAND[rung.name].items():
        row = total(one for one in memory if (one.access, one.array) == (access, array))
        unit = "sectors" if row.memory == "global" else "wavefronts"
        found = (getattr(row, unit) / row.requests, getattr(row, f"least_{unit}") / row.requests)
        assert found == wanted, (access, array)


MAIN_LOOPS = {
    "sgemm_uncoalesced": {"FFMA": 4, "LDG": 8},
    "sgemm_coalesced": {"FFMA": 16, "LDG": 32},
    "sgemm_shared_tiles": {"FFMA": 32, "LDG": 2, "STS": 2, "LDS": 32, "LDS.128": 8},
    "sgemm_thread_columns": {"FFMA": 64, "LDG": 2, "STS": 2, "LDS": 8, "LDS.128": 16},
    "sgemm_thread_tiles": {"FFMA": 512, "LDG": 8, "STS": 8, "LDS": 64, "LDS.128": 16},
    "sgemm_vectorised": {"FFMA": 512, "LDG.128": 2, "STS": 4, "STS.128": 1, "LDS.128": 32},
}
"""What SGEMM_CUDA's kernels, compiled by NVRTC 12.9 for sm_86, have in their main loops."""


@disassembles
@pytest.mark.skipif("12.9" not in nvrtc.versions(), reason="other versions make other code")
def test_a_main_loop_has_the_instructions_of_the_published_code():
    code = nvrtc.compiled(FILE, "sm_86", version="12.9")
    instructions = disassembly.disassemble(code.cubin)
    for name, wanted in MAIN_LOOPS.items():
        kinds = disassembly.main_loop(instructions[code.symbols[name]])[0].kinds
        moving = ("FFMA", "LDG", "LDG.128", "STS", "STS.128", "LDS", "LDS.128")
        assert {kind: kinds[kind] for kind in moving if kinds[kind]} == wanted, name


def test_the_published_times_fall():
    seconds = [rung.published_seconds for rung in RUNGS]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] == pytest.approx(0.445, abs=0.001)
