"""Faults in one layer of a network that the suite leaves out."""

import pytest

from tests.check.test_modules import DRAWN_SPOILT, SPOILT, assert_named


@pytest.mark.parametrize(
    ("k", "spoil", "name"), [fault for fault in SPOILT if fault not in DRAWN_SPOILT]
)
def test_a_fault_in_one_layer_of_a_network_names_its_parameter(k, spoil, name):
    assert_named(k, spoil, name)
