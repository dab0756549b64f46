"""The function that `gradcheck` is asked about, as a function of arrays.

Its gradients are those of its leaves: the Tensors requiring one that are among its arguments, are
parameters of the module that it is, or are captured, which is to say found nowhere but in its
graph. A leaf stays the object that it is, so that whichever way `fn` comes by it, it sees the same
numbers: for a run each is lent another array, and afterwards has its own array and gradient back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, is_floating, to_device, to_numpy
from minialex.autograd import Tensor, no_grad, record_calls
from minialex.autograd.graph import Node
from minialex.autograd.op import Call, unknown_cost
from minialex.check import noise
from minialex.check.case import Inputs
from minialex.check.contract import is_fault_of_op
from minialex.check.found import (
    Graph,
    among,
    each_once,
    is_constant,
    mapped,
    numbers,
    on_host,
    requires_grad,
    seen_by,
    widened,
)
from minialex.check.lent import lent
from minialex.check.rounding import moved
from minialex.check.written_out import CalledOp, only_op


@dataclass(frozen=True)
class RunCost:
    """What one run takes.

    Attributes
    ----------
    flops, calls : float and int
        Floating-point operations, and calls of ops.
    dtype : dtype
        The coarsest type.
    operand_roundoff : float
        The largest of the implementations' that run.
    """

    flops: float
    calls: int
    dtype: np.dtype[Any]
    operand_roundoff: float


class BackwardError(Exception):
    """A backward that raised, though `fn` ran, and what it owes autograd was kept."""


class Subject:
    """A function of Tensors, as a function of the arrays of its leaves.

    Parameters
    ----------
    fn : function or module
    args : tuple
        What it is called with.
    reference : function of arrays, optional
        What it means; `forward` is that, where it is given.
    asker : str
        Who asks, for messages.

    Attributes
    ----------
    leaves : dict from name to Tensor
    constants : dict from name to Tensor or array
        The other floating-point numbers that `fn` is given; they require no gradient.
    made_before : list of str
        The ops that made Tensors which `fn` uses before it ran: what is behind is out of reach.
    outputs : dict from name to tuple of int
        The shapes of the outputs, ``output`` or ``output['loss']`` and so on.
    order : dict from name to int
        The place of each output among them; empty where that is the one in which `fn` returns them.
    no_tensors : list of str
        Arrays among the outputs, by name: nothing flows back from them.
    called : CalledOp or None
        The op that `fn` is, where it is one alone.
    why_narrow : str
        Why `fn` does not run in float64; empty where it does.
    as_given, work : RunCost
        What a run takes with the types that are given, and in float64 where `fn` takes that.

    Raises
    ------
    ValueError
        If there is no leaf, no output is a Tensor, or `reference` does not know a leaf; if there
        is no reference, and differences of `fn` tell nothing, as it rounds its operands.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        reference: Callable[..., Any] | None,
        asker: str = "gradcheck",
    ) -> None:
        self.fn, self.args, self.reference, self.asker = fn, args, reference, asker
        given = [(f"input {i}", a) for i, a in enumerate(args)] + [("", fn)]
        found = [pair for name, value in given for pair in numbers(value, name)]
        self.leaves = each_once((name, v) for name, v in found if requires_grad(v))
        self.constants = {n: v for n, v in found if is_floating(v.dtype) and not requires_grad(v)}
        self._scope = dict(seen_by(fn))
        self.no_tensors: list[str] = []
        self.order: dict[str, int] = {}
        self.outputs: dict[str, tuple[int, ...]] = {}
        self.made_before: list[str] = []
        self.called: CalledOp | None = None
        self._capture()
        if not self.leaves:
            raise ValueError(
                f"{self.asker}: no input requires a gradient; make one with Tensor(..., "
                "requires_grad=True)"
            )
        self._refuse_what_reference_cannot_know()
        self._ungraphed: Callable[[], contextlib.AbstractContextManager[None]] = no_grad
        try:
            self.as_given = self.work = self._measure(wide=False)
        except RuntimeError:
            # fn asks for a graph, as one that registers a hook does
            self._ungraphed = contextlib.nullcontext
            self.as_given = self.work = self._measure(wide=False)
        self.why_narrow = ""
        try:
            self.work = self._measure(wide=True)
        except TypeError as refusal:
            self.why_narrow = str(refusal)
            if self.as_given.operand_roundoff and reference is None:
                raise ValueError(
                    f"{self.asker}: fn rounds what it multiplies to fewer bits than float32 has, "
                    "so that its differences tell nothing: give a reference, or use another "
                    f"implementation, one that takes float64 ({refusal})"
                ) from refusal

    def arrays(self) -> Inputs:
        """Return the arrays of the leaves, in float64 on the host."""
        return tuple(to_numpy(t.data).astype(np.float64) for t in self.leaves.values())

    def forward(self, *xs: Array | None) -> Array:
        """Return all outputs behind one another."""
        if self.reference is not None:
            copies = (None if x is None else x.copy() for x in xs)
            given = dict(zip(map(id, self.leaves.values()), copies, strict=True))
            args = (mapped(a, lambda v: given.get(id(v), on_host(v))) for a in self.args)
            result = self.reference(*args)
            parts = result if isinstance(result, tuple | list) else [result]
            if any(isinstance(part, dict) for part in parts):
                raise ValueError(
                    f"{self.asker}: reference must return an array, or a tuple of them, not dict"
                )
            y = joined(parts)
            self._check_shapes(result, y.size)
            return y
        return self.values(xs, wide=not self.why_narrow)

    def _check_shapes(self, result: Any, size: int) -> None:
        """Check that the reference returns as many numbers as `fn`, in an array of its shape."""
        count = sum(map(prod, self.outputs.values()))
        if size != count:
            raise ValueError(f"{self.asker}: reference returns {size} numbers, fn {count}")
        (shape, *others), found = self.outputs.values(), np.shape(result)
        if not (others or isinstance(result, tuple | list) or size == 1 or found == shape):
            raise ValueError(
                f"{self.asker}: reference returns an array of shape {found}, fn one of {shape}"
            )

    def values(self, xs: Inputs, *, wide: bool) -> Array:
        """Return all outputs of `fn` itself behind one another, in float64 on the host."""
        with self._ungraphed(), self._run(xs, wide) as outputs:
            return joined(outputs)

    def gradient(
        self, xs: Inputs, gy: Array, perturb: noise.Perturb | None = None
    ) -> tuple[Array, ...]:
        """Return the gradients for the cotangent `gy`, in float64 where `fn` takes that.

        What ops saved goes through `perturb` before, if that is given. Where none arrives it is 0.
        """

        def change(node: Node) -> None:
            node.saved = node.saved if perturb is None else perturb(node.saved)

        return self._filled(self.vjp(xs, gy, change, wide=not self.why_narrow))

    def moved_by_rounding(
        self, xs: Inputs, gy: Array, rng: np.random.Generator, dtype: np.dtype[Any]
    ) -> list[Array]:
        """Return how far the gradients move when every op is rounded at random, as in `dtype`."""
        wide = not self.why_narrow
        return moved(
            lambda r: self._filled(self.vjp(xs, gy, r.round_node, wide=wide)),
            self.gradient(xs, gy),
            rng,
            dtype,
        )

    def outputs_moved_by_rounding(self, xs: Inputs, rng: np.random.Generator) -> Array:
        """Return how far the outputs move likewise, as in the type that `work` is done in."""
        wide = not self.why_narrow
        (apart,) = moved(
            lambda _: (self.values(xs, wide=wide),),
            (self.values(xs, wide=wide),),
            rng,
            self.work.dtype,
        )
        return apart

    def _filled(self, arrived: Inputs) -> tuple[Array, ...]:
        """Return gradients with zeros for what did not arrive."""
        together = zip(arrived, self.leaves.values(), strict=True)
        return tuple(np.zeros(t.shape) if g is None else g for g, t in together)

    def vjp(
        self,
        xs: Inputs,
        gy: Array,
        change: Callable[[Node], None] = lambda node: None,
        *,
        wide: bool = False,
    ) -> Inputs:
        """Return the gradients that arrive at the leaves, None where none does.

        `change` is made to every node between forward and backward.
        """
        with self._run(xs, wide) as outputs, contextlib.ExitStack() as changed:
            graph, leaves = Graph.behind(outputs), list(self.leaves.values())
            for node in graph.nodes:
                # some may be the user's own, made before fn ran
                changed.callback(_restore, node, node.saved, node.backward)
                change(node)
            others = [t for t in graph.leaves() if not among(t, leaves)]
            with lent(others, [t.data for t in others]), _blamed():
                _send_back(outputs, gy)
            return tuple(
                None if t.grad is None else to_numpy(t.grad).astype(np.float64) for t in leaves
            )

    @contextlib.contextmanager
    def recorded(self, *, wide: bool) -> Iterator[tuple[list[Call], list[Tensor]]]:
        """Yield the ops that `fn` runs, in order, and its outputs; in float64 if `wide`."""
        with record_calls() as calls, self._run(self.arrays(), wide) as outputs:
            yield calls, outputs

    @contextlib.contextmanager
    def _run(self, xs: Inputs, wide: bool) -> Iterator[list[Tensor]]:
        """Yield the outputs, with `xs` for the leaves; everything in float64 if `wide`."""
        tensors, values, args = list(self.leaves.values()), list(xs), self.args
        if wide:
            seen = self._scope.values()
            constants = [v for v in (*self.constants.values(), *seen) if is_constant(v)]
            tensors += constants
            values += [to_numpy(t.data) for t in constants]
            args = mapped(args, widened)
        dtypes = (np.dtype(np.float64) if wide else t.dtype for t in tensors)
        data = [
            to_device(np.asarray(v, dtype), t.device)
            for t, v, dtype in zip(tensors, values, dtypes, strict=True)
        ]
        with lent(tensors, data):
            yield self._outputs(self.fn(*args))

    def _outputs(self, result: Any) -> list[Tensor]:
        """Return the Tensors of floating-point numbers that `fn` returned."""
        found = [(n, v) for n, v in numbers(result, "output") if is_floating(v.dtype)]
        if self.order:
            found.sort(key=lambda pair: self.order.get(pair[0], len(self.order)))
        outputs = [v for _, v in found if isinstance(v, Tensor)]
        if not outputs:
            given = type(result).__name__
            if isinstance(result, Tensor):
                given = f"of {result.dtype}: only floating-point numbers have gradients"
            raise ValueError(f"{self.asker}: fn must return Tensors, not {given}")
        shapes = {n: v.shape for n, v in found if isinstance(v, Tensor)}
        if self.outputs not in ({}, shapes):
            raise ValueError(
                f"{self.asker}: fn returns {shapes}, and {self.outputs} where its inputs were "
                "others: give one whose outputs keep their shapes"
            )
        self.outputs = shapes
        self.no_tensors = [name for name, v in found if not isinstance(v, Tensor)]
        return outputs

    def _capture(self) -> None:
        """Find the leaves that `fn` was not given: what two runs have in common."""
        graphs = []
        for _ in range(2):
            with self._run(self.arrays(), wide=False) as outputs:
                graphs.append(Graph.behind(outputs))
        first, second = graphs
        before = set(first.nodes) & set(second.nodes)
        own = [*self.leaves.values()]
        # a leaf that each run makes anew is the run's own affair
        captured = [t for t in second.leaves(before) if among(t, first.leaves(before))]
        names = {id(v): name for name, v in self._scope.items()}
        for t in captured:
            if not among(t, own):
                name = names.get(id(t), f"Tensor {len(self.leaves)} of shape {t.shape}")
                self.leaves[f"captured {name}"] = t
        self.made_before = second.entrances(before)

    def _refuse_what_reference_cannot_know(self) -> None:
        if self.reference is None:
            return
        known = [v for _, v in numbers(list(self.args), "")]
        for name, t in self.leaves.items():
            if not among(t, known):
                raise ValueError(
                    f"{self.asker}: reference is not given {name}, which fn depends on; make it "
                    "one of the inputs, or leave out the reference"
                )

    def allowed(self, dtype: Any, operations: float) -> float:
        """Return what rounding may take of S, in results of `dtype`."""
        operands = self.as_given.operand_roundoff if dtype == self.as_given.dtype else 0.0
        return noise.allowed(dtype, operations, operand_roundoff=operands)

    def _measure(self, wide: bool) -> RunCost:
        with record_calls() as calls, self._ungraphed(), self._run(self.arrays(), wide) as outputs:
            computed = [*(call.y.dtype for call in calls), *(y.dtype for y in outputs)]
            self.called = only_op(calls, outputs, self.leaves.values())
        if not wide:
            computed += [t.dtype for t in self.leaves.values()]
        floats = (dtype for dtype in computed if is_floating(dtype))
        flops = sum(map(_flops, calls))
        operands = max((call.implementation.operand_roundoff for call in calls), default=0.0)
        return RunCost(flops, len(calls), max(floats, key=noise.unit), operands)


def _flops(call: Call) -> float:
    """Return the operations of a call; unknown, those of outputs that each depend on all inputs."""
    if call.op.cost is not unknown_cost:
        return call.cost().flops
    return call.y.size * sum(prod(shape) for shape in call.shapes if shape is not None)


def _restore(node: Node, saved: tuple[Any, ...], backward: Callable[..., Any]) -> None:
    node.saved, node.backward = saved, backward


def cotangents(outputs: Sequence[Tensor], gy: Array) -> Iterator[tuple[Tensor, Array]]:
    """Yield the outputs that have a graph, each with its part of the cotangent."""
    ends = np.cumsum([y.size for y in outputs])
    for y, end in zip(outputs, ends, strict=True):
        if y.requires_grad:
            part = gy[end - y.size : end].reshape(y.shape).astype(y.dtype)
            yield y, to_device(part, y.device)


def _send_back(outputs: list[Tensor], gy: Array) -> None:
    """Run backward from each output that has a graph."""
    for y, part in cotangents(outputs, gy):
        y.backward(part, retain_graph=True)


@contextlib.contextmanager
def _blamed() -> Iterator[None]:
    """Have whatever an op raises be a `BackwardError`."""
    try:
        yield
    except Exception as failure:  # what it is does not matter, but whose fault
        if not is_fault_of_op(failure):
            raise
        raise BackwardError(f"{type(failure).__name__}: {failure}") from failure


def joined(values: Iterable[Any]) -> Array:
    """Return arrays or Tensors behind one another, as one axis of float64."""
    flat = [np.asarray(on_host(v), np.float64).reshape(-1) for v in values]
    return np.concatenate(flat)
