"""Where training steps run: under the emulator, or on the double of a GPU."""

import pytest

from minialex import cuda, using
from tests.capture_double import Gpu


@pytest.fixture
def gpu(monkeypatch):
    """The double of a GPU, on the rungs that the emulator runs fast."""
    with using(conv2d="implicit_gemm", linear="register_blocked"):
        yield Gpu.installed(monkeypatch)


@pytest.fixture
def emulator():
    with cuda.emulated():
        yield
