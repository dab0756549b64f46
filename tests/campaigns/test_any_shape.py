"""The kernels of convolutions and linear layers at many more shapes than the suite draws."""

import pytest
from hypothesis import given, settings

from minialex.ops._cuda import launching, tiling
from minialex.ops.conv2d import cuda as conv2d_cuda
from minialex.ops.linear import cuda as linear_cuda
from tests.cuda import test_conv2d_kernels, test_linear_kernels
from tests.cuda.conv2d_runs import poisoned

EXAMPLES = 200


@pytest.fixture(scope="module", autouse=True)
def poison():
    with poisoned(conv2d_cuda, linear_cuda, tiling, launching):
        yield


@pytest.mark.parametrize("rung", test_conv2d_kernels.RUNGS)
@settings(max_examples=EXAMPLES)
@given(case=test_conv2d_kernels.convolutions())
def test_a_convolution(rung, case):
    test_conv2d_kernels.assert_right_anywhere(rung, case)


@pytest.mark.parametrize("rung", test_linear_kernels.RUNGS)
@settings(max_examples=EXAMPLES)
@given(R=test_linear_kernels.size, O=test_linear_kernels.size, I=test_linear_kernels.size)
def test_a_linear_layer(rung, R, O, I):
    test_linear_kernels.assert_right_anywhere(rung, R, O, I)
