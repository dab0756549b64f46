"""What several tests of weights use."""

import pytest


@pytest.fixture
def path(tmp_path):
    # The name says nothing: content decides.
    return tmp_path / "weights.bin"
