"""How far totals may be off where only some blocks of a launch were counted."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda.emulator.sampling import Sample
from minialex.study.profile import profiled
from tests.cuda.tools import kernel

F32 = np.float32


def sampled(grid, work, most=27):
    """Return by how much the total of a sample is off, and its standard error."""
    values = np.broadcast_to(work, grid[::-1]).reshape(-1)
    sample, seen = Sample(grid, most), {}
    while True:
        weights = sample.weights()
        seen |= {block: float(values[block]) for block in weights}
        if not sample.refine(seen):
            break
    total = sum(weight * values[block] for block, weight in weights.items())
    return total / values.sum() - 1, sample.standard_error(seen)


@pytest.mark.parametrize("grid", [(400, 1, 1), (5000, 1, 1), (30, 40, 1)])
@pytest.mark.parametrize("spread", ["even", "geometric", "narrow"])
def test_it_is_as_large_as_the_error_where_blocks_differ_at_random(grid, spread):
    rng = np.random.default_rng(1)
    draw = {
        "even": lambda: rng.random(grid[::-1]),
        "geometric": lambda: rng.geometric(0.1, grid[::-1]),
        "narrow": lambda: 1 + 0.1 * rng.standard_normal(grid[::-1]),
    }[spread]
    off, error = np.array([sampled(grid, draw()) for _ in range(30)]).T
    assert 0.7 < np.sqrt((error**2).mean() / (off**2).mean()) < 1.5
    assert (np.abs(off) < 3 * error).mean() > 0.9


def test_it_is_none_where_blocks_are_alike_but_for_the_edges_or_all_ran():
    alike = np.ones(400)
    alike[[0, -1]] = 0.9, 0.3
    assert sampled((400, 1, 1), alike) == (pytest.approx(0), 0)
    # parts of one block stand for themselves
    assert sampled((25, 1, 1), np.arange(1, 26)) == (pytest.approx(0), 0)
    assert sampled((400, 1, 1), np.zeros(400) + 1e-300)[1] == 0


def test_a_steady_change_is_taken_for_chance():
    off, error = sampled((400, 1, 1), np.arange(400) + 400, most=9)
    assert abs(off) < error < 0.1


def test_without_a_neighbour_that_stands_for_several_the_edge_that_is_more_like_it_tells():
    # the first, five for which the second stands, and the last
    off, error = sampled((7, 1, 1), np.array([4, 4, 4, 4, 4, 4, 1]), most=3)
    assert (off, error) == (0, 0)
    values = np.array([5, 4, 4, 4, 4, 4, 4])
    off, error = sampled((7, 1, 1), values, most=3)
    assert error == 0
    _, error = sampled((7, 1, 1), np.array([5, 4, 4, 4, 4, 4, 4.5]), most=3)
    assert error == pytest.approx(np.sqrt(5 * 4 * 0.5**2 / 2) / 29.5)


ROWS = 500


@pytest.fixture(scope="module")
def launched():
    """Return a profile of sums of as many elements as each block is told, and their number."""
    lengths = np.random.default_rng(0).integers(1, 40, ROWS).astype(np.int32)
    x, y = np.ones((40, 32), F32), np.zeros((ROWS, 32), F32)
    with profiled() as profile:
        kernel("loops.cu", "sums_of_some")(ROWS, 32, x, lengths, y)
    (found,) = profile.launches
    return found, lengths


def test_a_launch_whose_blocks_differ_at_random_says_so(launched):
    found, lengths = launched
    (read,) = [row for row in found.counts.memory if row.array == "x"]
    off = read.requests / lengths.sum() - 1
    assert 0.02 < found.counts.standard_error < 0.3
    assert abs(off) < 3 * found.counts.standard_error
    assert found.to_json()["standard_error"] == found.counts.standard_error
    percent = f"{100 * found.counts.standard_error:.0f} %"
    first = str(found).partition("\n")[0]
    assert first.endswith(f"counted (standard error of totals: {percent})")


def test_a_launch_whose_blocks_are_alike_is_known():
    x, y = np.ones(64000, F32), np.zeros(64000, F32)
    with cuda.emulated("counted") as emulation:
        kernel("elementwise.cu", "rectify")(250, 256, x, y, 64000)
    (found,) = emulation.counts
    assert found.counted < found.blocks
    assert found.standard_error == 0
