"""The graph that ops leave behind, and the backward pass over it.

Each op leaves a `Node` that holds its saved tensors and the edges to the nodes of its inputs.
`run_backward` runs the nodes from the newest to the oldest: a topological order, in which the
gradient of a node's output is complete before its backward runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias

import numpy as np

from minialex.arrays import Array, check_replaces, extent_of
from minialex.autograd.clock import now, written_since
from minialex.autograd.deferred import DeferredGradient
from minialex.autograd.hooks import Hooks, after_hooks

Gradients = tuple[Array | None, ...]

_enabled: ContextVar[bool] = ContextVar("enabled", default=True)


def grad_enabled() -> bool:
    """Return whether ops are recorded in a graph."""
    return _enabled.get()


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside: no graph, no gradients, no saved arrays. Also a decorator."""
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)


class Leaf(Protocol):
    """What the graph needs of a Tensor whose gradient is wanted.

    `grad_buffer` is where that gradient lives once there is one: a view into an optimizer's arena.
    `deferred_grad` is a gradient for it that is not computed yet; reading `grad` computes it.
    `hooks` see what a backward adds to the gradient; None where there never was one.
    """

    grad: Array | None
    grad_buffer: Array | None
    deferred_grad: DeferredGradient | None
    hooks: Hooks | None

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""


Edge: TypeAlias = "Node | Leaf | None"
"""Where the gradient of an input goes: to the op that made it, to a leaf, or nowhere."""


class Node:
    """One op that ran: its backward with what it saved, and where the gradients of its inputs go.

    It refers to no input Tensor but leaves, so that an array which no backward needs is freed at
    once.

    Parameters
    ----------
    name : str
        The op's.
    backward : ``backward(gy, saved, **params)``
        One gradient, or None, for each of `edges`.
    takes : set of str
        Which requests that backward makes; see ``requests.py``.
    saved, params
        What it is called with.
    edges : tuple of Edge
    shape : tuple of int
        The shape of the op's output.
    dtype : dtype
        Its type.
    """

    __slots__ = (
        "backward",
        "dtype",
        "edges",
        "freed",
        "hooks",
        "name",
        "order",
        "params",
        "retained",
        "saved",
        "shape",
        "takes",
    )

    def __init__(
        self,
        name: str,
        backward: Callable[..., tuple[Any, ...]],
        *,
        takes: frozenset[str],
        saved: tuple[Any, ...],
        params: dict[str, Any],
        edges: tuple[Edge, ...],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self.name, self.backward, self.takes = name, backward, takes
        self.saved, self.params = saved, params
        self.edges, self.order = edges, now()
        self.shape, self.dtype = shape, dtype
        self.retained: Leaf | None = None
        self.hooks: Hooks | None = None
        self.freed = False

    def vjp(
        self, gy: Array, waiting: Container[Edge] = ()
    ) -> tuple[Array | DeferredGradient | None, ...]:
        """Return the gradients of the inputs, given `gy`, that of the output.

        Leaves of `waiting` have a gradient already that is not complete; see `run_backward`.
        """
        requests: dict[str, tuple[Any, ...]] = {}
        if "needs" in self.takes:
            requests["needs"] = tuple(edge is not None for edge in self.edges)
        if "out" in self.takes:
            requests["out"] = self.buffers(waiting)
        if "may_defer" in self.takes:
            requests["may_defer"] = tuple(buffer is not None for buffer in self.buffers(waiting))
        return self.backward(gy, self.saved, **self.params, **requests)

    def buffers(self, waiting: Container[Edge] = ()) -> Gradients:
        """Return, for each edge, where its gradient may be written directly, or None."""
        return tuple(self._unused_buffer(i, waiting) for i in range(len(self.edges)))

    def _unused_buffer(self, i: int, waiting: Container[Edge]) -> Array | None:
        """Return the buffer of a leaf that has no gradient yet, nor gets one from an earlier edge.

        Hooks see a gradient before it is where `grad` is read: with hooks there is none.
        """
        edge = self.edges[i]
        if edge is None or isinstance(edge, Node) or edge.grad is not None:
            return None
        if edge.hooks or edge in waiting:
            return None
        return None if any(e is edge for e in self.edges[:i]) else edge.grad_buffer

    def free(self) -> None:
        """Free saved tensors, and the nodes that this one depends on."""
        self.freed, self.saved, self.edges = True, (), ()


def ancestry(roots: Iterable[Node]) -> list[Node]:
    """Return every node that `roots` depend on, themselves included, oldest first."""
    stack = list(roots)
    seen = set(stack)
    while stack:
        for edge in stack.pop().edges:
            if isinstance(edge, Node) and edge not in seen:
                seen.add(edge)
                stack.append(edge)
    return sorted(seen, key=lambda node: node.order)


def run_backward(root: Node, gy: Array, *, retain_graph: bool) -> None:
    """Send `gy`, the gradient of the output of `root`, back to every leaf.

    Raises
    ------
    RuntimeError
        If a part of the graph was freed by an earlier backward, or an array that it has saved was
        written to since.
    """
    nodes = ancestry([root])
    if any(node.freed for node in nodes):
        raise RuntimeError(
            "this graph has been through backward() once and its saved arrays were freed; run the "
            "forward pass again, or keep them with backward(retain_graph=True) the first time"
        )
    _check_unchanged(nodes)
    complete = _complete_after(nodes)
    grads: dict[Node | Leaf, Array] = {root: gy}
    while nodes:
        # popped, so that arrays are freed as soon as they have been used
        node = nodes.pop()
        if node in grads:
            _run_node(node, grads)
        for leaf in complete.get(node, ()):
            if leaf in grads:
                accumulate(leaf, grads.pop(leaf))
        if not retain_graph:
            node.free()


def _complete_after(nodes: list[Node]) -> dict[Node, list[Leaf]]:
    """Return, by node, the leaves that no other gets to after it: hooks see sums of gradients."""
    last: dict[Leaf, Node] = {}
    for node in nodes:
        for edge in node.edges:
            if edge is not None and not isinstance(edge, Node):
                last.setdefault(edge, node)
    leaves: dict[Node, list[Leaf]] = {}
    for leaf, node in last.items():
        leaves.setdefault(node, []).append(leaf)
    return leaves


def _check_unchanged(nodes: list[Node]) -> None:
    """Check that saved tensors were not modified since, as far as that was noted."""
    writes = written_since(nodes[0].order)
    for node in nodes if writes else ():
        later = [(first, past) for first, past, when in writes if when > node.order]
        for a in filter(_is_array, node.saved):
            start, stop = extent_of(a)
            if any(start < past and first < stop for first, past in later):
                raise RuntimeError(
                    f"an array of shape {a.shape} that {node.name} saved for its gradients was "
                    "written to after the forward pass, by an optimizer's step or by "
                    "load_state_dict: call backward() before that, or run the forward pass again"
                )


def _is_array(saved: Any) -> bool:
    return isinstance(saved, np.ndarray) or hasattr(saved, "__cuda_array_interface__")


def _run_node(node: Node, grads: dict[Node | Leaf, Array]) -> None:
    """Run the backward of `node`, and add the gradients to those of its inputs.

    Those of ops and of leaves with hooks wait in `grads` until they are complete.
    """
    gy = grads.pop(node)
    if node.hooks:
        gy = after_hooks(node.hooks, gy)
    if node.retained is not None:
        accumulate(node.retained, gy)
    gxs = node.vjp(gy, grads)
    if not isinstance(gxs, tuple) or len(gxs) != len(node.edges):
        raise RuntimeError(
            f"the backward of {node.name} must return a tuple of {len(node.edges)}, a gradient or "
            f"None for each input, not {described(gxs)}"
        )
    for i, (edge, gx) in enumerate(zip(node.edges, gxs, strict=True)):
        if edge is None or gx is None:
            continue
        if gx.shape != edge.shape or gx.dtype != edge.dtype:
            raise RuntimeError(
                f"the backward of {node.name} gave a {gx.dtype} gradient of shape {gx.shape} "
                f"for input {i}, which is {edge.dtype} of shape {edge.shape}"
            )
        if isinstance(gx, DeferredGradient):
            _leave_deferred(node, i, gx, grads)
        elif isinstance(edge, Node) or edge.hooks or edge in grads:
            # not in place: another node may hold the array too
            grads[edge] = grads[edge] + gx if edge in grads else gx
        else:
            accumulate(edge, gx)


def described(result: Any) -> str:
    """Return in a few words what a function returned that should have been another tuple."""
    if not isinstance(result, tuple):
        return f"{type(result).__name__}"
    return f"a tuple of {len(result)}: ({', '.join(type(one).__name__ for one in result)})"


def _leave_deferred(
    node: Node, i: int, gx: DeferredGradient, grads: dict[Node | Leaf, Array]
) -> None:
    """Leave the gradient of input `i` with its leaf, to be computed later."""
    edge = node.edges[i]
    if edge is None or isinstance(edge, Node) or node.buffers(grads)[i] is None:
        raise RuntimeError(
            f"the backward of {node.name} deferred the gradient for input {i}, which may_defer "
            "does not allow"
        )
    edge.deferred_grad = gx


def accumulate(leaf: Leaf, g: Array) -> None:
    """Add `g`, as its hooks leave it, to the gradient of a leaf."""
    if leaf.hooks:
        g = after_hooks(leaf.hooks, g)
    buffer = leaf.grad_buffer
    if leaf.grad is not None:
        check_replaces("what is added to the gradient of an earlier backward", g, leaf.grad)
        leaf.grad += g
    elif buffer is None:
        leaf.grad = g
    else:
        if g is not buffer:
            buffer[...] = g
        leaf.grad = buffer
