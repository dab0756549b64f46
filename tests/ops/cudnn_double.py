"""A stand-in for cuDNN's Python package on a machine without a GPU.

It takes the calls of the real one, in their order, and computes what they ask for, from sizes,
strides and the addresses that DLPack gives it, with the array implementation. It shows that the
calls say what they should; what the real library makes of them, only a GPU can show.
"""

from __future__ import annotations

import enum
import types

import numpy as np

from minialex.autograd import OPS

DTYPES = {"FLOAT": np.float32, "DOUBLE": np.float64}


class DataType(enum.Enum):
    FLOAT = 0
    DOUBLE = 1


class Note(enum.Enum):
    TENSOR_CORE = 0
    DOWN_CONVERT_INPUTS = 1
    REDUCED_PRECISION_REDUCTION = 2
    NONDETERMINISTIC = 3


class HeurMode(enum.Enum):
    A = 0
    FALLBACK = 1


class NotSupportedError(Exception):
    pass


class Node:
    """A tensor of a graph."""

    def __init__(self, dim=None, stride=None, data_type=None):
        self.dim, self.stride, self.data_type, self.is_output = dim, stride, data_type, False

    def set_output(self, value):
        self.is_output = value
        return self

    def set_data_type(self, value):
        self.data_type = value
        return self

    def set_dim(self, value):
        self.dim = value
        return self

    def set_stride(self, value):
        self.stride = value
        return self

    def of(self, array):
        """Return the memory of an array as this tensor describes it, whatever the array says."""
        dtype = np.dtype(DTYPES[self.data_type.name])
        span = 1 + sum((n - 1) * s for n, s in zip(self.dim, self.stride, strict=True))
        address = np.from_dlpack(array).ctypes.data
        raw = (np.ctypeslib.ctypes.c_byte * (span * dtype.itemsize)).from_address(address)
        strides = [s * dtype.itemsize for s in self.stride]
        return np.ndarray(self.dim, dtype, raw, strides=strides)


class Graph:
    """What is asked of a graph, and the answer to it."""

    def __init__(self, library, io_data_type, intermediate_data_type, compute_data_type, handle):
        assert io_data_type is intermediate_data_type is compute_data_type
        self.library, self.handle, self.steps, self.refused = library, handle, [], []

    def tensor(self, *, name, dim, stride, data_type):
        return Node(dim, stride, data_type)

    def _convolution(self, kind, left, right, padding, stride, dilation):
        self.kind, self.operands, self.output = kind, (left, right), Node()
        self.params = {"padding": padding, "stride": stride, "dilation": dilation}
        return self.output

    def conv_fprop(self, image, weight, *, padding, stride, dilation):
        return self._convolution("y", image, weight, padding, stride, dilation)

    def conv_dgrad(self, loss, filter, *, padding, stride, dilation):
        return self._convolution("x", loss, filter, padding, stride, dilation)

    def conv_wgrad(self, image, loss, *, padding, stride, dilation):
        return self._convolution("w", image, loss, padding, stride, dilation)

    def deselect_numeric_notes(self, notes):
        assert self.steps[-1][0] == "create_execution_plans", "there is nothing yet to leave out"
        self.refused = notes

    def check_support(self):
        if self.library.unsupported:
            raise NotSupportedError("no engine")
        self.steps.append(("check_support",))

    def get_workspace_size(self):
        return 24

    def __getattr__(self, name):
        if name not in (
            "validate",
            "build_operation_graph",
            "create_execution_plans",
            "build_plans",
        ):
            raise AttributeError(name)
        return lambda *args: self.steps.append((name, *args))

    def execute(self, pack, workspace, handle):
        assert [step[0] for step in self.steps] == [
            "validate",
            "build_operation_graph",
            "create_execution_plans",
            "check_support",
            "build_plans",
        ]
        assert handle == self.handle
        assert np.from_dlpack(workspace).nbytes >= self.get_workspace_size()
        assert self.output.is_output
        left, right = (node.of(pack[node]) for node in self.operands)
        self.output.of(pack[self.output])[...] = self._answer(left, right)
        self.library.runs.append((self.kind, self.library.stream))

    def _answer(self, left, right):
        plain = OPS["conv2d"].implementations["plain"]
        params = {name: tuple(value) for name, value in self.params.items()}
        x = left if self.kind != "x" else np.zeros(self.output.dim, left.dtype)
        w = right if self.kind != "w" else np.zeros(self.output.dim, left.dtype)
        params["groups"] = x.shape[1] // w.shape[1]
        if self.kind == "y":
            return plain.forward(x, w, **params)[0]
        gx, gw = plain.backward(left if self.kind == "x" else right, (x, w), **params)[:2]
        return gx if self.kind == "x" else gw


def make_cudnn():
    """Return the stand-in, to be put in ``sys.modules["cudnn"]``."""
    library = types.ModuleType("cudnn")
    library.data_type, library.numerical_note, library.heur_mode = DataType, Note, HeurMode
    library.cudnnGraphNotSupportedError = NotSupportedError
    library.backend_version = lambda: 92800
    library.runs, library.graphs, library.unsupported, library.stream = [], [], False, None
    library.create_handle = lambda: 11

    def set_stream(handle, stream):
        assert handle == 11
        library.stream = stream

    def pygraph(**options):
        library.graphs.append(Graph(library, **options))
        return library.graphs[-1]

    library.set_stream, library.pygraph = set_stream, pygraph
    return library
