"""What emulated kernels are asked that takes long, of the cases that the suite leaves out."""

import pytest

from tests import test_conformance as suite

pytestmark = pytest.mark.usefixtures("poisoned_memory")

GRID = suite.others(suite.GRID)
KERNEL_CASE = suite.others(suite.KERNEL_CASE)


@pytest.mark.parametrize(("name", "case", "where"), GRID)
def test_arrays_that_lie_in_memory_otherwise(name, case, where):
    suite.ask_of_layouts(name, case, where)


@pytest.mark.parametrize(("name", "case"), KERNEL_CASE)
def test_orders_of_threads(name, case):
    suite.ask_of_orders(name, case)


@pytest.mark.parametrize(("name", "case"), KERNEL_CASE)
def test_kernels_read_no_vector_where_none_begins(name, case):
    suite.ask_of_vectors(name, case)


@pytest.mark.parametrize(("name", "case", "where"), GRID)
def test_contract(name, case, where):
    suite.ask_of_contract(name, case, where)


@pytest.mark.parametrize(("name", "case"), KERNEL_CASE)
def test_kernels_do_nothing_that_a_gpu_does_silently_wrong(name, case):
    suite.ask_of_silent_faults(name, case)
