"""The three stages of ``docs/tuning``: right at every edge, and what their lines ask of memory."""

from __future__ import annotations

import numpy as np
import pytest

from docs.tuning.layer_norm import HERE, STAGES, by_definition, example
from minialex import cuda
from minialex.cuda import nvrtc
from tests.cuda.tools import compiles

by_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.file)


@by_stage
@pytest.mark.parametrize("shape", [(2, 64, 8, 8), (1, 128, 6, 6), (3, 64, 2, 2)], ids=str)
def test_a_stage_normalises(stage, shape):
    x, gamma, beta = example(shape)
    with cuda.emulated("checked"):
        y = stage(x, gamma, beta)
    np.testing.assert_allclose(y, by_definition(x, gamma, beta), rtol=1e-5, atol=1e-5)


@compiles
@by_stage
def test_no_stage_spills(stage):
    for usage in nvrtc.usage(HERE / stage.file, "sm_86"):
        assert usage.spill_stores == usage.spill_loads == usage.stack == 0
        # five blocks of 256 threads, of the 65,536 that a multiprocessor has
        assert usage.registers <= 48


SECTORS, WAVEFRONTS = "sectors", "wavefronts"
BY_HAND = {
    # 128 pixels, a warp each, two requests of 32 channels that are 64 pixels, 256 bytes, apart
    "1_naive.cu": [
        ("for the mean", "read", "x", 256, SECTORS, 32, 4),
        ("for the variance", "read", "x", 256, SECTORS, 32, 4),
        ("to normalise it", "read", "x", 256, SECTORS, 32, 4),
        ("the result", "write", "y", 256, SECTORS, 4, 4),
        ("the result", "read", "gamma", 256, SECTORS, 4, 4),
    ],
    # 4 blocks of 64 channels, a row of 32 pixels each: the copy lies along it; the rest goes down a
    # column, 32 words of one bank
    "2_shared_tile.cu": [
        ("the copy", "read", "x", 256, SECTORS, 4, 4),
        ("the copy", "write", "tile", 256, WAVEFRONTS, 1, 1),
        ("for the mean", "read", "tile", 256, WAVEFRONTS, 32, 1),
        ("for the variance", "read", "tile", 256, WAVEFRONTS, 32, 1),
        ("to normalise it", "read", "tile", 256, WAVEFRONTS, 32, 1),
        ("the result", "write", "y", 256, SECTORS, 4, 4),
    ],
    # vectors: a quarter of the requests for four times the bytes
    "3_padded_vectors.cu": [
        ("the copy", "read", "x", 64, SECTORS, 16, 16),
        *((f"pixel {k}", "write", "tile", 64, WAVEFRONTS, 1, 1) for k in range(4)),
        ("all its channels", "read", "tile", 256, WAVEFRONTS, 1, 1),
        ("four of gamma", "read", "gamma", 64, SECTORS, 4, 4),
        ("the result", "write", "y", 64, SECTORS, 16, 16),
    ],
}
"""Marker, access, array, requests; sectors or wavefronts per request, and the least of them."""


@by_stage
def test_a_stage_asks_of_memory_what_was_computed_by_hand(stage):
    with cuda.emulated("counted") as emulation:
        stage(*example())
    (counts,) = emulation.counts
    lines = (HERE / stage.file).read_text().splitlines()
    found = {
        (lines[one.line - 1].rpartition("// ")[2], one.access, one.array): one
        for one in counts.memory
    }
    for marker, access, array, requests, unit, each, least in BY_HAND[stage.file]:
        row = found[marker, access, array]
        assert (row.requests, row.lanes) == (requests, 32 * requests)
        assert getattr(row, unit) == each * requests, marker
        assert getattr(row, f"least_{unit}") == least * requests, marker
