"""What the convolution's kernels are tried on that the suite leaves out."""

import numpy as np
import pytest

from tests.cuda import test_conv2d_kernels as suite
from tests.cuda.conv2d_runs import poisoned


@pytest.fixture(scope="module", autouse=True)
def poison():
    with poisoned(suite.conv2d_cuda, suite.tiling, suite.launching):
        yield


@pytest.mark.parametrize(
    ("name", "rung", "dtype"), [one for one in suite.CHECKED if one not in suite.DRAWN_CHECKED]
)
def test_checked(name, rung, dtype):
    suite.assert_checked(name, rung, np.dtype(dtype).type)


@pytest.mark.parametrize(
    ("rung", "rows", "parts", "fix_up"),
    [plan for plan in suite.PLANS if plan not in suite.DRAWN_PLANS],
)
def test_every_plan(rung, rows, parts, fix_up, monkeypatch):
    suite.assert_right_by_plan(rung, rows, parts, fix_up, monkeypatch)
