"""Rows of pytest-benchmark for kernels: what they carry, and that emulated times are marked."""

import types

import numpy as np
import pytest

from minialex import cuda
from minialex.arrays import CPU, Device
from minialex.bench import pytest_plugin
from minialex.bench.pytest_plugin import figures, profiled_benchmark, synchronized
from minialex.errors import MinialexError
from minialex.study.profile import profiled
from tests.capture_double import Gpu

RELU = cuda.kernel("relu.cu", "relu_forward")

OWN = """
    import numpy as np
    import minialex

    pytest_plugins = "minialex.bench.pytest_plugin"

    def test_relu(profiled_benchmark):
        x = np.ones(1000, np.float32)
        relu = minialex.cuda.kernel("relu.cu", "relu_forward")
        profile = profiled_benchmark(relu, minialex.cuda.blocks(x.size), 256, x, x.copy(), x.size)
        assert len(profile.launches) == 1
    """

pytest_plugins = "pytester"


class Benchmark:
    """pytest-benchmark's fixture, as far as it is used."""

    def __init__(self):
        self.name, self.fullname = "test_own", "test_it.py::test_own"
        self.extra_info, self.rounds = {}, []

    def __call__(self, function):
        self.rounds.append("timed")
        function()

    def pedantic(self, function, args):
        self.rounds.append("once")
        function(*args)


def launch(n=1000, xp=np):
    x = np.arange(n, dtype=np.float32) - 7
    return RELU, cuda.blocks(n), 256, xp.asarray(x), xp.asarray(np.zeros_like(x)), n


def call(benchmark, gpu="A100"):
    return profiled_benchmark.__wrapped__(benchmark, gpu)


def test_without_a_gpu_a_kernel_runs_once_and_the_row_says_that_its_time_means_nothing():
    benchmark = Benchmark()
    kernel, *args = launch()
    profile = call(benchmark)(kernel, *args)
    assert benchmark.rounds == ["once"]
    assert np.array_equal(args[3], np.maximum(args[2], 0))
    assert benchmark.name == "test_own (emulated)"
    assert benchmark.fullname == "test_it.py::test_own (emulated)"
    info = benchmark.extra_info
    assert info["times"] == "of an emulation: they mean nothing"
    # 4000 bytes read and written, in sectors of 32
    assert info["sectors"] == info["least sectors"] == 250
    assert info["wavefronts"] == info["least wavefronts"] == 0
    assert (info["gpu"], info["blocks"], info["blocks counted"]) == ("A100", 4, 4)
    (launched,) = profile.launches
    assert info["predicted us"] == pytest.approx(1e6 * launched.predicted.seconds)
    assert info["bound"] == launched.predicted.binding
    assert info["launches"][0]["kernel"] == "relu_forward<float>"


def test_several_launches_are_summed_and_the_longest_one_binds():
    with profiled("A100", max_blocks=3) as profile:
        for n in (1000, 4_000_000):
            kernel, *args = launch(n)
            kernel(*args)
    info = figures(profile)
    assert info["predicted us"] == sum(one["predicted us"] for one in info["launches"])
    assert info["bound"] == info["launches"][1]["bound"] == "memory"
    assert info["blocks counted"] < info["blocks"]


def test_on_a_gpu_the_time_is_measured_and_the_prediction_stands_beside_it(monkeypatch):
    benchmark, gpu = Benchmark(), Gpu.installed(monkeypatch)
    kernel, *args = launch(xp=gpu.cupy)
    profile = call(benchmark)(kernel, *args)
    assert benchmark.rounds == ["timed"]
    assert gpu.launched == ["relu_forward"]
    assert np.array_equal(args[3].hidden, np.maximum(args[2].hidden, 0))
    assert benchmark.name == "test_own"
    assert benchmark.extra_info["times"] == "measured"
    assert benchmark.extra_info["predicted us"] == 1e6 * profile.launches[0].predicted.seconds


def test_a_timed_call_waits_for_the_gpu(monkeypatch):
    done, gpu = [], Gpu.installed(monkeypatch)
    stream = types.SimpleNamespace(synchronize=lambda: done.append("waited"))
    monkeypatch.setattr(gpu.cupy.cuda, "get_current_stream", lambda: stream)
    synchronized(lambda: done.append("ran"), Device("cuda"))()
    assert done == ["ran", "waited"]
    synchronized(lambda: done.append("ran"), CPU)()
    assert done == ["ran", "waited", "ran"]


def test_what_launches_nothing_is_refused():
    with pytest.raises(MinialexError, match="no kernel was launched on NumPy arrays: give the"):
        call(Benchmark())(np.zeros, 3)


def test_with_pytest_benchmark_itself(pytester):
    pytest.importorskip("pytest_benchmark")
    pytester.makepyfile(OWN)
    done = pytester.runpytest("-p", "no:xdist", "--benchmark-json=rows.json")
    done.assert_outcomes(passed=1)
    assert pytest_plugin.EMULATED in (pytester.path / "rows.json").read_text()
