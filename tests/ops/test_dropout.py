import numpy as np
import pytest

from minialex import philox
from minialex.cpu import threads
from minialex.cpu.sharing import sharing_forced
from minialex.ops.dropout import blocked, plain


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 4, 103, 4096])
def test_the_same_elements_are_dropped_however_the_work_is_shared(monkeypatch, size, dtype):
    x = np.random.default_rng(0).standard_normal(size).astype(dtype)
    stream = {"seed": 3, "offset": 4}
    keep = philox.bits(np, size, **stream) >= plain.threshold(0.3)
    want = np.where(keep, x * dtype(plain.scale(0.3)), dtype(0))
    for workers, block_bytes in [(1, 1 << 20), (2, 64), (3, 8192)]:
        monkeypatch.setattr(threads, "cores", lambda n=workers: n)
        monkeypatch.setattr(blocked, "BLOCK_BYTES", block_bytes)
        with sharing_forced(workers, 1):
            y, _ = blocked.forward(x, p=0.3, **stream)
        np.testing.assert_array_equal(y, want)
