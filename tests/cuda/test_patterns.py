"""The emulator counts what the known patterns take."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from tests.cuda.patterns import FILE, PATTERNS
from tests.cuda.tools import KERNELS, line_of

COUNTED = (
    *("requests", "lanes", "sectors", "least_sectors", "lines"),
    *("wavefronts", "least_wavefronts", "first"),
)
by_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=str)


def line(marker):
    """Return file and line of the one line that ends in the comment `marker`."""
    return (KERNELS / FILE).as_posix(), line_of(FILE, f"// {marker}")


@by_pattern
def test_a_pattern_computes_what_it_says(pattern):
    with cuda.emulated("checked"):
        found = pattern.launch()
    for y, wanted in zip(found, pattern.outputs, strict=True):
        np.testing.assert_array_equal(y, wanted)


@by_pattern
def test_a_pattern_takes_what_is_known(pattern):
    with cuda.emulated("counted") as emulation:
        pattern.launch()
    (counts,) = emulation.counts
    rows = {(one.file, one.line, one.access, one.array): one for one in counts.memory}
    for known in pattern.accesses:
        found = rows[*line(known.marker), known.access, known.array]
        assert found.width == known.width
        # also where a grid is larger, of which some blocks are counted and stand for others
        wanted = {name: getattr(known, name) for name in COUNTED}
        assert {name: getattr(found, name) for name in COUNTED} == wanted, known.marker


@pytest.mark.parametrize("pattern", [one for one in PATTERNS if one.branches], ids=str)
def test_a_branch_diverges_where_it_is_known_to(pattern):
    with cuda.emulated("counted") as emulation:
        pattern.launch()
    (counts,) = emulation.counts
    found = {(one.file, one.line): (one.requests, one.divergent) for one in counts.branches}
    for known in pattern.branches:
        assert found[line(known.marker)] == (known.executions, known.divergent), known.marker


@pytest.mark.parametrize("pattern", [one for one in PATTERNS if one.barriers], ids=str)
def test_a_barrier_is_waited_at_by_so_many_warps(pattern):
    with cuda.emulated("counted") as emulation:
        pattern.launch()
    (counts,) = emulation.counts
    found = {(one.file, one.line, one.kind): one.requests for one in counts.primitives}
    for marker, warps in pattern.barriers:
        assert found[*line(marker), "barrier"] == warps
