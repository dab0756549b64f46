"""The model of time, on kernels that others have timed: at full size, which takes a minute."""

import pytest

from benchmarks.sgemm.prediction import PAGE, page, prediction
from benchmarks.sgemm.rungs import RUNGS
from minialex.cuda import nvrtc
from tests.cuda.tools import ROOT, disassembles


@disassembles
@pytest.mark.timeout(600)
def test_the_rungs_come_out_in_the_published_order():
    seconds = [prediction(rung).seconds for rung in RUNGS]
    assert seconds == sorted(seconds, reverse=True)
    factors = [
        predicted / rung.published_seconds for rung, predicted in zip(RUNGS, seconds, strict=True)
    ]
    # docs/sgemm.md shows them
    assert all(3 / 4 < factor < 4 / 3 for factor in factors), factors
    if nvrtc.versions()[0] == "12.9":
        # the tables are of its machine code
        text = (ROOT / PAGE).read_text(encoding="utf-8")
        assert page(text) == text, "python -m benchmarks.sgemm.prediction writes it"
