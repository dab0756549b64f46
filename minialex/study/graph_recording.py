"""Recording a graph: a forward pass under hooks, and what its nodes hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
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
from minialex.study.graph import (
    EXTRA,
    INPUT,
    OUTPUT,
    PARAMETER,
    GraphEdge,
    KeptArray,
    LeafNode,
    OpNode,
    RecordedGraph,
    op_title,
)
from minialex.study.layers import named_layers

PRODUCTS = "conv2d", "linear", "matmul"
"""Ops whose gradient of each of their two factors takes as many operations as their forward."""


EXTRA_NAMES = {
    "relu": "mask: where y is not 0",
    "max_pool2d": "where each maximum is",
    "cross_entropy": "probabilities",
    "local_response_norm": "s, what x is divided by",
}
"""What ops make for their backward; see their modules."""


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
            after = partial(_leave, calls, starts, layer, layers)
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
    graph = _GraphReader(calls, layers, names, parameters, given)
    return graph.read(name or type(model).__name__, ancestry([y.node]))


def _enter(calls: list[Call], starts: list[int], *_: Any) -> None:
    starts.append(len(calls))


def _leave(
    calls: list[Call], starts: list[int], name: str, layers: dict[int, str], *_: Any
) -> None:
    """Note in which layer the calls ran, by the number of the call."""
    layers.update(dict.fromkeys(range(starts.pop(), len(calls)), name))


class _GraphReader:
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
        self.leaves: dict[object, tuple[int, LeafNode]] = {}
        self.runs: Counter[tuple[str, str]] = Counter()
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
        self.runs[layer, node.name] += 1
        run = self.runs[layer, node.name]
        if call is not None:
            # a view has the memory of what it is a view of
            self.made.setdefault(id(owner(call.y)), op_title(layer, node.name, run))
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
            run=run,
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

    def _sources(self, node: Node) -> Iterator[Node | tuple[object, LeafNode] | None]:
        """Yield what each input comes from: a node, a leaf with what tells it from others, or None.

        A hook's node, which no call left, is shown without leaves.
        """
        call = self.calls.get(node)
        inputs = (None,) * len(node.edges) if call is None else call.inputs
        for edge, a in zip(node.edges, inputs, strict=True):
            if isinstance(edge, Node):
                yield edge
            elif a is None:
                yield None
            else:
                kind, what = self._described(a)
                what = "constant" if kind == EXTRA else what
                name, parameter = self.names.get(id(edge), what), kind == PARAMETER
                leaf = LeafNode(name, a.shape, str(a.dtype), a.nbytes, parameter, edge is not None)
                yield name if parameter else id(owner(a)), leaf

    def _leaf(self, key: object, leaf: LeafNode) -> int:
        """Return the number of a leaf, which may have been met before."""
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
    base: Any = a.base
    return owner(base) if _is_array(base) else a


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
