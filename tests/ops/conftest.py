import numpy as np
import pytest

from minialex import threads


@pytest.fixture
def cores(monkeypatch):
    """A function that sets the number of cores."""

    def use(number):
        monkeypatch.delenv(threads.VARIABLE, raising=False)
        monkeypatch.setattr(threads, "_usable_cores", lambda: number)

    return use


@pytest.fixture
def normal():
    """A function that draws a normally distributed array of a shape."""
    rng = np.random.default_rng(0)
    return lambda *shape, dtype="float64": rng.standard_normal(shape).astype(dtype)
