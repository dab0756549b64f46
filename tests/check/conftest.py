import pytest

from minialex.autograd import OPS


@pytest.fixture(autouse=True)
def ops_as_before():
    """Take ops that a test makes off the list again."""
    before = dict(OPS)
    yield
    OPS.clear()
    OPS.update(before)
