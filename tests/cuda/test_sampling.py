"""Which blocks of a large launch stand for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from minialex.cuda.emulator.sampling import Sample


@pytest.mark.parametrize(
    ("grid", "most", "number"),
    [
        ((1, 1, 1), 27, 1),
        ((27, 1, 1), 27, 27),
        ((1000, 1, 1), 27, 27),
        ((500, 600, 1), 27, 25),
        ((9, 9, 9), 27, 27),
        ((2, 1000, 3), 27, 24),
        ((1000, 1000, 1000), 1, 1),
        ((1000, 1000, 1), 4, 4),
        ((3, 4, 5), None, 60),
    ],
)
def test_a_sample_has_the_corners_and_stands_for_the_grid(grid, most, number):
    weights = Sample(grid, most).weights()
    assert len(weights) == number
    assert sum(weights.values()) == np.prod(grid)
    assert list(weights) == sorted(weights)
    if most is None or most >= 27:
        assert (weights[0], weights[np.prod(grid) - 1]) == (1, 1)


def test_parts_of_an_axis_grow_towards_the_middle_and_cover_it():
    for size in (*range(2, 60), 207, 1000):
        for count in range(1, min(size, 30) + 1):
            found = Sample((size, 1, 1), count).weights()
            blocks, weights = np.array(list(found)), np.array(list(found.values()))
            assert len(blocks) == count
            assert weights.sum() == size
            ends = np.cumsum(weights)
            assert ((blocks < ends) & (blocks >= ends - weights)).all()
    # 1, g, g g, g g g, the middle, and back, with g = 3.22
    weights = Sample((207, 1, 1), 9).weights()
    assert list(weights.values()) == [1, 3, 11, 34, 109, 34, 11, 3, 1]


@pytest.mark.parametrize("change", [1, 2, 15, 60, 150, 205, 206])
def test_a_place_where_blocks_change_is_found(change):
    """Blocks below `change` do a hundred times what the others do."""
    sample, work = Sample((207, 1, 1), 9), {}
    while True:
        weights = sample.weights()
        work |= {block: 100.0 if block < change else 1.0 for block in weights}
        if not sample.refine(work):
            break
    assert len(weights) <= 27
    estimate = sum(weight * work[block] for block, weight in weights.items())
    assert estimate == 100 * change + (207 - change)


def test_the_busiest_block_is_compared_with_the_mean_of_all():
    assert Sample((4, 1, 1)).busiest({0: 1.0, 1: 1.0, 2: 1.0, 3: 5.0}) == 2.5
    # blocks that stand for others count as often
    sample = Sample((10, 1, 1), 1)
    (only,) = sample.weights()
    assert sample.busiest({only: 7.0}) == 1
    assert sample.busiest({}) == 1
