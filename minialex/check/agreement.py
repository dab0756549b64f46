"""Compare two functions that should be the same: two implementations of one's own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.check import comparison, guess, measured, noise, rounding
from minialex.check.case import seeded
from minialex.check.report import GradientError, Report, check_numbers
from minialex.check.subject import Subject
from minialex.check.verdict import Finding, Verdict

NOISE_SAFETY = 8.0
"""How many times the standard deviation of the measured noise the outputs may be apart."""


def compare(
    a: Callable[..., Any],
    b: Callable[..., Any],
    inputs: Any,
    *,
    atol: float = 0.0,
    rtol: float = 0.0,
    raise_exception: bool = True,
    seed: int = 0,
) -> Report:
    """Compare the outputs and the gradients of two functions, within the noise of both.

    No differences are taken: a fault that both have goes unnoticed, and which of them is right
    is not said; `gradcheck` of one tells. float32 is compared as it is and, where both take it, in
    float64, in which there is little rounding.

    Parameters
    ----------
    a, b : functions of Tensors, or modules; see `gradcheck`
        To run one implementation of an op and another: ``lambda x: ...`` under ``using(...)``.
    inputs : Tensor, or tuple of Tensors and other arguments
        Both are called with them. Gradients are compared of those that require one, and of the
        parameters and captured Tensors whose names both have.
    atol, rtol : float
        Allowed besides what noise may do.
    raise_exception : bool
        Whether to raise where the verdict is not PASS.
    seed : int
        Of the cotangent.

    Returns
    -------
    Report
        True where outputs and gradients agree. INCONCLUSIVE where both are 0, where noise may
        reach one percent, or where rounding between ops explains what differs.

    Raises
    ------
    GradientError
        If `raise_exception` and the verdict is FAIL or INCONCLUSIVE.
    ValueError
        If nothing requires a gradient, one of them returns no Tensor, or a tolerance is negative.
    """
    check_numbers("compare", seed=seed, atol=atol, rtol=rtol)
    args = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
    two = _Two(
        Subject(a, args, None, "compare"), Subject(b, args, None, "compare"), atol, rtol, seed
    )
    report = Report(tuple(two.findings()), tuple(two.remarks()))
    if raise_exception and not report:
        raise GradientError(f"compare: {report.verdict}\n{report}")
    return report


def _named(outputs: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} of shape {shape}" for name, shape in outputs.items())


class _Two:
    """Two functions, and what they give for the same inputs and cotangent."""

    def __init__(self, a: Subject, b: Subject, atol: float, rtol: float, seed: int) -> None:
        self.both, self.atol, self.rtol = (a, b), atol, rtol
        self.rng = seeded(seed)
        self.common = [name for name in a.leaves if name in b.leaves]

    def remarks(self) -> Iterator[str]:
        for subject, which in zip(self.both, "ab", strict=True):
            alone = [name for name in subject.leaves if name not in self.common]
            if alone:
                yield f"not compared, as {which} alone has them: {', '.join(alone)}"

    def findings(self) -> Iterator[Finding]:
        one, other = self.both
        a, b = one.outputs, other.outputs
        # those of a dictionary, whatever their order
        other.order = {name: i for i, name in enumerate(a)}
        if a != b:
            yield comparison.wrong("outputs", f"a gives {_named(a)}; b gives {_named(b)}")
            return
        size = sum(map(prod, a.values()))
        gy = self.rng.standard_normal(size, np.float32).astype(np.float64)
        for wide in sorted({any(self._narrow(s) for s in self.both), False}, reverse=True):
            rngs = self.rng.spawn(2)
            sides = [_Side(s, gy, wide, rng) for s, rng in zip(self.both, rngs, strict=True)]
            kinds = " and ".join(dict.fromkeys(str(side.dtype) for side in sides))
            yield self._finding(f"output in {kinds}", *(side.output() for side in sides))
            for name in self.common:
                what = f"gradient of {name} in {kinds}"
                yield self._gradient(what, [side.gradient(name) for side in sides], sides, name)

    def _narrow(self, subject: Subject) -> bool:
        return subject.work.dtype != subject.as_given.dtype

    def _gradient(
        self, what: str, found: list[tuple[Array, Array]], sides: list[_Side], name: str
    ) -> Finding:
        finding = self._finding(what, *found)
        if finding.verdict is not Verdict.FAIL or not np.isfinite(finding.error):
            return finding
        moved = [rounding.SAFETY * side.moved(name) for side in sides]
        (one, one_may), (other, other_may) = found
        doubted = self._finding(what, (one, one_may + moved[0]), (other, other_may + moved[1]))
        if doubted.verdict is Verdict.FAIL:
            return finding
        reason = f"rounding between ops moves them by up to {max(map(np.max, moved)):.2g}"
        return doubted.undecided(reason)

    def _finding(self, what: str, one: tuple[Array, Array], other: tuple[Array, Array]) -> Finding:
        """Compare two arrays, each with how far off its elements may be."""
        (p, p_may), (q, q_may) = one, other
        if not p.size:
            return Finding(what, Verdict.PASS, 0.0, 0.0, 0).undecided("there are no elements")
        error = comparison.distance(p, q)
        size = np.maximum(np.abs(p), np.abs(q))
        allowed = p_may + q_may + self.atol + self.rtol * np.where(np.isfinite(size), size, 0.0)
        excess = error - allowed
        place = np.unravel_index(int(excess.argmax()), p.shape)
        finding = Finding(what, Verdict.PASS, float(error[place]), float(allowed[place]), p.size)
        if not excess[place] <= 0:
            lines = (
                f"worst at {guess.at(place)}: a gives {p[place]:.9g}, b gives {q[place]:.9g}",
                f"{np.count_nonzero(~(excess <= 0))} of {p.size} elements differ",
            )
            return dataclasses.replace(finding, verdict=Verdict.FAIL, detail=lines)
        largest = noise.largest(size)
        if not largest:
            return finding.undecided("both are 0")
        if allowed.max() > noise.RESOLUTION * largest:
            return finding.undecided(f"noise alone may reach {allowed.max() / largest:.0%}")
        return finding


class _Side:
    """One of two functions, in float64 if `wide` and as it is given otherwise."""

    def __init__(self, subject: Subject, gy: Array, wide: bool, rng: np.random.Generator) -> None:
        self.subject, self.gy, self.rng, self.xs = subject, gy, rng, subject.arrays()
        self.number = {name: k for k, name in enumerate(subject.leaves)}
        self.wide = wide and subject.work.dtype != subject.as_given.dtype
        self.dtype = subject.work.dtype if self.wide else subject.as_given.dtype
        work = subject.work.dtype
        self.sizes = noise.gradient_sizes(subject.gradient, self.xs, gy, rng, work)
        self.arrived = subject.vjp(self.xs, gy, wide=self.wide)

    def output(self) -> tuple[Array, Array]:
        """Return all outputs, and how far off rounding may put each."""
        subject, work = self.subject, self.subject.work.dtype
        y = subject.values(self.xs, wide=self.wide)
        truth = subject.forward(*self.xs)
        size = noise.output_size(subject.forward, self.xs, truth, self.rng, work)
        found = measured.function_noise(subject.forward, self.xs, self.rng, work)
        # of a narrower type it is as much larger as the roundoff
        found = NOISE_SAFETY * found * (noise.unit(self.dtype) / noise.unit(work))
        return y, np.full(y.shape, self._share(y) * noise.largest(size)) + found

    def gradient(self, name: str) -> tuple[Array, Array]:
        """Return the gradient of a leaf, and how far off rounding may put each element."""
        k = self.number[name]
        size, g = self.sizes[k], self.arrived[k]
        size = np.zeros(self.subject.leaves[name].shape) if size is None else size
        g = np.zeros(size.shape) if g is None else g
        return g, np.full(g.shape, self._share(g) * noise.largest(size))

    def moved(self, name: str) -> Array:
        """Return how far each element moves when the ops are rounded at random."""
        return self._moved[self.number[name]]

    @functools.cached_property
    def _moved(self) -> list[Array]:
        return self.subject.moved_by_rounding(self.xs, self.gy, self.rng, self.dtype)

    def _share(self, a: Array) -> float:
        work = self.subject.work
        return self.subject.allowed(self.dtype, max(1.0, work.flops / max(a.size, 1)))
