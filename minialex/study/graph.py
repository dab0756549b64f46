"""The graph that a forward pass records: ops, what they keep for backward, where gradients go."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

SCHEMA = "minialex-graph 1"

PARAMETER, INPUT, OUTPUT, EXTRA = "parameter", "input", "output", "extra"
KINDS = {
    PARAMETER: "weights, which the model holds anyway",
    INPUT: "what the network is given",
    OUTPUT: "outputs of ops, which could be freed without a backward",
    EXTRA: "made for backward alone: masks, where maxima are, probabilities",
}
"""What an array is that a node keeps."""


def op_title(layer: str, op: str, run: int) -> str:
    """Return what an op is called: its layer, its name and, from the second on, which run it is."""
    return f"{layer} {op}".lstrip() + (f", run {run}" if run > 1 else "")


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
        Of the backward, for the gradients that are wanted; None but for products, such as conv2d.
    run : int
        Which run of the op in this layer it is, from 1.
    """

    op: str
    layer: str
    implementation: str
    shape: tuple[int, ...]
    dtype: str
    kept: tuple[KeptArray, ...]
    flops: int | None
    backward_flops: int | None
    run: int = 1

    @property
    def title(self) -> str:
        """The layer and the op: ``features.0 conv2d``, ``add, run 2``."""
        return op_title(self.layer, self.op, self.run)

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
        return sum(prod(leaf.shape) for leaf in leaves)

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
