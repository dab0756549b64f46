"""What is found where: Tensors and arrays in lists, dicts, modules, closures; and their graphs."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from minialex.arrays import is_floating, to_numpy
from minialex.autograd import Tensor
from minialex.autograd.graph import Node, ancestry


@runtime_checkable
class ModuleLike(Protocol):
    """What is asked of a module: that it names its parts, as `nn.Module` does."""

    def named_parameters(self) -> Iterable[tuple[str, Any]]:
        """Yield each parameter with its name."""

    def named_modules(self) -> Iterable[tuple[str, Any]]:
        """Yield the module itself and all below it, with their names."""


def numbers(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the Tensors and arrays in `value`, and in its lists, tuples, dicts and modules."""
    if isinstance(value, Tensor | np.ndarray):
        yield name, value
    elif isinstance(value, ModuleLike) and not isinstance(value, type):
        for path, t in (*value.named_parameters(), *_buffers(value)):
            yield from numbers(t, ".".join(filter(None, (name, path))))
    elif type(value) is dict:
        for key, v in value.items():
            yield from numbers(v, f"{name}[{key!r}]")
    elif type(value) in (list, tuple):
        for i, v in enumerate(value):
            yield from numbers(v, f"{name}[{i}]")


def _buffers(module: ModuleLike) -> Iterator[tuple[str, Any]]:
    """Yield the Tensors that require no gradient and stand in attributes of the module's parts."""
    for path, part in module.named_modules():
        for name, v in vars(part).items():
            if isinstance(v, Tensor) and not v.requires_grad:
                yield ".".join(filter(None, (path, name))), v


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return `value` with `change` made to what its lists, tuples and dicts hold."""
    if type(value) is dict:
        return {key: mapped(v, change) for key, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(mapped(v, change) for v in value)
    return change(value)


def seen_by(fn: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Yield the Tensors that a Python function sees without being given them, with their names."""
    scope = {"self": getattr(fn, "__self__", None)}
    with contextlib.suppress(TypeError, ValueError):
        seen = inspect.getclosurevars(fn)
        scope |= {**seen.globals, **seen.nonlocals}
    for name, value in scope.items():
        yield from numbers(value, name)


def each_once(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Return the Tensors by name; one of several names has them all."""
    names: dict[int, list[str]] = {}
    tensors: dict[int, Tensor] = {}
    for name, t in named:
        names.setdefault(id(t), []).append(name)
        tensors[id(t)] = t
    return {" = ".join(names[key]): t for key, t in tensors.items()}


def among(t: Any, others: Iterable[Any]) -> bool:
    """Return whether `t` is one of `others`, which need not be comparable."""
    return any(t is other for other in others)


def requires_grad(value: Any) -> bool:
    """Return whether a value is a Tensor that requires a gradient."""
    return isinstance(value, Tensor) and value.requires_grad


def is_constant(value: Any) -> bool:
    """Return whether a value is a Tensor of floating-point numbers that requires none."""
    return isinstance(value, Tensor) and is_floating(value.dtype) and not value.requires_grad


def on_host(value: Any) -> Any:
    """Return the array of a Tensor, on the host; other values as they are."""
    return to_numpy(value.data) if isinstance(value, Tensor) else value


def widened(value: Any) -> Any:
    """Return an array of floating-point numbers in float64; other values as they are."""
    wide = isinstance(value, np.ndarray) and is_floating(value.dtype)
    return value.astype(np.float64) if wide else value


@dataclass(frozen=True)
class Graph:
    """What some outputs were made from: the ops that ran, and outputs that are leaves."""

    nodes: list[Node]
    ends: list[Tensor]

    @classmethod
    def behind(cls, outputs: list[Tensor]) -> Graph:
        """Return the graph of these outputs."""
        nodes = ancestry(y.node for y in outputs if y.node is not None)
        return cls(nodes, [y for y in outputs if y.node is None and y.requires_grad])

    def leaves(self, but: Collection[Node] = ()) -> list[Tensor]:
        """Return the leaves that the nodes lead to, without those behind the nodes of `but`."""
        edges = (edge for node in self.nodes if node not in but for edge in node.edges)
        found = {id(t): t for t in (*edges, *self.ends) if isinstance(t, Tensor)}
        return list(found.values())

    def entrances(self, old: Collection[Node]) -> list[str]:
        """Return the names of those nodes of `old` that others, or the outputs, are fed by."""
        new = [node for node in self.nodes if node not in old]
        fed = {edge for node in new for edge in node.edges if isinstance(edge, Node)}
        return sorted(node.name for node in old if node in fed or not new)
