"""The pages that the profiler writes: as it would write them today, and what they claim.

The second counts six launches at full size, which takes one to two minutes.
"""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.sgemm import prediction as ladder
from benchmarks.sgemm.rungs import RUNGS
from docs.tuning import __main__ as tuning
from docs.tuning.layer_norm import STAGES
from minialex.cuda import nvrtc
from minialex.cuda.known_gpus import known_gpu
from tests.cuda.tools import disassembles

ROOT = Path(__file__).parents[2]
same_code = pytest.mark.skipif(
    nvrtc.versions()[:1] != ["12.9"], reason="the pages are of NVRTC 12.9's machine code"
)


@disassembles
@same_code
def test_what_binds_the_stages_moves_from_l1_to_shared_memory_to_memory():
    text = (ROOT / tuning.PAGE).read_text(encoding="utf-8")
    assert tuning.page(text) == text, "python -m docs.tuning writes it"
    for name in tuning.GPUS:
        gpu = known_gpu(name)
        times = [
            dataclasses.replace(tuning.profile_of(stage), gpu=gpu).predicted for stage in STAGES
        ]
        assert [time.binding for time in times] == ["L1", "shared memory", "memory"]
        # nothing is gained by the second stage, and all there is by the third
        assert times[1].seconds > 0.9 * times[0].seconds
        assert times[2].seconds < 0.5 * times[1].seconds


@disassembles
@same_code
@pytest.mark.timeout(900)
def test_the_rungs_come_out_in_the_published_order():
    seconds = [ladder.prediction(rung).seconds for rung in RUNGS]
    assert seconds == sorted(seconds, reverse=True)
    factors = [
        predicted / rung.published_seconds for rung, predicted in zip(RUNGS, seconds, strict=True)
    ]
    # further off than that, it would say less than a sheet of paper does
    assert all(1 / 2 < factor < 2 for factor in factors), factors
    text = (ROOT / ladder.PAGE).read_text(encoding="utf-8")
    assert ladder.page(text) == text, "python -m benchmarks.sgemm.prediction writes it"
