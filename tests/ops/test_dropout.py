import importlib

import numpy as np
import pytest

from minialex import philox
from minialex.cpu import threads

dropout = importlib.import_module("minialex.ops.dropout")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 4, 103, 4096])
def test_the_same_elements_are_dropped_however_the_work_is_shared(monkeypatch, size, dtype):
    x = np.random.default_rng(0).standard_normal(size).astype(dtype)
    stream = {"seed": 3, "offset": 4}
    keep = philox.bits(np, size, **stream) >= dropout.threshold(0.3)
    want = np.where(keep, x * dtype(dropout.scale(0.3)), dtype(0))
    for workers, cache, least in [(1, 1 << 20, 1 << 20), (2, 64, 1), (3, 8192, 1024)]:
        monkeypatch.setattr(threads, "cores", lambda n=workers: n)
        monkeypatch.setattr(dropout, "CACHE", cache)
        monkeypatch.setattr(dropout, "LEAST", least)
        np.testing.assert_array_equal(dropout.forward(x, p=0.3, **stream)[0], want)
