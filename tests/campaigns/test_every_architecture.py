"""NVRTC compiles every instantiation of every kernel for every architecture that it knows."""

import pytest

from minialex.cuda import nvrtc, source
from tests.cuda.tools import assert_compiles, compiles


@compiles
@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
@pytest.mark.parametrize("file", source.kernel_files())
def test_every_kernel_compiles(file, architecture):
    if architecture not in nvrtc.architectures(file):
        pytest.skip(f"{file} is not for {architecture}, or this NVRTC does not know it")
    assert_compiles(file, architecture)
