"""AlexNet's layers at full size that the suite leaves out."""

import pytest

from tests.check.test_full_size import DRAWN, LAYERS, assert_right


@pytest.mark.parametrize(("name", "case"), [layer for layer in LAYERS if layer not in DRAWN])
def test_layer(name, case):
    assert_right(name, case)
