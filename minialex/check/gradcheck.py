"""Check the gradients of any function of Tensors."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from minialex.arrays import BFLOAT16, Array
from minialex.check import comparison, measured, nodes, noise, rounding
from minialex.check.case import seeded
from minialex.check.chosen import Elements, chosen_elements
from minialex.check.clues import Rerun
from minialex.check.derivatives import ElementwiseDerivatives
from minialex.check.extrapolation import STEP_RATIO
from minialex.check.numeric import MAX_ELEMENTWISE_AT_KINKS, STEPS, DerivativeProblem, make_problem
from minialex.check.op_call import Tolerances
from minialex.check.report import GradientError, Report, check_numbers
from minialex.check.subject import BackwardError, RunCost, Subject, joined
from minialex.check.verdict import Finding, Verdict

MAX_ELEMENTWISE_FLOPS = 2e10
"""How many floating-point operations may go into derivatives element by element."""

EVALUATIONS_PER_DERIVATIVE = 24
"""How often the function runs for one derivative, at most."""

FLOPS_PER_CALL = 1e5
"""How many floating-point operations the call of an op is worth."""


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
    elements: Elements = None,
    reference: Callable[..., Any] | None = None,
    seed: int = 0,
) -> Report:
    """Compare the gradients of `fn` with differences, for a random cotangent.

    A module is checked with all its parameters, which the report calls by their names:
    ``gradcheck(net.eval(), images)``. So is what a function captures: Tensors requiring a gradient
    that it uses and is not given. All have their arrays and gradients back when it returns or
    raises. What no output depends on, or zeros would pass for the gradient of, is INCONCLUSIVE.

    Parameters
    ----------
    fn : module, or function of Tensors; to a Tensor, or to a tuple, list or dict of them
        A module that drops must be in ``eval()`` mode: what changes from run to run fails.
    inputs : Tensor, or tuple of Tensors and other arguments
        Gradients are checked of the Tensors that require them, in lists, tuples and dicts too. Of
        a module none need be one. float32 is checked twice: in float64, where little rounding
        hides a fault, and as it is. Where `fn` does not take float64, differences are taken in
        float32, which often decides nothing; the report says so. Small inputs are taken element
        by element, large ones along random directions in which one wrong element shows; the
        longer `fn` takes, the fewer are small.
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
    elements : "all", int, or dict from name to indices, optional
        Take every element by itself, however long that takes; so many of each input or parameter,
        drawn at random; or these of those named, ``{"features.0.weight": [0, (2, 1, 0, 0)]}``,
        by number in the flattened array or by an index for each axis. What is left out is counted.
    reference : function of NumPy arrays to a NumPy array, or to a tuple of them, optional
        What `fn` means, in float64, given `inputs` as arrays. Left out, `fn` itself is
        differentiated, so that its gradients are checked but not its values.
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
        If nothing requires a gradient, `fn` returns no Tensor, it depends on a Tensor that
        `reference` is not given, a tolerance is negative, or `elements` names what is not there.
    """
    check_numbers("gradcheck", seed=seed, atol=atol, rtol=rtol, nondet_tol=nondet_tol)
    if eps is not None and not (isinstance(eps, Real) and eps > 0):
        raise ValueError(f"gradcheck: eps is {eps!r}; give a step above 0, or leave it out")
    args = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
    subject = Subject(fn, args, reference)
    chosen = chosen_elements(elements, {name: t.shape for name, t in subject.leaves.items()}, seed)
    options = _Options(eps, atol, rtol, nondet_tol, fast_mode, seed, chosen)
    report = Report(tuple(_until_it_raises(subject, options)), tuple(_remarks(subject)))
    if raise_exception and not report:
        raise GradientError(f"gradcheck: {report.verdict}\n{report}")
    return report


@dataclass(frozen=True)
class _Options:
    """The arguments of `gradcheck` that its parts need; see there."""

    eps: float | None
    atol: float
    rtol: float
    nondet_tol: float
    fast_mode: bool
    seed: int
    chosen: Mapping[int, Sequence[int]] = dataclasses.field(default_factory=dict)
    elementwise_flops: float = MAX_ELEMENTWISE_FLOPS


def _until_it_raises(subject: Subject, options: _Options) -> Iterator[Finding]:
    try:
        yield from _findings(subject, options)
    except BackwardError as raised:
        yield comparison.wrong("running backward", str(raised))


def _findings(subject: Subject, options: _Options) -> Iterator[Finding]:
    """Yield what there is to say about each leaf, and whether two runs agree."""
    tolerances = Tolerances(options.nondet_tol, options.atol, options.rtol)
    owed = nodes.contract(subject, tolerances)
    if owed.wrecked:
        yield from owed.findings
        return
    rng = seeded(options.seed)
    problem = _problem(subject, options, rng)
    again = _again(subject, problem.gy, options.nondet_tol)
    yield again
    yield from owed.findings
    if again.verdict is not Verdict.PASS:
        # differences of something that changes by itself mean nothing
        return
    if subject.reference is not None:
        yield _output(subject, problem)
    if subject.made_before:
        yield _out_of_reach(subject.made_before)
    kept = all(f.verdict is Verdict.PASS for f in owed.findings)
    culprits = nodes.Culprits(subject, problem.gy, functools.partial(_alone, options), kept)
    for k, finding in _Gradients(subject, options, problem, rng, kept).findings():
        yield culprits.named(k, finding)


def _alone(options: _Options, subject: Subject, count: int) -> Iterator[tuple[int, Finding]]:
    """Compare the gradients of a single op, one of `count`."""
    rng = seeded(options.seed)
    share = options.elementwise_flops / count
    options = dataclasses.replace(options, eps=None, chosen={}, elementwise_flops=share)
    yield from _Gradients(subject, options, _problem(subject, options, rng), rng).findings()


def _problem(subject: Subject, options: _Options, rng: np.random.Generator) -> DerivativeProblem:
    work, inputs = subject.work, subject.arrays()
    sizes = [t.size for t in subject.leaves.values()]
    affordable = _affordable(work, sizes, options.elementwise_flops)
    dtype = np.dtype(np.float64) if subject.reference else work.dtype
    (lines,) = rng.spawn(1)
    only, *others = subject.outputs.values()
    return make_problem(
        subject.forward,
        inputs,
        rng,
        work.flops,
        cotangent=subject.as_given.dtype,
        elementwise=0 if options.fast_mode else affordable,
        affordable=affordable,
        steps=STEPS if options.eps is None else (options.eps, options.eps / STEP_RATIO),
        nondet_tol=options.nondet_tol,
        measured=measured.function_noise(subject.forward, inputs, lines, dtype),
        dtype=dtype,
        names=tuple(subject.leaves),
        chosen=options.chosen,
        output_shape=only if not others else None,
        called=subject.called,
    )


def _affordable(work: RunCost, sizes: list[int], flops: float = MAX_ELEMENTWISE_FLOPS) -> int:
    """Return the size up to which inputs are taken element by element."""
    total, affordable = 0.0, 0
    for size in sorted(sizes):
        total += size * EVALUATIONS_PER_DERIVATIVE * (work.flops + FLOPS_PER_CALL * work.calls)
        if size > MAX_ELEMENTWISE_AT_KINKS or total > flops:
            break
        affordable = size
    return affordable


@dataclass(frozen=True, eq=False)
class _Gradients:
    """The gradients of `subject`, to be compared with the derivatives of `problem`."""

    subject: Subject
    options: _Options
    problem: DerivativeProblem
    rng: np.random.Generator
    contract_kept: bool = True
    _moved: dict[np.dtype[Any], Sequence[Array]] = dataclasses.field(default_factory=dict)

    def findings(self) -> Iterator[tuple[int, Finding]]:
        """Compare the gradient of each leaf, and yield the leaf's number with what was found.

        It is compared in float64 first, where that is not what is given.
        It has little rounding to hide in there; what is left to find in the given type is what
        that type alone computes. Rounding to bfloat16 would hide all of that.
        """
        wide, given = self.subject.work.dtype, self.subject.as_given.dtype
        xs, gy = self.problem.inputs, self.problem.gy
        sizes = noise.gradient_sizes(self.subject.gradient, xs, gy, self.rng, wide)
        types = (wide,) if _hides_faults(self.subject) else (wide, given)
        runs = {dtype: self.subject.vjp(xs, gy, wide=dtype != given) for dtype in types}
        for k, size in enumerate(sizes):
            for dtype, grads in runs.items():
                finding = self.compare(k, grads[k], size, dtype)
                what = f"{finding.what} in {dtype}" if wide != given else finding.what
                yield k, dataclasses.replace(finding, what=what)
                if finding.verdict is Verdict.FAIL:
                    break

    def compare(self, k: int, arrived: Array | None, size: Any, dtype: np.dtype[Any]) -> Finding:
        """Compare the gradient of leaf `k`, and ask whether the comparison shows anything."""
        # no gradient reached it: as good as zero, to be found right or wrong like any other
        g = np.zeros(self.problem.input(k).shape) if arrived is None else arrived
        share = self.subject.allowed(dtype, self.problem.operations_of(g.size))
        how = self.problem, k, size * share, self.rng, self.options.atol, self.options.rtol
        wide = dtype != self.subject.as_given.dtype
        rerun = Rerun(dtype, lambda xs, gy: self.subject.vjp(xs, gy, wide=wide)[k])
        what = f"gradient of {self.problem.name(k)}"
        finding = comparison.gradient(what, g, *how, rerun)
        failed = finding.verdict is Verdict.FAIL and self.contract_kept
        if failed and g.shape == size.shape and np.isfinite(g).all():
            moved = self.moved(dtype)[k]
            doubt = rounding.SAFETY * moved
            doubted = comparison.gradient(
                what, g, self.doubtful, *how[1:], doubt=doubt, explain=False
            )
            if doubted.verdict is not Verdict.FAIL:
                by = f"{moved.max():.2g}, fn by {self.outputs_moved.max(initial=0):.2g}"
                return doubted.undecided(f"rounding may explain that: {_MOVED} {by}")
        if finding.verdict is Verdict.PASS and comparison.zeros_would_do(*how):
            reason = self.why_zero(k, g) + (arrived is None) * ", and no gradient reaches it"
            return finding.undecided(reason)
        if arrived is None:
            reason = "no gradient reaches it: .data, numpy(), detach() or no_grad() on the way?"
            return dataclasses.replace(finding, detail=(reason, *finding.detail))
        return finding

    def moved(self, dtype: np.dtype[Any]) -> Sequence[Array]:
        """Return how far each element of each gradient moves when ops are rounded at random."""
        if dtype not in self._moved:
            how = self.problem.inputs, self.problem.gy, self.rng, dtype
            self._moved[dtype] = self.subject.moved_by_rounding(*how)
        return self._moved[dtype]

    @functools.cached_property
    def outputs_moved(self) -> Array:
        """How far each output moves when ops are rounded at random; 0 where they are not asked."""
        if self.subject.reference is not None:
            return np.zeros(self.problem.y.shape)
        return self.subject.outputs_moved_by_rounding(self.problem.inputs, self.rng)

    @functools.cached_property
    def doubtful(self) -> DerivativeProblem:
        """The problem, with outputs known no better than that.

        What is rounded to a multiple of something large, as ``x + 1e16`` is, may show no noise.
        """
        return self.problem.known_to(np.maximum(self.problem.measured, self.outputs_moved))

    def why_zero(self, k: int, g: Array) -> str:
        """Return why every derivative by leaf `k` is as good as 0; its gradient is `g`."""
        if not self.problem.y.size:
            return "fn returns no elements"
        if not self.problem.input(k).size:
            return "it has no elements"
        truth = self.problem.truth(k, self.rng)
        depends = (
            truth.fan_out
            if isinstance(truth, ElementwiseDerivatives)
            else [d.depends for d in truth.derivatives]
        )
        if not np.any(depends):
            seen = "changes with it by more than rounding" if g.any() else "depends on it"
            return f"no output {seen}"
        return "every derivative is 0 here: a backward that returns zeros for it would pass too"


_MOVED = "with all ops a few roundoffs off, the gradient moves by up to"


def _again(subject: Subject, gy: Array, tolerance: float) -> Finding:
    what, xs = "the same output and gradients when run again", subject.arrays()
    runs = []
    for _ in range(2):
        grads = subject.vjp(xs, gy)
        y = subject.values(xs, wide=False)
        runs.append(joined([y, *(g for g in grads if g is not None)]))
    first, second = runs
    same = np.array_equal(first, second, equal_nan=True)
    difference = 0.0 if same else float(np.abs(first - second).max())
    if same or difference <= tolerance:
        return Finding(what, Verdict.PASS, difference, tolerance, first.size)
    remedy = "put a module in eval() mode, or take the randomness as an argument (dropout: seed "
    return comparison.wrong(what, f"two runs differ by {difference:.2g}; {remedy}and offset)")


def _output(subject: Subject, problem: DerivativeProblem) -> Finding:
    share = subject.allowed(subject.as_given.dtype, problem.operations_of(problem.y.size))
    common = noise.common(subject.as_given.dtype, subject.as_given.operand_roundoff)
    return comparison.output(subject.values(problem.inputs, wide=False), problem, share, common)


def _out_of_reach(made_by: list[str]) -> Finding:
    remedy = "compute it inside fn, or detach() it"
    reason = f"fn uses what {', '.join(made_by)} made before fn ran, requiring a gradient; {remedy}"
    what = "gradients of what was computed before"
    return Finding(what, Verdict.INCONCLUSIVE, 0.0, 0.0, 0, 0, (reason,))


def _hides_faults(subject: Subject) -> bool:
    """Return whether the given type is bfloat16, and another is there to be checked."""
    given: np.dtype[Any] = subject.as_given.dtype
    return given == BFLOAT16 and given != subject.work.dtype


def _remarks(subject: Subject) -> Iterator[str]:
    """Yield what is not checked, though one might think it was."""
    if _hides_faults(subject):
        kind = subject.work.dtype
        yield f"not checked in bfloat16, whose rounding would hide faults, but in {kind}"
    if subject.constants:
        yield f"not checked, requiring no gradient: {', '.join(subject.constants)}"
    if subject.no_tensors:
        yield f"not checked, being no Tensor: {', '.join(subject.no_tensors)}"
    if subject.why_narrow:
        kind = subject.work.dtype
        yield f"differences are taken in {kind}, which shows less: {subject.why_narrow}"
