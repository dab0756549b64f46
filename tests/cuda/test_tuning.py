"""The three stages of ``docs/tuning``: right at every edge, and no slower than the page says."""

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
