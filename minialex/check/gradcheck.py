"""Check the gradients of any function of Tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array, to_device, to_numpy
from minialex.autograd import Tensor, no_grad, record_calls
from minialex.autograd.graph import Node
from minialex.check import compare, noise
from minialex.check.case import Inputs
from minialex.check.numeric import AFFORDABLE, RATIO, STEPS, Problem, pose
from minialex.check.verdict import Finding, Verdict, worst


class GradientError(AssertionError):
    """A gradient that is wrong, or that could not be shown to be right."""


@dataclass(frozen=True)
class Report:
    """What `gradcheck` found; true where every gradient passed."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the verdicts."""
        return worst([f.verdict for f in self.findings])

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    eps: float | None = None,
    atol: float = 0.0,
    rtol: float = 0.0,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    fast_mode: bool = False,
    reference: Callable[..., Any] | None = None,
    seed: int = 0,
) -> Report:
    """Compare the gradients of `fn` with differences, for a random cotangent.

    Parameters
    ----------
    fn : function of Tensors to a Tensor, or to a tuple of Tensors
    inputs : Tensor, or tuple of Tensors and other arguments
        Gradients are checked of the Tensors that require them. float64 shows most; float32
        gradients are held against differences in float64, if `fn` takes that.
    eps : float, optional
        The step of the differences. Left out, a ladder of steps is tried, and the plateau between
        truncation and rounding found on it.
    atol, rtol : float
        Allowed besides what the noise model allows. Not needed; where they are large enough to
        hide an error of one percent, the verdict is INCONCLUSIVE.
    raise_exception : bool
        Whether to raise where the verdict is not PASS.
    nondet_tol : float
        By how much two runs on the same inputs may differ.
    fast_mode : bool
        Check along random directions only, not element by element.
    reference : function of NumPy arrays to a NumPy array, or to a tuple of them, optional
        What `fn` means, in float64. Left out, `fn` itself is differentiated, so that its gradients
        are checked but not its values.
    seed : int
        Of the cotangent and the directions.

    Returns
    -------
    Report
        True where all gradients passed; printed, it says what was compared and how close it was.

    Raises
    ------
    GradientError
        If `raise_exception` and the verdict is FAIL or INCONCLUSIVE.
    ValueError
        If no input requires a gradient, or `fn` returns no Tensor.
    """
    given = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
    subject = _Subject(fn, given, reference)
    limit = 0 if fast_mode else AFFORDABLE
    steps = STEPS if eps is None else (eps, eps / RATIO)
    report = Report(tuple(subject.findings(seed, limit, steps, atol, rtol, nondet_tol)))
    if raise_exception and not report:
        raise GradientError(f"gradcheck: {report.verdict}\n{report}")
    return report


class _Subject:
    """A function of Tensors, as a function of arrays."""

    def __init__(
        self, fn: Callable[..., Any], given: tuple[Any, ...], reference: Callable[..., Any] | None
    ) -> None:
        self.fn, self.given, self.reference = fn, given, reference
        self.wanted = [i for i, t in enumerate(given) if _wants(t)]
        if not self.wanted:
            raise ValueError(
                "gradcheck: no input requires a gradient; make one with Tensor(..., "
                "requires_grad=True)"
            )
        self.dtypes = [t.dtype for t in given if _wants(t)]

    def arrays(self) -> Inputs:
        """Return the arrays of the inputs whose gradients are checked, in float64 on the host."""
        return tuple(to_numpy(self.given[i].data).astype(np.float64) for i in self.wanted)

    def tensors(self, xs: Inputs, double: bool) -> list[Any]:
        """Return the arguments of the function, `xs` among them."""
        args = list(self.given)
        for i, x in zip(self.wanted, xs, strict=True):
            dtype = np.float64 if double else self.given[i].dtype
            data = to_device(np.asarray(x, dtype), self.given[i].device)
            args[i] = Tensor(data, requires_grad=True)
        return args

    def forward(self, *xs: Array | None) -> Array:
        """Return all outputs behind one another."""
        if self.reference is not None:
            args = [to_numpy(t.data) if isinstance(t, Tensor) else t for t in self.given]
            for i, x in zip(self.wanted, xs, strict=True):
                args[i] = x
            return _joined(self.reference(*args))
        with no_grad():
            return _joined(_outputs(self.fn(*self.tensors(xs, double=True))))

    def gradient(
        self, xs: Inputs, gy: Array, move: noise.Move | None = None, *, double: bool = True
    ) -> Inputs:
        """Return the gradients of the outputs behind one another, for the cotangent `gy`.

        What ops saved goes through `move` before, if that is given.
        """
        args = self.tensors(xs, double)
        outputs = _outputs(self.fn(*args))
        if move is not None:
            _move_saved(outputs, move)
        ends = np.cumsum([y.size for y in outputs])
        for y, end in zip(outputs, ends, strict=True):
            if y.requires_grad:
                part = gy[end - y.size : end].reshape(y.shape).astype(y.dtype)
                y.backward(to_device(part, y.device), retain_graph=True)
        leaves = [args[i] for i in self.wanted]
        # no gradient reached it: as good as zero, to be found right or wrong like any other
        return tuple(
            np.zeros(t.shape) if t.grad is None else to_numpy(t.grad).astype(np.float64)
            for t in leaves
        )

    def findings(
        self,
        seed: int,
        elementwise: int,
        steps: Sequence[float],
        atol: float,
        rtol: float,
        nondet_tol: float,
    ) -> list[Finding]:
        """Return what there is to say about each input, and whether two runs agree."""
        rng, xs = np.random.default_rng(seed), self.arrays()
        problem = pose(self.forward, xs, rng, self._flops(xs), elementwise, steps, nondet_tol)
        found = [self._again(problem, nondet_tol)]
        if found[0].verdict is not Verdict.PASS:
            # differences of something that changes by itself mean nothing
            return found
        if self.reference is not None:
            found.append(self._output(problem))
        grads = self.gradient(xs, problem.gy, double=False)
        sizes = noise.gradient_sizes(self.gradient, xs, problem.gy, rng)
        for k, (g, size, dtype) in enumerate(zip(grads, sizes, self.dtypes, strict=True)):
            if g is not None and size is not None:
                allowed = size * noise.allowed(dtype, problem.operations_of(g.size))
                what = f"gradient of input {self.wanted[k]}"
                found.append(compare.gradient(what, g, problem, k, allowed, rng, atol, rtol))
        return found

    def _flops(self, xs: Inputs) -> float:
        with record_calls() as calls, no_grad():
            self.fn(*self.tensors(xs, double=True))
        return sum(call.cost().flops for call in calls)

    def _values(self, double: bool) -> Array:
        with no_grad():
            return _joined(_outputs(self.fn(*self.tensors(self.arrays(), double))))

    def _again(self, problem: Problem, tolerance: float) -> Finding:
        what = "the same output and gradients when run again"
        runs = []
        for _ in range(2):
            grads = self.gradient(self.arrays(), problem.gy, double=False)
            runs.append(_joined([self._values(double=False), *(g for g in grads if g is not None)]))
        first, second = runs
        same = np.array_equal(first, second, equal_nan=True)
        difference = 0.0 if same else float(np.abs(first - second).max())
        if same or difference <= tolerance:
            return Finding(what, Verdict.PASS, difference, tolerance, first.size)
        remedy = "take the randomness as an argument (dropout: seed and offset)"
        return compare.wrong(what, f"two runs differ by {difference:.2g}; {remedy}")

    def _output(self, problem: Problem) -> Finding:
        coarsest = max(self.dtypes, key=noise.unit)
        share = noise.allowed(coarsest, problem.operations_of(problem.y.size))
        return compare.output(self._values(double=False), problem, share)


def _move_saved(outputs: list[Tensor], move: noise.Move) -> None:
    """Apply `move` to what every op behind `outputs` saved."""
    todo = [y.node for y in outputs]
    seen: set[Node] = set()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            node.saved = move(node.saved)
            todo += [edge for edge in node.edges if isinstance(edge, Node)]


def _wants(t: Any) -> bool:
    return isinstance(t, Tensor) and t.requires_grad


def _outputs(result: Any) -> list[Tensor]:
    """Return the Tensors of floating-point numbers that a function returned."""
    outputs = list(result) if isinstance(result, tuple | list) else [result]
    tensors = [y for y in outputs if isinstance(y, Tensor) and y.dtype.kind == "f"]
    if not tensors:
        raise ValueError(f"gradcheck: fn must return Tensors, not {type(result).__name__}")
    return tensors


def _joined(outputs: Any) -> Array:
    """Return arrays or Tensors behind one another, as one axis of float64."""
    each = outputs if isinstance(outputs, tuple | list) else [outputs]
    flat = [to_numpy(y.data if isinstance(y, Tensor) else y).reshape(-1) for y in each]
    return np.concatenate(flat).astype(np.float64)
