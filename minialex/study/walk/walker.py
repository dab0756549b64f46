"""The backward pass over a recorded graph, one op at a time, right or wrong on purpose.

`walk` does what ``Tensor.backward`` does, with the same bits, and writes down each step. It changes
nothing: what it adds up is in the `BackwardPass` that it returns, not in `grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from minialex.arrays import Array, array_module, extent_of, is_array, to_numpy
from minialex.autograd import Call, Tensor, as_tensor
from minialex.autograd.clock import written_since
from minialex.autograd.graph import Edge, Leaf, Node, ancestry, described
from minialex.autograd.hooks import after_hooks
from minialex.errors import MinialexError
from minialex.study.walk.steps import BackwardPass, BackwardStep, Contribution
from minialex.wording import unknown

NEWEST_FIRST, AS_THEY_COME, RECURSIVE = "newest first", "as they come", "recursive"

ORDERS = NEWEST_FIRST, AS_THEY_COME, RECURSIVE
"""In which order ops run backward.

``newest first`` is a topological order: each runs once, when the gradient of its output is
complete. ``as they come``: each runs once, as soon as some of that gradient is there.
``recursive``: each sends what it has to its inputs, and they at once to theirs, every time.
"""

ADD, OVERWRITE = "+=", "="

ACCUMULATE = ADD, OVERWRITE
"""What is done with a gradient where another one has been left before."""

MAX_STEPS = 3_000
"""Recursion may double its steps with each value that is used twice: here it ends."""

Replacement: TypeAlias = Callable[[Node, Array], tuple[Any, ...]]
"""A backward in place of an op's own: from the node and the gradient of its output."""

Target: TypeAlias = Node | Leaf
"""What has a gradient: what an op made, or a leaf."""


def walk(
    loss: Tensor,
    gradient: Any = None,
    *,
    names: Mapping[str, Tensor] | None = None,
    calls: Iterable[Call] = (),
    order: str = NEWEST_FIRST,
    accumulate: str = ADD,
    replace: Mapping[str, Replacement] | None = None,
) -> BackwardPass:
    """Go back from `loss` over the ops that made it, as ``loss.backward(gradient)`` does.

    Hooks are called as there. The graph stays: it can be walked again, and sent back through.

    Parameters
    ----------
    loss : Tensor that requires a gradient
    gradient : array or Tensor of its shape, optional
        Where it begins; 1 where it is left out, of a Tensor of one element.
    names : dict from name to Tensor, optional
        What values are called; others are called by number: ``relu 1``, ``leaf 2``.
    calls : of `record_calls`, optional
        The forward pass, so that steps have the numbers of their ops.
    order : one of `ORDERS`
    accumulate : one of `ACCUMULATE`
    replace : dict from the name of an op to a function, optional
        Backwards that run in place of an op's own: ``{"relu": lambda node, gy: (gy,)}``.

    Raises
    ------
    MinialexError
        If an order or way to accumulate is unknown, or there are more than `MAX_STEPS` steps.
    RuntimeError
        If nothing here requires a gradient, `gradient` is missing, the graph was freed or what it
        has saved was written to, or a backward returns something else than a gradient of the right
        shape for each input.
    ValueError
        If `gradient` is of another shape.
    """
    for what, given, known in (("order", order, ORDERS), ("accumulate", accumulate, ACCUMULATE)):
        if given not in known:
            raise MinialexError(unknown(what, given, known))
    if not loss.requires_grad:
        raise RuntimeError(
            "walk: this Tensor requires no gradient: make what it depends on with "
            "requires_grad=True, outside no_grad()"
        )
    gy = _cotangent(loss, gradient)
    walker = _Walker(loss, names or {}, calls, accumulate == ADD, replace or {})
    walker.run(gy, order)
    start = walker.names[walker.root]
    return BackwardPass(start, _copy(gy), tuple(walker.steps), walker.left_in_grad())


def _cotangent(loss: Tensor, gradient: Any) -> Array:
    if gradient is None:
        if loss.size != 1:
            raise RuntimeError(
                f"walk: a Tensor of shape {loss.shape} needs a gradient of that shape to begin with"
            )
        return array_module(loss.data).ones_like(loss.data)  # type: ignore[no-any-return]
    gy = as_tensor(gradient, like=loss).data
    if gy.shape != loss.shape:
        raise ValueError(f"walk: the gradient has shape {gy.shape}, the Tensor {loss.shape}")
    return gy.astype(loss.dtype, copy=False)


def _copy(a: Any) -> Array:
    """Return a copy on the host, of an array or of the number that NumPy made of one."""
    return np.array(to_numpy(a))


class _Walker:
    """A backward pass under way.

    `waiting` holds gradients of which more may come, `grads` what stands in `grad` by now.
    """

    def __init__(
        self,
        loss: Tensor,
        names: Mapping[str, Tensor],
        calls: Iterable[Call],
        adds: bool,
        replace: Mapping[str, Replacement],
    ) -> None:
        self.root: Target = loss.node or loss
        self.nodes = ancestry([self.root]) if isinstance(self.root, Node) else []
        if any(node.freed for node in self.nodes):
            raise RuntimeError(
                "walk: this graph has been through backward() and its saved arrays were freed; run "
                "the forward pass again, or keep them with backward(retain_graph=True)"
            )
        _check_unchanged(self.nodes)
        self.names = _names(self.root, self.nodes, names)
        self.calls = {call.node: call for call in calls}
        self.adds, self.replace = adds, replace
        self.waiting: dict[Target, Array] = {}
        self.grads: dict[Leaf, Array] = {}
        self.steps: list[BackwardStep] = []
        self.left: dict[str, Array] = {}

    def left_in_grad(self) -> dict[str, Array]:
        """Return what is in `grad` by now, by name."""
        return {self.names[leaf]: _copy(g) for leaf, g in self.grads.items()}

    def run(self, gy: Array, order: str) -> None:
        """Send `gy` back, node by node."""
        self.waiting[self.root] = gy
        if isinstance(self.root, Node):
            ordered = {
                NEWEST_FIRST: self._newest_first,
                AS_THEY_COME: self._as_they_come,
                RECURSIVE: self._recursive,
            }[order]
            for node in ordered(self.root):
                if len(self.steps) == MAX_STEPS:
                    raise MinialexError(f"walk: more than {MAX_STEPS:,} steps: take a smaller one")
                self._step(node)
        for target in list(self.waiting):
            self._complete(target)

    def _newest_first(self, root: Node) -> Iterator[Node]:
        complete = _complete_after(self.nodes)
        for node in reversed(self.nodes):
            if node in self.waiting:
                yield node
            for leaf in complete.get(node, ()):
                self._complete(leaf)

    def _as_they_come(self, root: Node) -> Iterator[Node]:
        queue = [root]
        # it grows meanwhile
        for node in queue:
            yield node
            queue += [edge for edge in self._reached(node) if edge not in queue]

    def _recursive(self, node: Node) -> Iterator[Node]:
        yield node
        for edge in self._reached(node):
            yield from self._recursive(edge)

    def _reached(self, node: Node) -> list[Node]:
        edges = dict.fromkeys(node.edges)
        return [edge for edge in edges if isinstance(edge, Node) and edge in self.waiting]

    def _step(self, node: Node) -> None:
        """Run the backward of `node` on what has come for it, which stays: more may come."""
        gy = arrived = self.waiting[node]
        if node.hooks:
            gy = after_hooks(node.hooks, gy)
        self.left = {}
        if node.retained is not None:
            self._leave(node.retained, gy)
        other = self.replace.get(node.name)
        # all edges count as waiting: what an optimizer holds is not written to
        gxs = other(node, gy) if other else node.vjp(gy, set(node.edges))
        _check(node, gxs)
        given = [
            self._give(i, edge, gx)
            for i, (edge, gx) in enumerate(zip(node.edges, gxs, strict=True))
            if edge is not None and gx is not None
        ]
        self.steps.append(
            BackwardStep(
                number=len(self.steps) + 1,
                op=node.name,
                name=self.names[node],
                gy=_copy(gy),
                arrived=_copy(arrived) if node.hooks else None,
                contributions=tuple(given),
                left=self.left,
                replaced=other is not None,
                call=self.calls.get(node),
            )
        )

    def _give(self, i: int, edge: Target, gx: Any) -> Contribution:
        """Give an input its gradient; that of a leaf without hooks goes to `grad` at once."""
        if isinstance(edge, Node) or edge.hooks or edge in self.waiting:
            before = self.waiting.get(edge)
            after = self.waiting[edge] = self._sum(before, gx)
        else:
            before = self._in_grad(edge)
            after = self._leave(edge, gx)
        was = None if before is None else _copy(before)
        return Contribution(i, self.names[edge], _copy(gx), was, _copy(after))

    def _sum(self, before: Array | None, g: Array) -> Array:
        return before + g if before is not None and self.adds else g

    def _in_grad(self, leaf: Leaf) -> Array | None:
        return self.grads.get(leaf, leaf.grad)

    def _leave(self, leaf: Leaf, g: Array) -> Array:
        """Leave `g` in `grad` of a leaf, or of what retains its gradient."""
        total = self.grads[leaf] = self._sum(self._in_grad(leaf), g)
        self.left[self.names[leaf]] = _copy(total)
        return total

    def _complete(self, target: Target) -> None:
        """Leave with a leaf what has waited for it."""
        if isinstance(target, Node) or target not in self.waiting:
            return
        g = self.waiting.pop(target)
        self._leave(target, after_hooks(target.hooks, g) if target.hooks else g)


def _check_unchanged(nodes: list[Node]) -> None:
    """Refuse a graph whose saved arrays were written to since, as far as that was noted."""
    for node in nodes:
        writes = written_since(node.order)
        for a in filter(is_array, node.saved if writes else ()):
            start, stop = extent_of(a)
            if any(start < past and first < stop for first, past, _ in writes):
                raise RuntimeError(
                    f"walk: an array of shape {a.shape} that {node.name} saved was written to "
                    "after the forward pass: walk before the optimizer steps, or run it again"
                )


def _check(node: Node, gxs: Any) -> None:
    """Refuse what is no gradient for each input, as autograd does."""
    if not isinstance(gxs, tuple) or len(gxs) != len(node.edges):
        raise RuntimeError(
            f"walk: the backward of {node.name} must return a tuple of {len(node.edges)}, a "
            f"gradient or None for each input, not {described(gxs)}"
        )
    for i, (edge, gx) in enumerate(zip(node.edges, gxs, strict=True)):
        if edge is not None and gx is not None and gx.shape != edge.shape:
            raise RuntimeError(
                f"walk: the backward of {node.name} gave a gradient of shape {gx.shape} for input "
                f"{i}, which is of shape {edge.shape}"
            )


def _complete_after(nodes: list[Node]) -> dict[Node, list[Leaf]]:
    """Return, by node, the leaves that no other gives a gradient after it."""
    last: dict[Leaf, Node] = {}
    for node in reversed(nodes):
        last |= dict.fromkeys(_leaves(node.edges), node)
    found: dict[Node, list[Leaf]] = {}
    for leaf, node in last.items():
        found.setdefault(node, []).append(leaf)
    return found


def _leaves(edges: Iterable[Edge]) -> list[Leaf]:
    return [edge for edge in edges if edge is not None and not isinstance(edge, Node)]


def _names(root: Target, nodes: list[Node], given: Mapping[str, Tensor]) -> dict[Target, str]:
    """Return what every value is called; those that have no name are numbered."""
    found: dict[Target, str] = {t.node or t: name for name, t in given.items()}
    values: list[tuple[Target, str]] = [
        (edge, "leaf") for node in nodes for edge in _leaves(node.edges)
    ]
    values += [(node, node.name) for node in nodes]
    taken = set(given)
    for value, kind in [*values, (root, "leaf")]:
        if value not in found:
            n = next(n for n in range(1, len(values) + 2) if f"{kind} {n}" not in taken)
            found[value] = f"{kind} {n}"
            taken.add(found[value])
    # what retains its gradient is called as what its op made
    return found | {node.retained: found[node] for node in nodes if node.retained is not None}
