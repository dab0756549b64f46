import numpy as np
import pytest
from hypothesis import settings

from minialex import arrays, memory
from minialex.autograd import OPS, ROUTINES

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def ops_as_before():
    """Take ops that a test makes off the lists again."""
    before = [(there, dict(there)) for there in (OPS, ROUTINES)]
    yield
    for there, was in before:
        there.clear()
        there.update(was)


@pytest.fixture
def poisoned_memory(monkeypatch):
    """Make what nobody has written NaN, so that it is never right by chance."""
    plain = np.empty

    def empty(*args, **options):
        a = plain(*args, **options)
        if a.dtype.kind == "f":
            a.fill(np.nan)
        return a

    monkeypatch.setattr(np, "empty", empty)
    monkeypatch.setattr(memory, "LEAST", float("inf"))


def pytest_addoption(parser):
    parser.addoption(
        "--draws",
        type=int,
        default=300,
        help="random shapes on which the checker must accuse no correct op (10000 takes a while)",
    )


def pytest_collection_modifyitems(items):
    if arrays.cuda_count():
        return
    skip = pytest.mark.skip(reason="no CUDA GPU that CuPy can use")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)
