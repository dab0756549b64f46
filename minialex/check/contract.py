"""What every implementation owes autograd besides right numbers.

Neither function raises. Inputs, saved arrays, the output and the cotangent are never written to;
the output has the inputs' type; nothing is saved where no backward follows; one gradient comes back
for each input, of its shape and type; inputs that need none get None; a gradient goes into the
array that `out` gives for it. Output and gradients have the same bits when run again, whatever is
kept, wanted and given, and whatever else forward has run on since. Backward is linear in the
cotangent, and neither minds how what it is given lies in memory.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from itertools import chain, combinations
from typing import Any

import numpy as np

from minialex import arrays
from minialex.arrays import Array
from minialex.check import comparison, noise
from minialex.check.case import Case, Inputs, backwards, shift, with_gaps
from minialex.check.op_call import OpCall
from minialex.check.suite import Pair, problem_of
from minialex.cuda import EmulationError
from minialex.errors import MinialexError

MAX_CHOICES = 14
"""How many choices of inputs gradients are asked for: all choices of four."""

LAYOUTS: tuple[tuple[float, str, Callable[[Array], Array]], ...] = (
    (-1.0, "has gaps between its elements", with_gaps),
    (-(2.0**6), "lies in Fortran's order", lambda a: arrays.array_module(a).array(a, order="F")),
    (2.0**-6, "runs backwards", backwards),
    (-1.0, "begins at an odd address", shift),
)
"""What a cotangent is multiplied by, plus or minus a power of two, and how it lies then."""

OTHER_BY = 2.0**-6
"""By which share of themselves other inputs are other: they stay in the domain, mostly."""


def violations(pair: Pair, case: Case) -> list[str]:
    """Return what `pair` breaks of the contract on `case`, one line each; empty is good."""
    problem = problem_of(pair.op, case)
    dtype, device = case.output_dtype or pair.dtype, case.output_device or pair.device
    gy = arrays.to_device(problem.gy.astype(dtype), device)
    inputs, wanted = pair.prepared(problem.inputs), case.differentiable(problem.inputs)
    names = tuple(f"input {i}" for i in range(len(inputs)))
    run = ContractRun(OpCall(pair, inputs, case.params, gy, gy, wanted, names))
    return run.wrecks() or run.lapses()


class ContractRun:
    """A call, and what is asked about it.

    Attributes
    ----------
    output : array or None
        What forward returned, as it was then; None before it ran.
    compared : int
        How many elements of output and gradients there are.
    """

    def __init__(self, call: OpCall) -> None:
        self.call, self.pair = call, call.pair
        self.all = tuple(i in call.wanted for i in range(len(call.inputs)))
        self.output: Array | None = None
        self.compared = 0

    def wrecks(self) -> list[str]:
        """Run forward and backward; return what autograd cannot go on with, one line each."""
        return _until_it_raises(self._wrecks())

    def lapses(self) -> list[str]:
        """Run both some more; return what else is broken, where nothing is that `wrecks` finds."""
        asked = (
            *(self._keep(), self._again(), self._cotangents(), self._inputs()),
            *(self._needs(), self._out()),
        )
        found = [line for lines in asked for line in _until_it_raises(lines)]
        return found or _until_it_raises(self._after_others())

    def _wrecks(self) -> Iterator[str]:
        call = self.call
        held = [*zip(call.names, call.inputs, strict=True), ("gy", call.gy)]
        before = [(name, a, _bits(a)) for name, a in held]
        self.y, self.saved = _run("forward", self.pair.run, call.inputs, call.params)
        wrong = [*self._output(), *_written("forward", before)]
        yield from wrong
        if wrong:
            return
        self.output = arrays.array_module(self.y).array(self.y)
        self.compared = self.y.size
        if call.gy is None:
            return
        before += [("the output", self.y, _bits(self.y))]
        saved = [_bits(a) for a in self.saved]
        self.whole = self._vjp(self.all)
        yield from _written("backward", before)
        if [_bits(a) for a in self.saved] != saved:
            yield "backward wrote to what was saved, so that it cannot run twice"
        yield from self._gradients()

    def _vjp(
        self, needs: tuple[bool, ...], out: Inputs | None = None, gy: Array | None = None
    ) -> Inputs:
        cotangent = self.call.gy if gy is None else gy
        how = cotangent, self.saved, self.call.params, needs, out
        grads: Inputs = _run("backward", self.pair.vjp, *how)
        return grads

    def _output(self) -> Iterator[str]:
        like = self.call.like
        if not isinstance(self.saved, tuple):
            yield f"saved is a {type(self.saved).__name__}, it must be a tuple"
        if not _like(self.y, like):
            yield f"the output is a {type(self.y).__name__}, it must be an array of its device"
        elif (self.y.shape, self.y.dtype) != (like.shape, like.dtype):
            yield f"the output is {self.y.shape} {self.y.dtype}, not {like.shape} {like.dtype}"

    def _keep(self) -> Iterator[str]:
        """Run forward as it is where no backward follows."""
        if "keep" not in self.pair.implementations()[0].takes:
            return
        call = self.call
        y, saved = _run("forward", self.pair.run, call.inputs, {**call.params, "keep": False})
        if not self._same(y, self.y):
            yield "the output differs where nothing is kept for backward"
        if saved != ():
            yield f"with keep=False, {len(saved)} were saved: it must be ()"

    def _gradients(self) -> Iterator[str]:
        grads, call = self.whole, self.call
        if not isinstance(grads, tuple) or len(grads) != len(call.inputs):
            yield (
                f"backward must return a tuple of {len(call.inputs)} gradients, not {grads!r:.60}"
            )
            return
        for i, (g, x) in enumerate(zip(grads, call.inputs, strict=True)):
            if i not in call.wanted:
                if g is not None and (call.every or "needs" in self._takes):
                    yield f"backward returned a gradient for {call.names[i]}, which has none"
            elif g is None or x is None:
                if call.every:
                    yield f"backward returned None for {call.names[i]}"
            elif not _like(g, x) or (g.shape, g.dtype) != (x.shape, x.dtype):
                yield f"the gradient of {call.names[i]} is {_kind(g)}, it must be {_kind(x)}"
            else:
                self.compared += g.size

    @property
    def _takes(self) -> frozenset[str]:
        return self.pair.implementations()[1].takes

    def _there(self) -> tuple[int, ...]:
        """Return the inputs that have a gradient."""
        if self.call.gy is None:
            return ()
        return tuple(k for k in self.call.wanted if self.whole[k] is not None)

    def _same(self, a: Any, b: Any) -> bool:
        if _bits(a) == _bits(b):
            return True
        apart = (
            getattr(a, "shape", None) != getattr(b, "shape", None)
            or not self.call.tolerances.nondet
        )
        if apart:
            return False
        difference = np.abs(arrays.to_numpy(a) - arrays.to_numpy(b))
        return bool(difference.max() <= self.call.tolerances.nondet)

    def _again(self) -> Iterator[str]:
        """Run backward once more on what was saved."""
        yield from self._differ("backward, run twice, gives the gradient of {} other bits")

    def _after_others(self) -> Iterator[str]:
        """Run forward on other inputs, then backward on what was saved before."""
        others = noise.perturbed(self.call.inputs, np.random.default_rng(0), OTHER_BY)
        # what it says of inputs that it was not given is not asked here
        with np.errstate(all="ignore"), contextlib.suppress(Exception):
            self.pair.run(others, self.call.params)
        if _bits(self.y) != _bits(self.output):
            yield "forward writes to an output that it returned before: return a new array"
        yield from self._differ(
            "backward gives the gradient of {} other bits after forward ran on other inputs: all "
            "that it needs has to be saved"
        )

    def _differ(self, line: str) -> Iterator[str]:
        """Run backward, and yield the line of each input whose gradient has other bits."""
        there = self._there()
        grads = self._vjp(self.all) if there else ()
        for k in there:
            if not self._same(grads[k], self.whole[k]):
                yield line.format(self.call.names[k])

    def _cotangents(self) -> Iterator[str]:
        """Give multiples of the cotangent, which lie in memory as it may, and one for all outputs.

        Backward is linear in it, whatever it is, and does not mind where it lies.
        """
        gy = self.call.gy
        if gy is None or not self._there():
            return
        xp, ways = arrays.array_module(gy), LAYOUTS
        if self.call.every:
            # an op with cases is asked about layouts by themselves
            ways = (ways[1],)
        for scale, lies, layout in ways:
            # of no axes NumPy makes a number
            several = xp.asarray(scale * gy)
            found = [*self._off(layout(several), scale, self.whole)]
            if found:
                linear = not [*self._off(several, scale, self.whole)]
                why = f"where gy {lies}" if linear else f"for {scale:g} gy: it is not linear in gy"
                yield from (f"{line} {why}" for line in found)
                return
        if gy.size > 1:
            one = gy.reshape(-1)[0]
            whole = self._vjp(self.all, gy=xp.full(gy.shape, one, gy.dtype))
            same = xp.broadcast_to(xp.full((), one, gy.dtype), gy.shape)
            found = [*self._off(same, 1.0, whole)]
            yield from (f"{line} where gy has strides of 0, as of a sum" for line in found)

    def _off(self, gy: Array, scale: float, want: Inputs) -> Iterator[str]:
        """Yield a line for each gradient that, for `gy`, is not `scale` times the one wanted."""
        grads = self._vjp(self.all, gy=gy)
        for k in self._there():
            found = (a for a in (grads[k], want[k], self.whole[k]) if a is not None)
            g, wanted, usual = (arrays.to_numpy(a).astype(np.float64) for a in found)
            wanted, usual = scale * wanted, scale * usual
            in_range = np.abs(wanted) < arrays.finfo(gy.dtype).max
            sizes = (np.abs(a).max(initial=0.0, where=in_range) for a in (wanted, usual))
            error = comparison.distance(g, wanted).max(initial=0.0, where=in_range)
            # sums may be taken in another order, by what has few digits inside or solves equations
            share = noise.RESOLUTION + self.call.tolerances.rtol
            bound = share * max(sizes) + arrays.finfo(gy.dtype).tiny
            bound += (1 + abs(scale)) * (self.call.tolerances.nondet + self.call.tolerances.atol)
            if not error <= bound:
                yield f"the gradient of {self.call.names[k]} is off by {error:.2g}"

    def _inputs(self) -> Iterator[str]:
        """Run both on inputs that lie in memory with gaps; that an op refuses them is no fault."""
        if self.call.every:
            return
        others = noise.perturbed(self.call.inputs, np.random.default_rng(0), OTHER_BY)
        gaps = tuple(None if a is None else with_gaps(a) for a in self.call.inputs)
        try:
            with np.errstate(all="ignore"):
                (y, grads), moved = self._both(gaps), self._both(others)
        except Exception:
            return
        names = [("the output", y, moved[0], self.y)]
        for k in self._there():
            what = f"the gradient of {self.call.names[k]}"
            names.append((what, grads[k], moved[1][k], self.whole[k]))
        for what, *three in names:
            got, other, want = (arrays.to_numpy(a).astype(np.float64) for a in three)
            finite = np.isfinite(want) & np.isfinite(other)
            size = np.abs(want).max(initial=0.0, where=finite)
            # what inputs that are a little off would change is what a sum in another order may
            change = np.abs(other - want, where=finite, out=np.zeros(want.shape)).max(initial=0.0)
            bound = noise.RESOLUTION * size + noise.perturbation(self.y.dtype) * change / OTHER_BY
            error = comparison.distance(got, want).max(initial=0.0)
            if not error <= bound + self.call.tolerances.nondet:
                yield f"{what} is another where the inputs have gaps between their elements"

    def _both(self, inputs: Inputs) -> tuple[Any, Any]:
        """Return the output and the gradients for other inputs."""
        y, saved = self.pair.run(inputs, self.call.params)
        if self.call.gy is None:
            return y, ()
        return y, self.pair.vjp(self.call.gy, saved, self.call.params, self.all)

    def _needs(self) -> Iterator[str]:
        """Ask for some of the gradients, all choices in turn."""
        if "needs" not in self._takes:
            return
        names = self.call.names
        there = self._there()
        # one by one come first, and are enough beside a whole function
        count = MAX_CHOICES if self.call.every else min(len(there), MAX_CHOICES)
        for some in itertools.islice(_choices(there), count):
            grads = self._vjp(tuple(i in some for i in range(len(names))))
            chosen = ", ".join(names[k] for k in some)
            extra = [names[i] for i, g in enumerate(grads) if g is not None and i not in some]
            if extra:
                came = ", ".join(extra)
                yield f"only the gradient of {chosen} was needed, that of {came} came too"
            for k in some:
                what = f"the gradient of {names[k]}, where that of {chosen} is needed,"
                if grads[k] is None:
                    yield f"{what} is None"
                elif not self._same(grads[k], self.whole[k]):
                    yield f"{what} has other bits than where all are"

    def _out(self) -> Iterator[str]:
        """Give each gradient a place in a larger buffer that holds NaN."""
        if "out" not in self._takes:
            return
        for k in self._there()[:MAX_CHOICES]:
            what = f"the gradient of {self.call.names[k]}"
            buffer, place = self._place(k)
            out = tuple(place if i == k else None for i in range(len(self.call.inputs)))
            g = self._vjp(self.all, out)[k]
            if g is not place:
                yield f"{what} is not the array that `out` gave for it"
            if not self._same(place, self.whole[k]):
                yield f"{what} in `out` has other bits than without"
            host = arrays.to_numpy(buffer)
            if not (np.isnan(host[0]) and np.isnan(host[-1])):
                yield f"{what} was written beyond the end of `out`"

    def _place(self, k: int) -> tuple[Array, Array]:
        x = self.call.inputs[k]
        if x is None:
            raise ValueError(f"input {k} is None")
        xp = arrays.array_module(x)
        buffer = xp.full(x.size + 2, np.nan, x.dtype)
        return buffer, buffer[1:-1].reshape(x.shape)


def is_fault_of_op(failure: Exception) -> bool:
    """Return whether an op is to blame for what it raised, and not what it runs on."""
    if isinstance(failure, EmulationError):
        return failure.kind != "compile"
    return not isinstance(failure, MinialexError | MemoryError)


class _RaisedError(Exception):
    """An op raised."""


def _run(what: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Exception as failure:  # whatever it raises, the other ops are asked all the same
        if not is_fault_of_op(failure):
            raise
        raise _RaisedError(f"{what} raised {type(failure).__name__}: {failure}") from failure


def _until_it_raises(lines: Iterator[str]) -> list[str]:
    found = []
    try:
        for line in lines:
            found.append(line)
    except _RaisedError as raised:
        found.append(str(raised))
    return found


def _written(what: str, before: list[tuple[str, Any, bytes | None]]) -> Iterator[str]:
    for name, a, bits in before:
        if _bits(a) != bits:
            yield f"{what} wrote to {name}, which is not its own: compute into a new array"


def _choices(wanted: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield every choice of some, but not all, of the inputs `wanted`."""
    return chain.from_iterable(combinations(wanted, n) for n in range(1, len(wanted)))


def _kind(a: Array) -> str:
    if not hasattr(a, "shape"):
        return f"a {type(a).__name__}, no array"
    return f"{a.shape} {a.dtype} {type(a).__module__}.{type(a).__name__}"


def _like(a: Any, b: Array) -> bool:
    """Return whether `a` is an array as `b` is, or the number that NumPy makes of no axes."""
    known = type(a) is type(b) or (isinstance(a, np.generic) and isinstance(b, np.ndarray))
    return known and hasattr(a, "shape")


def _bits(a: Any) -> bytes | None:
    return arrays.to_numpy(a).tobytes() if hasattr(a, "dtype") and hasattr(a, "shape") else None
