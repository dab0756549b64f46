"""ONNX Runtime as a peer: the model that it is given, and where it is not there."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from minialex import models
from minialex.arrays import CPU, Device
from minialex.bench import BenchContext, networks
from minialex.bench.peers import find_peers, onnx_runtime
from minialex.bench.runner import empty_row, verify
from minialex.bench.workload import UnavailableError
from minialex.models.alexnet import Variant
from minialex.nn import (
    Conv2d,
    Dropout,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Sequential,
)

NAME = "ONNX Runtime"
TINY = "tiny"


@pytest.fixture
def tiny(monkeypatch):
    """A network with every op that the four have, and every parameter that counts."""

    def features(g):
        return Sequential(
            Conv2d(3, 8, 5, stride=(2, 1), padding=(2, 1), generator=g),
            ReLU(),
            LocalResponseNorm(5, alpha=0.7, beta=0.75, k=2.0),
            MaxPool2d(3, stride=2, ceil_mode=True),
            Conv2d(8, 6, 3, padding=1, dilation=(1, 2), groups=2, bias=False, generator=g),
            MaxPool2d((3, 2), stride=1, padding=(1, 0)),
        )

    def classifier(classes, dropout, g):
        return Sequential(
            Dropout(dropout, g), Linear(54, 7, generator=g), ReLU(), Linear(7, classes, generator=g)
        )

    made = Variant(TINY, "this test", 26, 3, features, classifier, None, "")
    monkeypatch.setitem(models.VARIANTS, TINY, made)


@pytest.mark.torch
@pytest.mark.usefixtures("tiny")
def test_it_computes_the_same():
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    peers, unavailable = find_peers([NAME], CPU, 1)
    assert unavailable == {}
    assert "graph optimizations" in peers[0].description
    context = BenchContext(implementations=(), peers=peers)
    for batch in (1, 3):
        step, inference = networks.network_cases([TINY], batch, {"step", "inference"})
        prepared, row = inference.prepare(context), empty_row(inference)
        verify(prepared, row, context)
        assert [t.reason for t in row.timings.values()] == ["", "", ""]
        assert row.timings[NAME].error < 1e-5
        # what is timed is the batch, and a network like ours to the last class
        (timed,) = (c.workload.run for c in prepared.contenders if c.name == NAME)
        (ours,) = (c.workload.run for c in prepared.contenders if c.name == "default")
        np.testing.assert_allclose(timed()[0], ours().data, rtol=1e-3, atol=1e-5)
        assert timed()[0].shape == (batch, 1000)
    # it does not train
    assert NAME not in {c.name for c in step.prepare(context).contenders}


def test_where_it_cannot_run_it_says_so_in_a_line(monkeypatch):
    with pytest.raises(UnavailableError, match="measured on a CPU only"):
        onnx_runtime.OnnxRuntime(Device("cuda"), 1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="onnx, in which its model is written, is not inst"):
        onnx_runtime.OnnxRuntime(CPU, 1)
    assert find_peers([NAME], CPU, 1) == ([], {NAME: "onnxruntime is not installed"})


def test_an_average_with_windows_of_several_sizes_is_refused():
    def layer(size, wanted):
        return SimpleNamespace(input_shapes=((1, 4, *size),), params={"output_size": wanted})

    assert onnx_runtime.NODES["adaptive_avg_pool2d"](layer((12, 9), (3, 3))) == (
        "AveragePool",
        {"kernel_shape": [4, 3], "strides": [4, 3]},
    )
    with pytest.raises(UnavailableError, match=r"no average pooling from \(12, 10\) to \(3, 3\)"):
        onnx_runtime.NODES["adaptive_avg_pool2d"](layer((12, 10), (3, 3)))
