"""Op: one differentiable function, in implementations that agree."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minialex import arrays
from minialex.arrays import BFLOAT16, Array, Device
from minialex.autograd.choice import PLAIN, Routine, implementation_for
from minialex.autograd.graph import Edge, Gradients, Node, described, grad_enabled
from minialex.autograd.requests import check_backward, check_forward, parameters_of, requests_of
from minialex.autograd.tensor import Tensor, as_tensor
from minialex.autograd.widening import widened

Shapes = tuple[tuple[int, ...] | None, ...]

OPS: dict[str, Op] = {}
"""Every op there is, by name."""


@dataclass(frozen=True)
class Cost:
    """What a forward pass takes: floating-point operations and the fewest bytes moved."""

    flops: int
    bytes: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


def unknown_cost(shapes: Shapes, **params: Any) -> Cost:
    """Stand for the cost of an op that was given none; see `Call.cost`."""
    raise ValueError("the cost of this op is not known")


@dataclass(frozen=True)
class Implementation:
    """A pair of array functions.

    Parameters
    ----------
    forward : ``forward(*arrays, **params) -> (y, saved)``
        It may ask for `keep` (see ``requests.py``), and returns () as `saved` where that is False.
    backward : ``backward(gy, saved, **params) -> one gradient, or None, per input array``
        It may ask for `needs`, `out` and `may_defer`. A gradient has the same bits whichever others
        are wanted, and wherever it is written.
    why_not : ``why_not(device) -> str``
        Why it cannot run on arrays of that device; empty where it can, as array operations always
        can. Kernels give ``cuda.why_not``.
    dtypes : tuple of str
        The floating-point types of arrays that it takes; it raises a TypeError for others. bfloat16
        arrays are given as they are where it is among them, and else as float32, see `widened`.
    operand_roundoff : float
        The largest share of itself that an operand is rounded by before it is multiplied, where it
        has fewer bits than its type: 2**-11 for TF32. The checker allows for that.
    own_saved : bool
        True where `saved` differs from that of the op's other implementations, so that this
        forward goes with this backward alone.
    """

    forward: Callable[..., tuple[Array, tuple[Any, ...]]]
    backward: Callable[..., tuple[Any, ...]]
    why_not: Callable[[Device], str] = field(default=lambda device: "", kw_only=True)
    dtypes: tuple[str, ...] = field(default=("float32", "float64"), kw_only=True)
    operand_roundoff: float = field(default=0.0, kw_only=True)
    own_saved: bool = field(default=False, kw_only=True)
    takes: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes", requests_of(self.forward, self.backward))

    @functools.cached_property
    def widened(self) -> Implementation:
        """The same for bfloat16 arrays, computed in float32."""
        forward, backward = widened(self.forward, self.backward)
        return replace(self, forward=forward, backward=backward, dtypes=(*self.dtypes, "bfloat16"))


@dataclass(frozen=True, eq=False)
class Op(Routine):
    """One differentiable function, in one or more implementations that agree.

    Parameters
    ----------
    name : str
        Its name in `OPS`, in ``minialex.reference`` and in `using`. It may be given again only from
        the module that gave it first, as where a notebook's cell is run once more.
    implementations : dict
        From the name of the idea (``"plain"``, ``"tiled"``, ...) to the `Implementation`. Plain is
        always there.
    cost : ``cost(shapes, *, ...) -> Cost``, optional, the shapes being those of the input arrays
        Its keyword-only arguments are the op's parameters; where it takes ``**`` or is left out,
        those of the plain forward are. Summaries and benchmarks need it.
    kernel, cpu : str
        The defaults where CUDA kernels run, and elsewhere; see `Routine`.
    takes_weights : bool
        Whether inputs after the first are weights: they may be float32 beside a first input that is
        bfloat16, and their gradients then are too; on tensor cores they are multiplied as rounded
        to bfloat16. The result is of the type of the first input.
    """

    cost: Callable[..., Cost] = unknown_cost
    takes_weights: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        OPS[self.name] = self

    def _check(self) -> None:
        super()._check()
        parameters = parameters_of(self.implementations[PLAIN].forward, self.cost)
        for name, one in self.implementations.items():
            check_forward(f"op {self.name!r}: forward of {name!r}", one.forward, parameters)
            check_backward(f"op {self.name!r}: backward of {name!r}", one.backward, parameters)

    def _defined_in(self) -> str:
        plain: Implementation = self.implementations[PLAIN]
        return plain.forward.__module__

    def __call__(self, *inputs: Any, **params: Any) -> Tensor:
        """Run the op on Tensors, arrays or None and, where a gradient is wanted, record it."""
        tensors = tuple(None if x is None else as_tensor(x) for x in inputs)
        data = tuple(None if t is None else t.array for t in tensors)
        device, dtype = common_device_and_dtype(self.name, data, weights=self.takes_weights)
        chosen: Implementation = implementation_for(self, device, dtype)
        implementation = chosen if dtype != BFLOAT16 else self._for_bfloat16(chosen, data)
        edges = tuple(_edge(t) for t in tensors)
        keep = grad_enabled() and any(edge is not None for edge in edges)
        extras: dict[str, Any] = {"keep": keep} if "keep" in implementation.takes else {}
        if "shadow" in implementation.takes and tensors[1] is not None:
            extras["shadow"] = tensors[1].shadow
        y, saved = self._checked(implementation.forward(*data, **params, **extras))
        result = Tensor(y)
        if keep:
            result.requires_grad = True
            result.node = Node(
                self.name,
                implementation.backward,
                takes=implementation.takes,
                saved=saved,
                params=params,
                edges=edges,
                shape=y.shape,
                dtype=y.dtype,
            )
        for calls in _recordings.get():
            calls.append(Call(self, chosen, data, params, result.data, result.node))
        return result

    def _for_bfloat16(self, chosen: Implementation, data: Gradients) -> Implementation:
        """Return what runs on bfloat16 arrays: `chosen` itself where it takes them."""
        narrow_weights = self.takes_weights and any(
            a is not None and a.dtype == BFLOAT16 for a in data[1:]
        )
        return chosen if "bfloat16" in chosen.dtypes and not narrow_weights else chosen.widened

    def _checked(self, result: Any) -> tuple[Array, tuple[Any, ...]]:
        """Return what a forward returned, which must be an output and what it saved."""
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], tuple):
            if hasattr(result[0], "shape"):
                return result
            result = result[0]
        raise TypeError(
            f"the forward of {self.name} must return (y, saved), saved being a tuple of what its "
            f"backward needs, such as (), not {described(result)}"
        )


def _edge(t: Tensor | None) -> Edge:
    return None if t is None or not t.requires_grad else t.node or t


def common_device_and_dtype(
    name: str, data: Gradients, *, weights: bool = False
) -> tuple[Device, Any]:
    """Return the device of the arrays that `name` takes, and their floating-point type, if any.

    Where all but the first are `weights`, these may be float32 beside bfloat16.

    Raises
    ------
    ValueError
        If they are on several devices.
    TypeError
        If they are of several floating-point types.
    """
    present = [a for a in data if a is not None]
    devices = {arrays.device_of(a) for a in present}
    if len(devices) > 1:
        places = ", ".join(sorted(map(str, devices)))
        raise ValueError(f"{name}: inputs on different devices ({places}); move them with .to()")
    dtypes = {a.dtype for a in present if arrays.is_floating(a.dtype)}
    if weights and present[0].dtype == BFLOAT16:
        dtypes.discard(np.dtype(np.float32))
    if len(dtypes) > 1:
        kinds = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"{name}: inputs of different types ({kinds}); convert with .astype()")
    return devices.pop(), next(iter(dtypes), None)


@dataclass(frozen=True)
class Call:
    """One run of an op, as `record_calls` keeps it; `node` is what it left in the graph, if any."""

    op: Op
    implementation: Implementation
    inputs: Gradients
    params: dict[str, Any]
    y: Array
    node: Node | None

    @property
    def shapes(self) -> Shapes:
        """The shapes of the inputs."""
        return tuple(None if a is None else a.shape for a in self.inputs)

    def cost(self) -> Cost:
        """Return what the forward pass of this call takes.

        Raises
        ------
        ValueError
            If the op has no `cost`.
        """
        if self.op.cost is unknown_cost:
            raise ValueError(
                f"op {self.op.name!r} has no cost: give it one, Op(..., cost=lambda shapes: "
                "Cost(flops, bytes))"
            )
        return self.op.cost(self.shapes, **self.params)


_recordings: ContextVar[tuple[list[Call], ...]] = ContextVar("recordings", default=())


@contextlib.contextmanager
def record_calls(calls: list[Call] | None = None) -> Iterator[list[Call]]:
    """Append every op that runs inside to `calls`, a new list if that is left out, in order."""
    calls = [] if calls is None else calls
    token = _recordings.set((*_recordings.get(), calls))
    try:
        yield calls
    finally:
        _recordings.reset(token)
