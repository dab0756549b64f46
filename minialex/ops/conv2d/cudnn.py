"""conv2d as NVIDIA's cuDNN does it: a baseline for our kernels, and a choice where it is faster.

    pip install 'minialex[cudnn]'     (cudnn13 where CuPy is that for CUDA 13)
    with minialex.using(conv2d="cudnn"): ...

Each of the three products is one cuDNN graph, made once for its sizes, type and GPU. It is given
CuPy's arrays over DLPack, runs on CuPy's current stream, and has its workspace from CuPy's memory
pool. The arithmetic is that of the type: for float32, plans that use tensor cores (TF32) or round
what they are given are left out, as are, for both types, those whose bits change from run to run.
The bias is an array operation.

saved = (x, w), as for every implementation.

It has not been run on a GPU. The tests run it on a stand-in for cuDNN. With the real package
(nvidia-cudnn-frontend 1.18, cuDNN 9.28) its three graphs were made and validated, and arrays handed
over from the CPU, which is as far as cuDNN goes without a GPU.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any

from minialex import arrays
from minialex.arrays import Array, Device
from minialex.errors import MinialexError
from minialex.ops.conv2d.cuda import ConvKernels, implementation, separate_launches
from minialex.ops.conv2d.shape import ConvShape

INSTALL = "pip install 'minialex[cudnn]', or 'minialex[cudnn13]' where CuPy is that for CUDA 13"


def why_not(device: Device) -> str:
    """Return why cuDNN cannot run on arrays of `device`; empty where it can."""
    if device.kind != "cuda":
        return "cuDNN takes arrays on a GPU: --device cuda:0"
    try:
        importlib.import_module("cudnn").backend_version()
    except (ImportError, RuntimeError) as error:
        return f"cuDNN does not load ({error}): {INSTALL}"
    return ""


@dataclass(frozen=True)
class Product:
    """One of cuDNN's three convolutions: its name, and which arrays it reads and writes."""

    node: str
    inputs: tuple[str, str]
    output: str


FORWARD = Product("conv_fprop", ("x", "w"), "y")
DATA_GRADIENT = Product("conv_dgrad", ("y", "w"), "x")
WEIGHT_GRADIENT = Product("conv_wgrad", ("x", "y"), "w")


def _forward(x: Array, w: Array, b: Array | None, y: Array, s: ConvShape) -> None:
    _run(FORWARD, s, x, w, y)
    if b is not None:
        y += b[:, None, None]


def _data_gradient(gy: Array, w: Array, gx: Array, s: ConvShape) -> None:
    _run(DATA_GRADIENT, s, gy, w, gx)


def _weight_gradient(gy: Array, x: Array, gw: Array, s: ConvShape) -> None:
    _run(WEIGHT_GRADIENT, s, x, gy, gw)


def _bias_gradient(gy: Array, gb: Array, s: ConvShape) -> None:
    gy.sum(axis=(0, 2, 3), out=gb)


IMPLEMENTATION = implementation(
    ConvKernels(_forward, separate_launches(_data_gradient, _weight_gradient, _bias_gradient)),
    why_not=why_not,
)


def _run(product: Product, s: ConvShape, left: Array, right: Array, result: Array) -> None:
    """Write the product of two arrays to `result`.

    Raises
    ------
    MinialexError
        If cuDNN cannot run here, or has no plan for these sizes.
    """
    device = arrays.device_of(left)
    if why := why_not(device):
        raise MinialexError(f"conv2d: implementation 'cudnn' cannot run: {why}")
    if left.size == 0 or right.size == 0:
        # cuDNN takes no array without elements; a sum of nothing is zero
        result[...] = 0
        return
    with arrays.on_device(device) as cupy:
        handle = _handle(device.index)
        importlib.import_module("cudnn").set_stream(handle, cupy.cuda.get_current_stream().ptr)
        ready = _ready_graph(product, s, str(left.dtype), device.index)
        workspace = cupy.empty(max(1, ready.workspace), "uint8")
        # The frontend asks for arrays without naming a stream, so CuPy has the default stream wait
        # for the current one, where that is another. The work itself runs on the current one.
        pointers = zip(ready.tensors, (left, right, result), strict=True)
        ready.graph.execute(dict(pointers), workspace, handle=handle)


@functools.cache
def _handle(index: int) -> Any:
    """Return the GPU's cuDNN handle, made while that GPU is the current one."""
    return importlib.import_module("cudnn").create_handle()


@dataclass(frozen=True)
class ReadyGraph:
    """A graph that is ready to run: its two inputs and its output, and its workspace in bytes."""

    graph: Any
    tensors: tuple[Any, Any, Any]
    workspace: int


@functools.lru_cache(maxsize=256)
def _ready_graph(product: Product, s: ConvShape, dtype: str, index: int) -> ReadyGraph:
    """Return the graph of a product, which depends on sizes, type and GPU alone."""
    cudnn = importlib.import_module("cudnn")
    kind = {"float32": cudnn.data_type.FLOAT, "float64": cudnn.data_type.DOUBLE}[dtype]
    graph = cudnn.pygraph(
        io_data_type=kind,
        intermediate_data_type=kind,
        compute_data_type=kind,
        handle=_handle(index),
    )
    shapes = {
        "x": (s.N, s.C, s.H, s.W),
        "w": (s.O, s.CG, s.KH, s.KW),
        "y": (s.N, s.O, s.OH, s.OW),
    }
    inputs = [
        graph.tensor(name=name, dim=shapes[name], stride=_strides(shapes[name]), data_type=kind)
        for name in product.inputs
    ]
    output = getattr(graph, product.node)(
        *inputs, padding=[s.ph, s.pw], stride=[s.sh, s.sw], dilation=[s.dh, s.dw]
    )
    # The size of x does not follow from that of y: rows that no window reaches do not count in it.
    shape = shapes[product.output]
    output.set_output(True).set_data_type(kind).set_dim(shape).set_stride(_strides(shape))
    try:
        _build_best_plan(cudnn, graph, dtype)
    except cudnn.cudnnGraphNotSupportedError as error:
        raise MinialexError(
            f"conv2d: cuDNN has no plan for {product.node} in {dtype} with {s}: {error}; use "
            "another implementation"
        ) from error
    return ReadyGraph(graph, (*inputs, output), graph.get_workspace_size())


def _build_best_plan(cudnn: Any, graph: Any, dtype: str) -> None:
    """Build the best plan, by cuDNN's own judgement, of those whose arithmetic we accept."""
    note = cudnn.numerical_note
    refused = [note.NONDETERMINISTIC, note.DOWN_CONVERT_INPUTS, note.REDUCED_PRECISION_REDUCTION]
    if dtype == "float32":
        refused.append(note.TENSOR_CORE)
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    graph.deselect_numeric_notes(refused)
    graph.check_support()
    graph.build_plans()


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of a C-contiguous array."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return tuple(strides)
