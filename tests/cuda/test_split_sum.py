"""The counters that blocks count themselves in with: zero before a launch, and zero after it."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from minialex import cuda
from minialex.ops._cuda import tiling
from tests import device_double

SUMS = cuda.kernel("conv2d.cu", "conv2d_bias_gradient")
IMAGES, CHANNELS, PIXELS = 7, 5, 9


def sums(gy, arrived):
    """Return the sums of each channel, in parts of two images, which share the counters."""
    gb = np.full(CHANNELS, np.nan, np.float32)
    parts = np.full((4, CHANNELS), np.nan, np.float32)
    SUMS(4 * CHANNELS, 32, gy, gb, parts, arrived, IMAGES, CHANNELS, PIXELS, 2)
    return gb


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_a_launch_leaves_counters_as_it_found_them(mode):
    gy = np.random.default_rng(0).standard_normal((IMAGES, CHANNELS, PIXELS)).astype(np.float32)
    arrived, results = np.zeros(CHANNELS, np.uint32), set()
    for seed in range(4):
        with cuda.emulated(mode, seed=seed):
            results.add(sums(gy, arrived).tobytes())
        assert not arrived.any()
    np.testing.assert_allclose(np.frombuffer(results.pop(), "f4"), gy.sum((0, 2)), atol=1e-5)
    assert not results


def test_a_counter_that_is_not_zero_is_noticed():
    """By wrong sums: some block takes itself for the last too early."""
    gy = np.ones((IMAGES, CHANNELS, PIXELS), np.float32)
    with cuda.emulated():
        assert (sums(gy, np.zeros(CHANNELS, np.uint32)) == IMAGES * PIXELS).all()
        assert not (sums(gy, np.full(CHANNELS, 2, np.uint32)) == IMAGES * PIXELS).all()


class Stream(SimpleNamespace):
    """A stream of the stand-in for CuPy."""

    def is_capturing(self):
        return self.capturing


@pytest.fixture
def streams(monkeypatch):
    """Return the stand-in for CuPy, whose current stream is `current`, and how it is cleared."""
    cupy, now = device_double.make_cupy(), SimpleNamespace(current=Stream(ptr=7, capturing=False))
    cupy.cuda.get_current_stream = lambda: now.current
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(tiling, "_stream_counters", tiling._StreamCounters())
    now.like = cupy.asarray(np.zeros(3, np.float32))
    return now


def place(a):
    return a.data.ptr


def test_launches_of_a_stream_share_counters(streams):
    a, none, b = tiling.counters(streams.like, 5, 0, 3)
    assert none is None
    assert (a.shape, b.shape, a.dtype) == ((5,), (3,), np.uint32)
    assert place(b) == place(a) + 5 * 4
    assert place(tiling.counters(streams.like, 9)[0]) == place(a)


def test_streams_and_threads_have_counters_of_their_own(streams):
    (a,) = tiling.counters(streams.like, 5)
    streams.current = Stream(ptr=8, capturing=False)
    (b,) = tiling.counters(streams.like, 5)
    found = []
    thread = threading.Thread(target=lambda: found.extend(tiling.counters(streams.like, 5)))
    thread.start()
    thread.join()
    assert len({place(a), place(b), place(found[0])}) == 3


def test_counters_that_a_graph_may_use_are_never_freed(streams):
    (few,) = tiling.counters(streams.like, 5)
    few[0] = 1
    (many,) = tiling.counters(streams.like, 1 << 20)
    assert many.shape == (1 << 20,)
    assert place(tiling.counters(streams.like, 5)[0]) == place(many)
    (kept,) = tiling._stream_counters.arrays.values()
    assert [place(a) for a in kept] == [place(few), place(many)]


def test_what_a_cold_capture_sets_to_zero_is_used_by_that_graph_alone(streams):
    streams.current.capturing = True
    (captured,) = tiling.counters(streams.like, 5)
    streams.current.capturing = False
    (warm,) = tiling.counters(streams.like, 5)
    assert place(warm) != place(captured)
    streams.current.capturing = True
    assert place(tiling.counters(streams.like, 5)[0]) == place(warm)


def test_the_emulator_gets_fresh_ones(streams):
    """A launch that it stops halfway leaves them as they are."""
    (a,) = tiling.counters(np.zeros(1), 4)
    a[...] = 1
    (b,) = tiling.counters(np.zeros(1), 4)
    assert not b.any()
