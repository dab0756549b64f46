import numpy as np
import pytest


@pytest.fixture
def normal():
    """A function that draws a normally distributed array of a shape."""
    rng = np.random.default_rng(0)
    return lambda *shape, dtype="float64": rng.standard_normal(shape).astype(dtype)
