"""The emulator counts what the known patterns take."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from tests.cuda.patterns import FILE, PATTERNS
from tests.cuda.tools import line_of


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_a_pattern_computes_what_it_says(pattern):
    with cuda.emulated("checked"):
        found = pattern.launch()
    for y, wanted in zip(found, pattern.outputs, strict=True):
        np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_every_line_that_is_counted_is_there(pattern):
    markers = [one.marker for one in (*pattern.accesses, *pattern.branches)]
    assert all(line_of(FILE, f"// {marker}") for marker in markers)
