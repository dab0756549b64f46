"""conv2d by cuDNN, on a stand-in for it: what it is asked for, and what it says where it cannot."""

import sys

import numpy as np
import pytest

from minialex import MinialexError, ops, using
from minialex.arrays import CPU, Device
from minialex.autograd import OPS
from minialex.check.cases import CASES
from minialex.check.suite import as_given
from minialex.ops.conv2d import cudnn as conv2d_cudnn
from tests.device_double import STREAM, make_cupy

from .cudnn_double import Note, make_cudnn

pytestmark = pytest.mark.usefixtures("poisoned_memory")

GPU = Device("cuda")
PLAIN, CUDNN = (OPS["conv2d"].implementations[name] for name in ("plain", "cudnn"))
GOES = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


@pytest.fixture
def cupy(monkeypatch):
    double = make_cupy()
    monkeypatch.setitem(sys.modules, "cupy", double)
    return double


@pytest.fixture
def cudnn(cupy, monkeypatch):
    double = make_cudnn()
    monkeypatch.setitem(sys.modules, "cudnn", double)
    clear()
    yield double
    clear()


def clear():
    conv2d_cudnn._ready_graph.cache_clear()
    conv2d_cudnn._handle.cache_clear()


def test_off_the_gpu_it_says_what_it_needs():
    assert conv2d_cudnn.why_not(CPU) == "cuDNN takes arrays on a GPU: --device cuda:0"
    x, w = np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 3, 3))
    with (
        using(conv2d="cudnn"),
        pytest.raises(MinialexError, match="'cudnn' cannot run: cuDNN takes"),
    ):
        ops.conv2d(x, w)


def test_without_the_package_it_says_what_to_install(cupy, monkeypatch):
    monkeypatch.setitem(sys.modules, "cudnn", None)
    assert "does not load" in conv2d_cudnn.why_not(GPU)
    assert "pip install 'minialex[cudnn]', or 'minialex[cudnn13]'" in conv2d_cudnn.why_not(GPU)


def test_without_the_library_it_says_what_to_install(cudnn):
    def missing():
        raise RuntimeError("Unable to find symbol cudnnGetVersion")

    assert conv2d_cudnn.why_not(GPU) == ""
    cudnn.backend_version = missing
    assert conv2d_cudnn.why_not(GPU).startswith("cuDNN does not load (Unable to find symbol")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES["conv2d"], ids=lambda case: case.name)
def test_it_asks_for_the_convolution_and_its_gradients(case, dtype, cudnn, cupy):
    inputs = [None if a is None else a.astype(dtype) for a in case.draw("conv2d")]
    there = [None if a is None else cupy.asarray(a) for a in inputs]
    with as_given(*inputs):
        y, saved = PLAIN.forward(*inputs, **case.params)
        gy = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
        want = y, *PLAIN.backward(gy, saved, **case.params)
        y, saved = CUDNN.forward(*there, **case.params)
        got = y, *CUDNN.backward(cupy.asarray(gy), saved, **case.params)
    assert len(got) == len(want)
    for g, t in zip(got, want, strict=True):
        assert (g is None) == (t is None)
        if t is not None:
            largest = np.abs(t).max(initial=1, where=np.isfinite(t))
            np.testing.assert_allclose(g.get(), t, rtol=1e-4, atol=1e-4 * largest)
    if gy.size:
        assert cudnn.runs == [("y", STREAM), ("x", STREAM), ("w", STREAM)]


def test_gradients_are_written_to_out_and_only_those_wanted(cudnn, cupy):
    x, w = cupy.asarray(np.ones((2, 3, 5, 5))), cupy.asarray(np.ones((4, 3, 3, 3)))
    y, saved = CUDNN.forward(x, w, **GOES)
    gw = cupy.asarray(np.zeros(w.shape))
    got = CUDNN.backward(y, saved, needs=(False, True, False), out=(None, gw, None), **GOES)
    assert got[0] is None
    assert got[1] is gw
    assert np.abs(gw.get()).min() > 0
    assert [kind for kind, _ in cudnn.runs] == ["y", "w"]


def test_a_graph_is_made_once_for_its_sizes(cudnn, cupy):
    def run(N, dtype=np.float32):
        CUDNN.forward(
            cupy.asarray(np.ones((N, 1, 4, 4), dtype)),
            cupy.asarray(np.ones((1, 1, 3, 3), dtype)),
            **GOES,
        )
        return len(cudnn.graphs)

    assert [run(2), run(2), run(3), run(2), run(2, np.float64)] == [1, 1, 2, 2, 3]


def test_float32_stays_off_tensor_cores(cudnn, cupy):
    for dtype in np.float32, np.float64:
        x, w = (cupy.asarray(np.ones((1, 1, 3, 3), dtype)) for _ in range(2))
        CUDNN.forward(x, w, **GOES)
    single, double = (set(graph.refused) for graph in cudnn.graphs)
    assert single - double == {Note.TENSOR_CORE}
    assert Note.NONDETERMINISTIC in double


def test_what_cudnn_does_not_take_is_named(cudnn, cupy):
    cudnn.unsupported = True
    x, w = (cupy.asarray(np.ones((1, 1, 3, 3))) for _ in range(2))
    with pytest.raises(MinialexError, match=r"no plan for conv_fprop in float64 .*use another"):
        CUDNN.forward(x, w, **GOES)
