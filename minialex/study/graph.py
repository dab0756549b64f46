"""The graph that a forward pass records: ops, what they keep for backward, where gradients go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minialex.arrays import Array, extent_of
from minialex.autograd import Call, Tensor, record_calls
from minialex.autograd.graph import Node, ancestry
from minialex.nn import Module
from minialex.ops import cross_entropy
from minialex.ops.conv2d import OP as CONV2D
from minialex.ops.conv2d import cpu_rung
from minialex.study.layers import layer_name, named_layers

SCHEMA = "minialex-graph 1"

PARAMETER, INPUT, OUTPUT, EXTRA = "parameter", "input", "output", "extra"
KINDS = {
    PARAMETER: "weights, which the model holds anyway",
    INPUT: "what the network is given",
    OUTPUT: "outputs of ops, which could be freed without a backward",
    EXTRA: "made for backward alone: masks, where maxima are, probabilities",
}
"""What an array is that a node keeps."""

EXTRA_NAMES = {
    "relu": "mask: where y is not 0",
    "max_pool2d": "where each maximum is",
    "cross_entropy": "probabilities",
    "local_response_norm": "s, what x is divided by",
}
"""What ops make for their backward; see their modules."""

PRODUCTS = "conv2d", "linear", "matmul"
"""Ops whose gradient of each of their two factors takes as many operations as their forward."""


@dataclass(frozen=True)
class KeptArray:
    """An array that a node keeps for its backward.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    what : str
        Its name: ``features.0.weight``, ``output of features.2 max_pool2d``, ``input``.
    shape : tuple of int
    dtype : str
    bytes : int
        Of the memory that is not freed as long as the node is there.
    counted : int
        How many of these no older node keeps: the sum over all nodes counts every byte once.
    """

    kind: str
    what: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    counted: int


@dataclass(frozen=True)
class OpNode:
    """One op that ran.

    Attributes
    ----------
    op : str
    layer : str
        The layer that it ran in; empty outside of layers.
    implementation : str
        What ran, such as ``blocked`` or ``auto: winograd``; empty of a hook's node.
    shape : tuple of int
        The output's.
    dtype : str
    kept : tuple of KeptArray
    flops : int or None
        Of the forward; None where the op has no cost.
    backward_flops : int or None
        Of the backward, for the gradients that are wanted; None but for `PRODUCTS`.
    """

    op: str
    layer: str
    implementation: str
    shape: tuple[int, ...]
    dtype: str
    kept: tuple[KeptArray, ...]
    flops: int | None
    backward_flops: int | None

    @property
    def title(self) -> str:
        """The layer and the op."""
        return f"{self.layer} {self.op}".lstrip()

    @property
    def counted(self) -> int:
        """The bytes that it keeps and no older node does."""
        return sum(a.counted for a in self.kept)


@dataclass(frozen=True)
class LeafNode:
    """What no recorded op made: a parameter, or what the network is given.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : str
    bytes : int
    parameter : bool
    requires_grad : bool
        Whether a gradient goes there; if not, it is no part of what autograd records.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    parameter: bool
    requires_grad: bool


@dataclass(frozen=True)
class GraphEdge:
    """One input of an op.

    Attributes
    ----------
    op : int
        The op that takes it, an index into `RecordedGraph.ops`.
    position : int
        Which of its inputs it is.
    source : int
        The op that made it, likewise, or a leaf.
    from_leaf : bool
        Whether `source` is an index into `RecordedGraph.leaves`.
    """

    op: int
    position: int
    source: int
    from_leaf: bool


@dataclass(frozen=True)
class RecordedGraph:
    """What a forward pass left behind.

    Attributes
    ----------
    name : str
        The network.
    ops : tuple of OpNode
        In the order in which they ran; backward goes the other way.
    leaves : tuple of LeafNode
    edges : tuple of GraphEdge
    """

    name: str
    ops: tuple[OpNode, ...]
    leaves: tuple[LeafNode, ...]
    edges: tuple[GraphEdge, ...]

    @property
    def kept_bytes(self) -> int:
        """The bytes of all kept arrays, each once though several nodes keep it."""
        return sum(op.counted for op in self.ops)

    def kept_by_kind(self) -> dict[str, int]:
        """Return these bytes by kind."""
        kept = [a for op in self.ops for a in op.kept]
        return {kind: sum(a.counted for a in kept if a.kind == kind) for kind in KINDS}

    @property
    def parameters(self) -> int:
        """How many numbers a gradient goes to."""
        leaves = (leaf for leaf in self.leaves if leaf.parameter and leaf.requires_grad)
        return sum(int(np.prod(leaf.shape, dtype=np.int64)) for leaf in leaves)

    @property
    def flops(self) -> int:
        """Operations of the forward, of the ops whose cost is known."""
        return sum(op.flops or 0 for op in self.ops)

    @property
    def backward_flops(self) -> int:
        """Operations of the backward of products."""
        return sum(op.backward_flops or 0 for op in self.ops)

    def record(self) -> dict[str, Any]:
        """Return it as a dictionary that JSON can hold."""
        return {
            "schema": SCHEMA,
            "network": self.name,
            "kept_bytes": self.kept_bytes,
            "kept_by_kind": self.kept_by_kind(),
            "parameters": self.parameters,
            "flops": self.flops,
            "backward_flops": self.backward_flops,
            "ops": [
                {"id": i, **vars(op), "kept": [vars(a) for a in op.kept], "counted": op.counted}
                for i, op in enumerate(self.ops)
            ],
            "leaves": [{"id": i, **vars(leaf)} for i, leaf in enumerate(self.leaves)],
            "edges": [vars(edge) for edge in self.edges],
        }


def record_graph(
    model: Module, images: Array | Tensor, targets: Array | None = None, *, name: str = ""
) -> RecordedGraph:
    """Run a forward pass, as a training step does, and return the graph that it leaves.

    Parameters
    ----------
    model : Module
        In the mode that it is in: dropout is in the graph while training. Its draws move on, as
        those of any forward do.
    images : (N, ...) array or Tensor
        On the model's device.
    targets : (N,) array of classes, optional
        The graph then ends in the loss, `minialex.ops.cross_entropy`.
    name : str
        What the network is called; its class where empty.

    Raises
    ------
    ValueError
        If the forward leaves no graph: nothing requires a gradient, or under `no_grad`.
    """
    x = images if isinstance(images, Tensor) else Tensor(images)
    given: dict[str, Array | None] = {"input": x.data}
    layers: dict[int, str] = {}
    with record_calls() as calls, ExitStack() as hooks:
        for layer, module in named_layers(model):
            starts: list[int] = []
            before = partial(_enter, calls, starts)
            after = partial(_leave, calls, starts, layer_name(layer, module), layers)
            hooks.enter_context(module.register_forward_pre_hook(before))
            hooks.enter_context(module.register_forward_hook(after))
        y = model(x)
        if targets is not None:
            y = cross_entropy(y, targets)
            # the op may take a copy
            given["targets"] = calls[-1].inputs[1]
    if y.node is None:
        raise ValueError("record_graph: no graph was recorded, as nothing requires a gradient")
    names = {id(p): own for own, p in model.named_parameters()}
    parameters = {own: p.data for own, p in model.named_parameters()}
    graph = _Reader(calls, layers, names, parameters, given)
    return graph.read(name or type(model).__name__, ancestry([y.node]))


def _enter(calls: list[Call], starts: list[int], *_: Any) -> None:
    starts.append(len(calls))


def _leave(
    calls: list[Call], starts: list[int], name: str, layers: dict[int, str], *_: Any
) -> None:
    """Note in which layer the calls ran, by the number of the call."""
    layers.update(dict.fromkeys(range(starts.pop(), len(calls)), name))


class _Reader:
    """Turns nodes and calls into plain records, with names for arrays."""

    def __init__(
        self,
        calls: list[Call],
        layers: Mapping[int, str],
        names: Mapping[int, str],
        parameters: Mapping[str, Array],
        given: Mapping[str, Array | None],
    ) -> None:
        self.calls = {call.node: call for call in calls if call.node is not None}
        self.layers = {call.node: layers.get(i, "") for i, call in enumerate(calls)}
        self.names, self.parameters, self.given = names, parameters, given
        self.leaves: dict[int, tuple[int, LeafNode]] = {}
        # the memory of outputs, and what made it
        self.made: dict[int, str] = {}
        self.kept: list[tuple[int, int]] = []

    def read(self, name: str, nodes: list[Node]) -> RecordedGraph:
        """Return the graph of these nodes, oldest first."""
        numbers = {node: i for i, node in enumerate(nodes)}
        ops, edges = [], []
        for i, node in enumerate(nodes):
            ops.append(self._op(node))
            for k, source in enumerate(self._sources(node)):
                if isinstance(source, Node):
                    edges.append(GraphEdge(i, k, numbers[source], False))
                elif source is not None:
                    edges.append(GraphEdge(i, k, self._leaf(*source), True))
        leaves = tuple(leaf for _, leaf in self.leaves.values())
        return RecordedGraph(name, tuple(ops), leaves, tuple(edges))

    def _op(self, node: Node) -> OpNode:
        call = self.calls.get(node)
        layer = self.layers.get(node, "")
        if call is not None:
            self.made.setdefault(id(owner(call.y)), f"{layer} {node.name}".lstrip())
        flops = None if call is None else _flops(call)
        wanted = sum(edge is not None for edge in node.edges[:2])
        return OpNode(
            op=node.name,
            layer=layer,
            implementation="" if call is None else _implementation(call),
            shape=node.shape,
            dtype=str(node.dtype),
            kept=tuple(self._kept(a, node.name) for a in node.saved if _is_array(a)),
            flops=flops,
            backward_flops=flops * wanted if node.name in PRODUCTS and flops else None,
        )

    def _kept(self, a: Array, op: str) -> KeptArray:
        kind, what = self._described(a)
        what = EXTRA_NAMES.get(op, what) if kind == EXTRA else what
        # an optimizer holds all parameters in one array: of that the parameter alone counts
        start, stop = extent_of(a if kind == PARAMETER else owner(a))
        before = covered(self.kept)
        self.kept.append((start, stop))
        counted = covered(self.kept) - before
        return KeptArray(kind, what, a.shape, str(a.dtype), stop - start, counted)

    def _described(self, a: Array) -> tuple[str, str]:
        """Return the kind and the name of an array."""
        for name, parameter in self.parameters.items():
            if _overlap(a, parameter):
                return PARAMETER, name
        for name, array in self.given.items():
            if array is not None and owner(a) is owner(array):
                return INPUT, name
        if made := self.made.get(id(owner(a))):
            return OUTPUT, f"output of {made}"
        return EXTRA, "made for backward"

    def _sources(self, node: Node) -> Iterator[Node | tuple[int, str, Array, bool] | None]:
        """Yield what each input comes from: a node, or of a leaf what `_leaf` takes."""
        call = self.calls.get(node)
        inputs = (None,) * len(node.edges) if call is None else call.inputs
        for edge, a in zip(node.edges, inputs, strict=True):
            if edge is None and a is not None:
                kind, what = self._described(a)
                yield id(owner(a)), "constant" if kind == EXTRA else what, a, False
            elif edge is None or isinstance(edge, Node):
                yield edge
            elif a is not None:
                yield id(edge), self.names.get(id(edge), self._described(a)[1]), a, True

    def _leaf(self, key: int, name: str, a: Array, requires_grad: bool) -> int:
        """Return the number of a leaf, which may have been met before."""
        parameter = name in self.parameters
        leaf = LeafNode(name, a.shape, str(a.dtype), a.nbytes, parameter, requires_grad)
        return self.leaves.setdefault(key, (len(self.leaves), leaf))[0]


def _implementation(call: Call) -> str:
    """Return the name of the implementation that ran; of ``auto`` also what that chose."""
    names = {id(one): name for name, one in call.op.implementations.items()}
    name = names[id(call.implementation)]
    if call.op is CONV2D and name == "auto":
        x, w = call.inputs[:2]
        assert x is not None
        assert w is not None
        return f"auto: {names[id(cpu_rung(x, w, **call.params))]}"
    return name


def _flops(call: Call) -> int | None:
    try:
        return call.cost().flops
    except ValueError:
        return None


def _is_array(saved: Any) -> bool:
    return isinstance(saved, np.ndarray) or hasattr(saved, "__cuda_array_interface__")


def owner(a: Array) -> Array:
    """Return the array whose memory `a` is a view of: `a` itself where it has its own."""
    while _is_array(a.base):
        a = a.base
    return a


def _overlap(a: Array, b: Array) -> bool:
    (a0, a1), (b0, b1) = extent_of(a), extent_of(b)
    return a0 < b1 and b0 < a1


def covered(extents: list[tuple[int, int]]) -> int:
    """Return how many bytes lie in any of the extents."""
    total = end = 0
    for start, stop in sorted(extents):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total
