"""Asynchronous copies: what they bring, and what is said when they are not waited for."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import source
from minialex.cuda.emulator import EmulationError
from tests.cuda.tools import KERNELS, kernel, line_of

F32 = np.float32
FILE = "library/asynchronous_copies.cu"
SEEDS = [None, 1, 2, 3]


def run(name, grid, block, *arrays, mode="checked", seed=None, shared=0):
    with cuda.emulated(mode, seed=seed) as emulation:
        kernel(FILE, name)(grid, block, *arrays, shared=shared)
    return emulation


def pipeline(mode="checked", seed=None):
    x = np.random.default_rng(0).standard_normal((5, 32)).astype(F32)
    y = np.zeros(32, F32)
    emulation = run("pipeline", 1, 32, x, y, 5, mode=mode, seed=seed)
    np.testing.assert_allclose(y, x.sum(axis=0), rtol=1e-6, atol=1e-6)
    return emulation


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_pipeline(mode, seed):
    pipeline(mode, seed)


def test_copies_are_counted_as_a_read_and_a_write():
    (counts,) = pipeline("counted").counts
    line = line_of(FILE, "stage[0][i], x + i, 4);")
    found = {(m.access, m.array, m.width): m.lanes for m in counts.memory if m.line == line}
    assert found == {("read", "x", 4): 32, ("write", "stage", 4): 32}


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("n", [1, 37, 64])
def test_a_group_copies_together(mode, n):
    x = np.random.default_rng(1).standard_normal((3, n)).astype(F32)
    y = np.zeros_like(x)
    run("reversed", 3, 32, x, y, n, mode=mode, shared=4 * n)
    assert (y == x[:, ::-1]).all()


def test_own_copies_and_addresses():
    x = np.arange(64, dtype=F32)
    y = np.zeros(64, F32)
    run("own", 1, 32, x, y)
    assert (y[::2] == x[::2]).all()
    assert (y[1::2] == 1).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        __pipeline_wait_prior(1);\n", ""),
        ("__pipeline_wait_prior(1)", "__pipeline_wait_prior(2)"),
        ("        __pipeline_commit();\n        __pipeline_wait", "        __pipeline_wait"),
    ],
)
def test_what_was_not_waited_for_is_touched(old, new, seed):
    with (
        source.edited(KERNELS / FILE, old, new),
        pytest.raises(EmulationError, match="asynchronous copy that has not been waited") as caught,
    ):
        pipeline(seed=seed)
    assert caught.value.kind == "race"
    assert caught.value.array == "stage"
    assert "copy at " in str(caught.value)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_s_own_copy_is_waited_for_too(seed):
    with (
        source.edited(KERNELS / FILE, "    __pipeline_wait_prior(0);\n", ""),
        pytest.raises(EmulationError, match="not been waited for"),
    ):
        run("own", 1, 32, np.zeros(64, F32), np.zeros(64, F32), seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("comment", ["the copies of others are there", "the tile has been read"])
def test_a_missing_barrier_is_a_race(comment, seed):
    with (
        source.edited(KERNELS / FILE, f"__syncthreads();  // {comment}", ""),
        pytest.raises(EmulationError) as caught,
    ):
        pipeline(seed=seed)
    assert caught.value.kind == "race"


def test_a_copy_from_beyond_an_array_is_out_of_bounds_on_its_line():
    x, y = np.zeros((4, 32), F32), np.zeros(32, F32)
    with pytest.raises(EmulationError) as caught:
        run("pipeline", 1, 32, x, y, 5)
    assert caught.value.kind == "out-of-bounds"
    assert caught.value.array == "x"
    assert caught.value.line == line_of(FILE, "x + 32 * (t + 1) + i, 4);")


def test_an_address_of_no_shared_memory_is_refused():
    with (
        source.edited(KERNELS / FILE, "generic_to_shared(pairs[i])", "generic_to_shared(x)"),
        pytest.raises(EmulationError, match="__cvta_generic_to_shared of no shared memory"),
    ):
        run("own", 1, 32, np.zeros(64, F32), np.zeros(64, F32))
