"""What every implementation owes autograd besides right numbers.

Inputs, saved arrays and the cotangent are never written to; the output has the inputs' type;
nothing is saved where no backward follows; one gradient comes back for each input, of its shape and
type; inputs that need none get None; a gradient goes into the array that `out` gives for it. Output
and gradients have the same bits whatever is kept, wanted and given.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations
from typing import Any

import numpy as np

from minialex import arrays
from minialex.arrays import Array
from minialex.check.case import Case, Inputs
from minialex.check.suite import Pair, problem_of


def violations(pair: Pair, case: Case) -> list[str]:
    """Return what `pair` breaks of the contract on `case`, one line each; empty is good."""
    problem = problem_of(pair.op, case)
    run = _ContractRun(
        pair, case, pair.prepared(problem.inputs), case.differentiable(problem.inputs)
    )
    return [
        *run.output(problem.y.shape),
        *run.written(),
        *run.keep(),
        *run.gradients(),
        *run.needs(),
        *run.out(),
    ]


class _ContractRun:
    """One case, run once, and what is asked of a pair of implementations about it."""

    def __init__(self, pair: Pair, case: Case, inputs: Inputs, wanted: tuple[int, ...]) -> None:
        self.pair, self.case, self.inputs, self.wanted = pair, case, inputs, wanted
        self.problem = problem_of(pair.op, case)
        self.dtype = case.output_dtype or pair.dtype
        self.gy = arrays.to_device(
            self.problem.gy.astype(self.dtype), case.output_device or pair.device
        )
        self.all = tuple(i in wanted for i in range(len(inputs)))
        self.before = self.state()
        self.y, self.saved = pair.run(inputs, case.params)
        self.after_forward = self.state()
        self.results = _bytes(self.y), [_bytes(a) for a in self.saved]
        self.whole = self.vjp(self.all)

    def vjp(self, needs: tuple[bool, ...], out: Inputs | None = None) -> Inputs:
        return self.pair.vjp(self.gy, self.saved, self.case.params, needs, out)

    def state(self) -> list[bytes | None]:
        """Return the bits of what must not be written to."""
        return [_bytes(a) for a in (*self.inputs, self.gy)]

    def output(self, shape: tuple[int, ...]) -> Iterator[str]:
        if not isinstance(self.saved, tuple):
            yield f"saved is a {type(self.saved).__name__}, it must be a tuple"
        if not _like(self.y, self.gy):
            yield f"the output is a {type(self.y).__name__}, it must be an array of its device"
        elif (self.y.shape, self.y.dtype) != (shape, self.dtype):
            yield f"the output is {self.y.shape} {self.y.dtype}, not {shape} {self.dtype}"

    def written(self) -> Iterator[str]:
        names = [*(f"input {i}" for i in range(len(self.inputs))), "the cotangent"]
        for name, *states in zip(names, self.before, self.after_forward, self.state(), strict=True):
            if len(set(states)) > 1:
                yield f"{name} was written to"
        y, saved = self.results
        if _bytes(self.y) != y:
            yield "backward wrote to the output"
        if [_bytes(a) for a in self.saved] != saved:
            yield "backward wrote to what was saved, so that it cannot run twice"

    def keep(self) -> Iterator[str]:
        """Run forward as it is where no backward follows."""
        if "keep" not in self.pair.implementations()[0].takes:
            return
        y, saved = self.pair.run(self.inputs, {**self.case.params, "keep": False})
        if _bytes(y) != self.results[0]:
            yield "the output differs where nothing is kept for backward"
        if saved != ():
            yield f"with keep=False, {len(saved)} were saved: it must be ()"

    def gradients(self) -> Iterator[str]:
        grads = self.whole
        if not isinstance(grads, tuple) or len(grads) != len(self.inputs):
            yield f"backward must return a tuple of {len(self.inputs)} gradients, not {grads!r:.60}"
            return
        for i, (g, x) in enumerate(zip(grads, self.inputs, strict=True)):
            if i not in self.wanted:
                if g is not None:
                    yield f"backward returned a gradient for input {i}, which has none"
            elif g is None or x is None:
                yield f"backward returned None for input {i}"
            elif not _like(g, x) or (g.shape, g.dtype) != (x.shape, x.dtype):
                yield f"the gradient of input {i} is {_kind(g)}, it must be {_kind(x)}"

    def needs(self) -> Iterator[str]:
        """Ask for some of the gradients, all choices in turn."""
        if "needs" not in self.pair.implementations()[1].takes:
            return
        for some in _choices(self.wanted):
            grads = self.vjp(tuple(i in some for i in range(len(self.inputs))))
            extra = [i for i, g in enumerate(grads) if g is not None and i not in some]
            if extra:
                yield f"only the gradients of inputs {some} were needed, but {extra} came too"
            for k in some:
                what = f"the gradient of input {k}, where those of {some} are needed,"
                if grads[k] is None:
                    yield f"{what} is None"
                elif _bytes(grads[k]) != _bytes(self.whole[k]):
                    yield f"{what} has other bits than where all are"

    def out(self) -> Iterator[str]:
        """Give each gradient a place in a larger buffer that holds NaN."""
        if "out" not in self.pair.implementations()[1].takes:
            return
        for k in self.wanted:
            buffer, place = self._place(k)
            out = tuple(place if i == k else None for i in range(len(self.inputs)))
            g = self.vjp(self.all, out)[k]
            if g is not place:
                yield f"the gradient of input {k} is not the array that `out` gave for it"
            if _bytes(place) != _bytes(self.whole[k]):
                yield f"the gradient of input {k} in `out` has other bits than without"
            host = arrays.to_numpy(buffer)
            if not (np.isnan(host[0]) and np.isnan(host[-1])):
                yield f"the gradient of input {k} was written beyond the end of `out`"

    def _place(self, k: int) -> tuple[Array, Array]:
        x = self.inputs[k]
        if x is None:
            raise ValueError(f"input {k} is None")
        xp = arrays.array_module(x)
        buffer = xp.full(x.size + 2, np.nan, x.dtype)
        return buffer, buffer[1:-1].reshape(x.shape)


def _choices(wanted: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield every choice of some, but not all, of the inputs `wanted`."""
    return chain.from_iterable(combinations(wanted, n) for n in range(1, len(wanted)))


def _kind(a: Array) -> str:
    return f"{a.shape} {a.dtype} {type(a).__module__}.{type(a).__name__}"


def _like(a: Any, b: Array) -> bool:
    """Return whether `a` is an array as `b` is, or the number that NumPy makes of no axes."""
    known = isinstance(a, type(b)) or (isinstance(a, np.generic) and isinstance(b, np.ndarray))
    return known and hasattr(a, "shape")


def _bytes(a: Any) -> bytes | None:
    return arrays.to_numpy(a).tobytes() if hasattr(a, "dtype") and hasattr(a, "shape") else None
