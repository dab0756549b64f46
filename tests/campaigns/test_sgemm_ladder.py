"""The model of time, on kernels that others have timed: at full size, which takes a minute."""

import pytest

from benchmarks.sgemm.prediction import PAGE, page, prediction, profile_of
from benchmarks.sgemm.rungs import PUBLISHED_SIZE, RUNGS
from minialex.cuda import nvrtc
from tests.cuda.tools import ROOT, disassembles


def elements(rung, access, array):
    """Return how many floats the rung's lanes read or write, over the launch."""
    rows = profile_of(rung).counts.memory
    return sum(
        one.lanes * one.width / 4 for one in rows if (one.access, one.array) == (access, array)
    )


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
    for rung in RUNGS:
        # nine blocks stand for all: every element of C is written once, and A is read once for as
        # many columns of C as a block has, or for each
        reused = 1 if rung.tile[2] == 1 else rung.tile[1]
        assert elements(rung, "write", "C") == PUBLISHED_SIZE**2
        assert elements(rung, "read", "A") == PUBLISHED_SIZE**3 / reused
    if nvrtc.versions()[0] == "12.9":
        # the tables are of its machine code
        text = (ROOT / PAGE).read_text(encoding="utf-8")
        assert page(text) == text, "python -m benchmarks.sgemm.prediction writes it"
