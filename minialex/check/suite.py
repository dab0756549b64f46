"""Everything that is checked of an op: op x case x pair of implementations x type.

No code here knows any op: what is tried stands in `cases`, what is right in ``minialex.reference``.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex import arrays
from minialex import reference as definitions
from minialex.arrays import BFLOAT16, CPU, Array, Device
from minialex.autograd import Cost, Implementation, Op
from minialex.check import comparison, noise
from minialex.check.case import Case, Inputs, cast, generator, is_float
from minialex.check.case_findings import CaseFindings
from minialex.check.clues import Rerun
from minialex.check.numeric import DerivativeProblem, make_problem
from minialex.check.verdict import Finding, Verdict
from minialex.check.written_out import CalledOp
from minialex.terms import named_arguments


@dataclass(frozen=True)
class Pair:
    """A forward implementation of an op with a backward one, on a device, in a type.

    Attributes
    ----------
    op : Op
    forward, backward : str
        Names of implementations of `op`.
    dtype : dtype
        float32 or float64; of one's own function bfloat16 too.
    device : Device
    short : bool
        Whether inputs and cotangent have no more bits than its implementations keep of them.
    """

    op: Op
    forward: str
    backward: str
    dtype: Any
    device: Device = CPU
    short: bool = False

    @property
    def name(self) -> str:
        """The implementations, in short."""
        same = self.forward == self.backward
        return self.forward if same else f"{self.forward}>{self.backward}"

    @property
    def title(self) -> str:
        """The name of the op."""
        return self.op.name

    def record(self) -> dict[str, str]:
        """Return what names it, as JSON has it."""
        return {
            "op": self.op.name,
            "forward": self.forward,
            "backward": self.backward,
            "dtype": str(self.dtype),
            "device": str(self.device),
        }

    def __str__(self) -> str:
        return f"{self.op.name} {self.name} {self.dtype} on {self.device}"

    def __repr__(self) -> str:
        return f"Pair({self})"

    def implementations(self) -> tuple[Implementation, Implementation]:
        """Return the forward and the backward implementation."""
        there = self.op.implementations
        both = there[self.forward], there[self.backward]
        if self.dtype != BFLOAT16:
            return both
        forward, backward = (one if "bfloat16" in one.dtypes else one.widened for one in both)
        return forward, backward

    def why_not(self) -> str:
        """Return why the pair cannot run on its device, or in its type; empty where it can."""
        for one in self.implementations():
            if self.dtype.name not in one.dtypes:
                return f"{self.name} takes {' and '.join(one.dtypes)} only"
        return next(filter(None, (one.why_not(self.device) for one in self.implementations())), "")

    def launches_kernels(self) -> bool:
        """Return whether either is made of CUDA kernels."""
        # in a context of its own no emulator is on, and kernels do not run on the CPU's arrays
        elsewhere = contextvars.Context()
        return any(elsewhere.run(one.why_not, CPU) for one in self.implementations())

    @property
    def operand_roundoff(self) -> float:
        """By how much of itself an operand is rounded."""
        return max(one.operand_roundoff for one in self.implementations())

    def allowed(self, operations: float, dtype: Any = None, safety: float = noise.SAFETY) -> float:
        """Return what rounding may take of S, in `dtype` where it is not the pair's own."""
        operands = 0.0 if self.short else self.operand_roundoff
        return noise.allowed(self.dtype if dtype is None else dtype, operations, safety, operands)

    def common(self, dtype: Any = None) -> float:
        """Return by how much of S all elements of an output may be off alike."""
        operands = 0.0 if self.short else self.implementations()[0].operand_roundoff
        return noise.common(self.dtype if dtype is None else dtype, operands)

    def run(self, inputs: Inputs, params: Any) -> tuple[Array, tuple[Any, ...]]:
        """Return what forward returns, for inputs that are on the device."""
        with as_given(*inputs):
            return self.implementations()[0].forward(*inputs, **params)

    def vjp(
        self,
        gy: Array,
        saved: tuple[Any, ...],
        params: Any,
        needs: tuple[bool, ...],
        out: Inputs | None = None,
    ) -> Inputs:
        """Return what backward returns, called as autograd calls it."""
        backward = self.implementations()[1]
        extras = {"needs": needs, "out": out or (None,) * len(needs)}
        given = {name: given for name, given in extras.items() if name in backward.takes}
        with as_given(gy, *saved):
            return backward.backward(gy, saved, **params, **given)

    def prepared(self, inputs: Inputs) -> Inputs:
        """Return the inputs in the type, beside which weights may stay float32, on the device."""
        held = self.dtype == BFLOAT16 and self.op.takes_weights
        with np.errstate(over="ignore"):
            here = (
                *cast(inputs[:1], self.dtype),
                *cast(inputs[1:], np.float32 if held else self.dtype),
            )
        return tuple(None if a is None else arrays.to_device(a, self.device) for a in here)

    def gradients(
        self,
        inputs: Inputs,
        gy: Array,
        params: Any,
        wanted: tuple[int, ...],
        perturb: noise.Perturb | None = None,
    ) -> Inputs:
        """Return the gradients in float64 on the host, of the inputs numbered `wanted`.

        What was saved goes through `perturb` before, if that is given.
        """
        placed = self.prepared(inputs)
        y, saved = self.run(placed, params)
        saved = saved if perturb is None else perturb(saved)
        gy = arrays.to_device(gy.astype(y.dtype), arrays.device_of(y))
        needs = tuple(i in wanted for i in range(len(inputs)))
        return on_host(self.vjp(gy, saved, params, needs))


def as_given(*values: Any) -> np.errstate | contextlib.nullcontext[None]:
    """Keep NumPy from warning of NaN where what is given is not finite already."""
    finite = all(np.isfinite(arrays.to_numpy(v)).all() for v in values if _is_float(v))
    return contextlib.nullcontext() if finite else np.errstate(invalid="ignore")


def _is_float(value: Any) -> bool:
    return hasattr(value, "dtype") and is_float(value)


def on_host(gradients: Inputs) -> Inputs:
    """Return gradients as float64 NumPy arrays."""
    return tuple(None if g is None else arrays.to_numpy(g).astype(np.float64) for g in gradients)


def pairs(op: Op, dtype: Any, device: Device = CPU) -> Iterator[Pair]:
    """Yield every forward with every backward that understands what it saved."""
    for forward, f in op.implementations.items():
        for backward, b in op.implementations.items():
            if forward == backward or not (f.own_saved or b.own_saved):
                yield Pair(op, forward, backward, np.dtype(dtype), device)


def baseline(op: Op) -> Pair:
    """Return the pair of `op` that others are compared with: ``plain``, in float64, on the CPU."""
    return Pair(op, "plain", "plain", np.dtype(np.float64), CPU)


def definition(name: str) -> Callable[..., Array]:
    """Return the reference of the op of that name.

    Raises
    ------
    LookupError
        If there is none.
    """
    found = getattr(definitions, name, None)
    if found is None:
        raise LookupError(f"op {name!r} has no reference: write minialex/reference/{name}.py")
    return found  # type: ignore[no-any-return]


def problem_of(
    op: Op,
    case: Case,
    reference: Callable[..., Array] | None = None,
    roundoff: float = 0.0,
) -> DerivativeProblem:
    """Return the problem of `case`, whose truth is found once for all implementations.

    Where there is a `roundoff`, inputs and cotangent are such that it leaves them as they are.
    """
    function = reference or definition(op.name)
    return _make_problem(op.name, named_arguments(op), function, op.cost, case, roundoff)


@functools.lru_cache(maxsize=512)
def _make_problem(
    name: str,
    arguments: tuple[str, ...],
    function: Callable[..., Array],
    cost: Callable[..., Cost],
    case: Case,
    roundoff: float,
) -> DerivativeProblem:
    inputs = case.draw(name)
    if roundoff:
        inputs = tuple(
            noise.short(a, roundoff) if a is not None and is_float(a) else a for a in inputs
        )
    shapes = tuple(None if a is None else a.shape for a in inputs)
    flops = cost(shapes, **case.params).flops
    function = functools.partial(function, **case.params)
    kind = case.output_dtype
    # what it gives is a staircase where its type is coarser than that of the inputs
    dtype = kind if kind is not None and kind.kind == "f" else np.dtype(np.float64)
    rng = generator(name, case.name, "cotangent")
    called = CalledOp(name, case.params, dict(zip(arguments, range(len(inputs)), strict=False)))
    problem = make_problem(function, inputs, rng, flops, dtype=dtype, called=called)
    gy = noise.short(problem.gy, roundoff) if roundoff else problem.gy
    return dataclasses.replace(problem, gy=gy, size=np.maximum(problem.size, case.term))


@functools.lru_cache(maxsize=512)
def gradient_sizes(op: Op, case: Case, problem: DerivativeProblem) -> Inputs:
    """Return S of each element of the gradients, as `baseline` has it."""
    wanted = case.differentiable(problem.inputs)

    def gradient(xs: Inputs, gy: Array, perturb: noise.Perturb | None) -> Inputs:
        return baseline(op).gradients(xs, gy, case.params, wanted, perturb)

    rng = generator(op.name, case.name, "sizes")
    return noise.gradient_sizes(gradient, problem.inputs, problem.gy, rng)


def check(
    pair: Pair,
    case: Case,
    *,
    reference: Callable[..., Array] | None = None,
    layout: Callable[[Inputs], Inputs] | None = None,
) -> CaseFindings:
    """Check one case: output, gradients, known answers, and the same bits when run again.

    Parameters
    ----------
    pair : Pair
    case : Case
    reference : function of float64 arrays, and of the op's parameters, to a float64 array
        What the op means; by default the function of its name in ``minialex.reference``.
    layout : function of a tuple of arrays, to equal ones that lie in memory otherwise
        How inputs and cotangent lie: `scattered` or `shifted` of ``minialex.check.case``; by
        default they are contiguous and aligned.
    """
    found = _check(pair, case, reference, layout)
    if pair.operand_roundoff and any(f.verdict is Verdict.INCONCLUSIVE for f in found.values()):
        decided = _check(dataclasses.replace(pair, short=True), case, reference, layout)
        found = {
            what: decided.get(what, f) if f.verdict is Verdict.INCONCLUSIVE else f
            for what, f in found.items()
        }
    return CaseFindings(pair, case.name, tuple(found.values()))


def _check(
    pair: Pair,
    case: Case,
    reference: Callable[..., Array] | None,
    layout: Callable[[Inputs], Inputs] | None,
) -> dict[str, Finding]:
    """Return what `check` finds, by what was compared."""
    # numbers that the type, or what is multiplied, has the bits for
    roundoff = noise.unit(BFLOAT16) if pair.dtype == BFLOAT16 else 0.0
    roundoff = max(roundoff, pair.operand_roundoff if pair.short else 0.0)
    problem = problem_of(pair.op, case, reference, roundoff)
    inputs = pair.prepared(problem.inputs)
    result, output_device = case.output_dtype or pair.dtype, case.output_device or pair.device
    gy = arrays.to_device(problem.gy.astype(result), output_device)
    if layout is not None:
        inputs, (gy,) = layout(inputs), layout((gy,))  # type: ignore[assignment]
    wanted = case.differentiable(problem.inputs)
    needs = tuple(i in wanted for i in range(len(inputs)))
    y, saved = pair.run(inputs, case.params)
    grads = pair.vjp(gy, saved, case.params, needs)
    findings = list(_gradients(pair, case, problem, on_host(grads), wanted))
    # what concerns one of them alone need not be asked of every pair
    is_one = pair.forward == pair.backward
    if is_one:
        findings.insert(0, _output(pair, problem, y, case, drift=layout is None))
    # answers are known for the numbers that the case has, and bits are the same for any
    if not pair.short:
        findings += _answers(pair, case, problem)
        findings += [again(pair, case, inputs, gy, y, grads)] if is_one else []
    of = ", of operands that need no rounding" if pair.short else ""
    return {f.what: dataclasses.replace(f, what=f.what + of) for f in findings}


def _output(
    pair: Pair, problem: DerivativeProblem, y: Array, case: Case, *, drift: bool
) -> Finding:
    share = pair.allowed(problem.operations_of(problem.y.size), case.output_dtype)
    got = _restored(arrays.to_numpy(y), problem.y, case.nan_will_do(pair.forward, problem.y))
    # over an axis with gaps NumPy adds up one by one, and all elements may have that sum in common
    common = pair.common(case.output_dtype) if drift else 1.0
    return comparison.output(got, problem, share, common)


def _restored(got: Array, want: Array, nan_will_do: Array) -> Array:
    """Return `got`, with what is wanted for NaN where NaN will do."""
    if got.shape != want.shape:
        return got
    return np.where(np.isnan(got) & nan_will_do, want, got)


def _gradients(
    pair: Pair, case: Case, problem: DerivativeProblem, grads: Inputs, wanted: tuple[int, ...]
) -> Iterator[Finding]:
    rng = generator(pair.op.name, case.name, "direction")
    sizes = gradient_sizes(pair.op, case, problem)
    narrow = case.output_dtype or pair.dtype
    for k, g in enumerate(grads):
        what = f"gradient of input {k}"
        size = sizes[k]
        if k not in wanted:
            if g is not None:
                yield comparison.wrong(what, "it has no gradient, but backward returned one")
        elif g is None or size is None:
            yield comparison.wrong(what, "backward returned None")
        elif case.answer is None or np.isfinite(problem.y).all():
            unit = max(pair.dtype, narrow, key=noise.unit)
            share = pair.allowed(problem.operations_of(g.size), unit)
            rerun = Rerun(pair.dtype, _again_for(pair, case, k, wanted))
            finding = comparison.gradient(what, g, problem, k, share * size, rng, rerun=rerun)
            # what differences cannot decide, the known gradients do
            if finding.verdict is not Verdict.INCONCLUSIVE or case.answer is None:
                yield finding


def _again_for(
    pair: Pair, case: Case, k: int, wanted: tuple[int, ...]
) -> Callable[[Inputs, Array], Array | None]:
    return lambda xs, gy: pair.gradients(xs, gy, case.params, wanted)[k]


def _answers(pair: Pair, case: Case, problem: DerivativeProblem) -> Iterator[Finding]:
    """Compare with the gradients that are known, as they are at ties and kinks."""
    if case.answer is None:
        return
    inputs, gy = case.draw(pair.op.name), case.answer.gy
    wanted = case.differentiable(inputs)
    grads = pair.gradients(inputs, gy, case.params, wanted)
    largest = np.abs(gy).max(initial=0, where=np.isfinite(gy))
    for k, (g, want) in enumerate(zip(grads, case.answer.gradients, strict=True)):
        if want is not None:
            what = f"known gradient of input {k}"
            if g is None:
                yield comparison.wrong(what, "backward returned None")
            else:
                size = np.maximum(np.abs(want), largest)
                g = _restored(g, want, case.nan_will_do(pair.backward, want))
                share = pair.allowed(problem.operations_of(g.size))
                yield comparison.values(what, g, want, size, share)


def again(pair: Pair, case: Case, inputs: Inputs, gy: Array, y: Array, grads: Inputs) -> Finding:
    """Run forward and backward again and compare the bits."""
    what = "the same bits when run again"
    needs = tuple(g is not None for g in grads)
    later_y, saved = pair.run(inputs, case.params)
    later = later_y, *pair.vjp(gy, saved, case.params, needs)
    compared = 0
    for first, second in zip((y, *grads), later, strict=True):
        if first is None or second is None:
            continue
        if arrays.to_numpy(first).tobytes() != arrays.to_numpy(second).tobytes():
            return comparison.wrong(what, "two runs on the same inputs gave different bits")
        compared += first.size
    return Finding(what, Verdict.PASS, 0.0, 0.0, compared)
