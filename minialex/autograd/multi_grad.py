"""Hooks that see the gradients of several Tensors at once, such as those of a module's inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from minialex.arrays import Array
from minialex.autograd.graph import Gradients, Node
from minialex.autograd.tensor import Tensor

MultiGradHook: TypeAlias = Callable[[Gradients], Gradients]

_TOKEN = np.zeros((), np.float32)
"""What a view sends back in place of a gradient, so that the hook's turn comes."""


def with_multi_grad_hook(tensors: Sequence[Tensor], hook: MultiGradHook) -> list[Tensor]:
    """Return views of `tensors`: what is computed from these sends its gradients through `hook`.

    It is called once per backward that reaches any of them, when the gradients of all are complete;
    what it returns flows on. Gradients that reach `tensors` by other ways do not pass through it.

        x0 <--+        +-- view 0 <-- ...
              |-- hook-|                      arrows: where gradients go
        x1 <--+        +-- view 1 <-- ...

    Parameters
    ----------
    tensors : Tensors that require a gradient
    hook : function
        From one gradient, or None, for each of them to the same.
    """
    arrived: dict[int, Array] = {}

    def run(token: Array, saved: tuple[Any, ...]) -> Gradients:
        gradients = tuple(arrived.pop(i, None) for i in range(len(tensors)))
        return hook(gradients)

    gate = _node("hook", run, [t.node or t for t in tensors], _TOKEN)
    return [_view(t, i, gate, arrived) for i, t in enumerate(tensors)]


def _view(t: Tensor, i: int, gate: Node, arrived: dict[int, Array]) -> Tensor:
    def arrive(gy: Array, saved: tuple[Any, ...]) -> Gradients:
        arrived[i] = gy
        return (_TOKEN,)

    view = Tensor(t.data, requires_grad=True)
    view.node = _node("view", arrive, [gate], t.data)
    return view


def _node(name: str, backward: Callable[..., Gradients], edges: list[Any], like: Array) -> Node:
    return Node(
        name,
        backward,
        takes=frozenset(),
        saved=(),
        params={},
        edges=tuple(edges),
        shape=like.shape,
        dtype=like.dtype,
    )
