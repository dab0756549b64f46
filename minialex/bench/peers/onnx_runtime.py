"""ONNX Runtime on the CPU: inference of whole networks, in full float32.

The model is written from our own record of a network's layers, with our weights, for one batch
size; ONNX Runtime optimizes it as much as it can when it is loaded. Everything else is its default:
after a run its threads spin for about 30 ms, which is less than the clock waits.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from minialex.arrays import CPU, Array, Device
from minialex.bench import cached_networks
from minialex.bench.layers import Layer, layers
from minialex.bench.peers.peer import Peer
from minialex.bench.workload import NetworkTask, UnavailableError, Workload

OPSET, IR_VERSION = 17, 8
"""Of 2022: every release since then reads it, and it has all that the networks need."""
ERRORS_ONLY = 3
"""A warning would break the progress bar."""


class OnnxRuntime(Peer):
    """A session per batch size, with one pool of threads."""

    name = "ONNX Runtime"

    def __init__(self, device: Device, threads: int) -> None:
        if device != CPU:
            raise UnavailableError("it is measured on a CPU only")
        if importlib.util.find_spec("onnx") is None:
            raise UnavailableError("onnx, in which its model is written, is not installed")
        self.runtime = importlib.import_module("onnxruntime")
        self.options = self.runtime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.log_severity_level = ERRORS_ONLY
        self.description = f"{self.runtime.__version__}, all graph optimizations, float32"

    def inference(self, task: NetworkTask) -> Workload | None:
        """Return a run of the model on images of the host."""
        x = task.images
        model = network_model(task.network, len(x)).SerializeToString()
        session = self.runtime.InferenceSession(
            model, self.options, providers=["CPUExecutionProvider"]
        )

        def run() -> list[Array]:
            return session.run(None, {"x": x})  # type: ignore[no-any-return]

        return Workload(run, run)


def network_model(network: str, batch: int) -> Any:
    """Return a network for inference as an ONNX model, from "x" to "y", with our weights."""
    onnx = importlib.import_module("onnx")
    helper, found = onnx.helper, layers(network, training=False)
    # the model gets a copy of the weights, so that the cached arrays will do
    parameters = iter(cached_networks.network(network, 0.0, lambda a: a).parameters())
    nodes, weights, shape, name = [], [], found[0].inputs_at(batch)[0], "x"
    for i, layer in enumerate(found):
        if layer.op.name == "linear" and len(shape or ()) > 2:
            nodes.append(helper.make_node("Flatten", [name], [f"flat {i}"]))
            name = f"flat {i}"
        names = [f"weight {i} {n}" for n in layer.parameters]
        weights += [onnx.numpy_helper.from_array(next(parameters).data, n) for n in names]
        kind, attributes = NODES[layer.op.name](layer)
        output = "y" if layer is found[-1] else f"layer {i}"
        nodes.append(helper.make_node(kind, [name, *names], [output], layer.label, **attributes))
        name, shape = output, layer.output_at(batch)
    ends = [(("x", found[0].inputs_at(batch)[0]),), (("y", shape),)]
    inputs, outputs = (
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in end]
        for end in ends
    )
    graph = helper.make_graph(nodes, network, inputs, outputs, weights)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


Node = tuple[str, dict[str, Any]]


def _windows(p: dict[str, Any]) -> dict[str, Any]:
    """Return what convolution and pooling share; padding is given for both ends of each axis."""
    return {"strides": p["stride"], "pads": [*p["padding"], *p["padding"]]}


def _adaptive_average(layer: Layer) -> Node:
    """Return average pooling with equal windows, the only ones that ONNX has."""
    size: Sequence[int] = (layer.input_shapes[0] or ())[2:]
    wanted = layer.params["output_size"]
    if any(n % m for n, m in zip(size, wanted, strict=True)):
        raise UnavailableError(f"ONNX has no average pooling from {size} to {wanted}")
    window = [n // m for n, m in zip(size, wanted, strict=True)]
    return "AveragePool", {"kernel_shape": window, "strides": window}


NODES: dict[str, Callable[[Layer], Node]] = {
    "conv2d": lambda layer: (
        "Conv",
        _windows(layer.params)
        | {"dilations": layer.params["dilation"], "group": layer.params["groups"]},
    ),
    "relu": lambda layer: ("Relu", {}),
    "max_pool2d": lambda layer: (
        "MaxPool",
        _windows(layer.params)
        | {
            "kernel_shape": layer.params["kernel_size"],
            "ceil_mode": int(layer.params["ceil_mode"]),
        },
    ),
    "adaptive_avg_pool2d": _adaptive_average,
    # ONNX divides alpha by the size of the window, as PyTorch does
    "local_response_norm": lambda layer: (
        "LRN",
        {
            "size": layer.params["size"],
            "alpha": layer.params["alpha"] * layer.params["size"],
            "beta": layer.params["beta"],
            "bias": layer.params["k"],
        },
    ),
    "linear": lambda layer: ("Gemm", {"transB": 1}),
}
"""From an op of ours to ONNX's node, and the node's attributes."""
