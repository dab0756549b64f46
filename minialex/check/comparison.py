"""Hold a gradient, or an output, against the truth; the verdict follows from the noise model."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np

from minialex.arrays import Array
from minialex.check import guess, noise
from minialex.check.clues import Evidence, Rerun
from minialex.check.derivatives import (
    Derivative,
    DirectionalDerivatives,
    ElementwiseDerivatives,
    unit_vector,
)
from minialex.check.numeric import DerivativeProblem
from minialex.check.verdict import Finding, Verdict, worst


def wrong(what: str, *detail: str) -> Finding:
    """Return a FAIL that is not a matter of size."""
    return Finding(what, Verdict.FAIL, float("inf"), 0.0, 0, 0, detail)


def values(what: str, got: Array, want: Array, size: Array, share: float) -> Finding:
    """Compare `got` with `want`; it may be off by `share` of the largest finite `size`.

    Infinities and NaN must be the same in both.
    """
    if got.shape != want.shape:
        return wrong(what, f"the shape is {got.shape}, it must be {want.shape}")
    bound = share * float(size.max(initial=0, where=np.isfinite(size)))
    if not got.size:
        return Finding(what, Verdict.PASS, 0.0, bound, 0)
    error = distance(got, want)
    place = np.unravel_index(error.argmax(), error.shape)
    largest = float(error[place])
    if largest <= bound:
        return Finding(what, Verdict.PASS, largest, bound, got.size)
    detail = (
        f"worst at {guess.at(place)}: {guess.differ(got[place], want[place])}",
        f"{np.count_nonzero(~(error <= bound))} of {got.size} elements are off",
    )
    return Finding(what, Verdict.FAIL, largest, bound, got.size, 0, detail)


def output(got: Array, problem: DerivativeProblem, share: float, common: float) -> Finding:
    """Compare an output with that of `problem`; it may be off by `share` of the largest size.

    On the average over its n elements it may be off by `share` over the root of n, towards zero or
    away from it, as errors up and down cancel; and by `common`, which all may have in common.
    """
    want = problem.y
    finding = values("output", got, want, problem.size, share)
    if finding.verdict is Verdict.PASS:
        return _drift(got, problem, share, common) or finding
    if got.shape != want.shape:
        return finding
    error, exact = distance(got, want), np.zeros(want.shape)
    # where it is not finite, only the places say something
    right = np.where(np.isfinite(got), want, np.nan)
    truth = ElementwiseDerivatives(right, exact, exact > 0, np.ones(want.shape, int))
    off = ~(error <= finding.bound)
    guessed = guess.first(
        got.astype(np.float64), truth, off, finding.bound, Evidence(problem, None)
    )
    made_from = guess.sources(problem, np.unravel_index(int(error.argmax()), error.shape))
    detail = (*finding.detail, made_from, f"first guess: {guessed}")
    return dataclasses.replace(finding, detail=detail)


def _drift(got: Array, problem: DerivativeProblem, share: float, common: float) -> Finding | None:
    """Return a FAIL where an output falls short on the whole, or goes too far; None where not."""
    finite = np.isfinite(got) & np.isfinite(problem.y) & np.isfinite(problem.size)
    y, size = problem.y[finite], problem.size[finite]
    if not y.size:
        return None
    outwards = float(((got[finite].astype(np.float64) - y) * np.sign(y)).mean())
    bound = (common + share / y.size**0.5) * float(np.sqrt((size * size).mean()))
    if abs(outwards) <= bound:
        return None
    where = "towards zero: are sums cut, and not rounded?" if outwards < 0 else "away from zero"
    detail = f"the elements are off {where}"
    what = "output, on the average"
    return Finding(what, Verdict.FAIL, abs(outwards), bound, y.size, 0, (detail,))


def distance(got: Array, want: Array) -> Array:
    """Return |got - want|: 0 for equal infinities, infinite where one alone is not a number."""
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - want)
    error = np.where((got == want) | (np.isnan(got) & np.isnan(want)), 0.0, error)
    return np.where(np.isnan(error), np.inf, error)


def gradient(
    what: str,
    g: Array,
    problem: DerivativeProblem,
    k: int,
    allowed: Array,
    rng: np.random.Generator,
    atol: float = 0.0,
    rtol: float = 0.0,
    rerun: Rerun | None = None,
    doubt: Array | float = 0.0,
    explain: bool = True,
) -> Finding:
    """Compare `g`, a gradient for input `k`, with the derivative of `problem`.

    Parameters
    ----------
    what : str
        What it is called in the finding.
    g : array of float64
    problem : DerivativeProblem
    k : int
    allowed : array of the shape of `g`
        What rounding may do to each element.
    rng : Generator
        Draws the directions, where there are too many elements to take each.
    atol, rtol : float
        Allowed besides, of each element and of each share of the true one.
    rerun : Rerun, optional
        How to have `g` again, for other inputs and cotangents, to guess what is wrong with it.
    doubt : array of the shape of `g`, or 0
        Allowed besides, of each element by itself.
    explain : bool
        Whether to say of what is wrong where it comes from, and what it looks like.
    """
    x = problem.input(k)
    if g.shape != x.shape:
        return wrong(what, f"the shape is {g.shape}, that of the input is {x.shape}")
    finite = np.isfinite(g)
    if not finite.all():
        if np.isnan(problem.y).any():
            return Finding(what, Verdict.INCONCLUSIVE, 0.0, 0.0, 0, 0, (_OUTSIDE,))
        return wrong(what, *_not_finite(g, finite, problem, k))
    held = _GradientComparison(what, g, problem, k, allowed, atol, rtol, rerun, doubt, explain)
    truth = problem.truth(k, rng)
    if isinstance(truth, ElementwiseDerivatives):
        return held.elements(truth)
    return held.directions(truth)


def zeros_would_do(
    problem: DerivativeProblem,
    k: int,
    allowed: Array,
    rng: np.random.Generator,
    atol: float = 0.0,
    rtol: float = 0.0,
) -> bool:
    """Return whether `gradient` could not tell the right gradient for input `k` from zeros.

    Its verdict is then worth nothing: of a gradient of zeros, one that is too large by any factor,
    or was never written, is as right as another.
    """
    zeros = np.zeros(problem.input(k).shape)
    held = _GradientComparison("", zeros, problem, k, allowed, atol, rtol)
    truth = problem.truth(k, rng)
    if isinstance(truth, ElementwiseDerivatives):
        return not held.off(truth).any()
    together = zip(truth.vectors, truth.derivatives, strict=True)
    return all(abs(d.value) <= held.bound_along(v, d) for v, d in together)


def _not_finite(g: Array, finite: Array, problem: DerivativeProblem, k: int) -> tuple[str, ...]:
    """Return lines about the first element that is not finite."""
    place = np.unravel_index(int(finite.argmin()), g.shape)
    found = problem.along(k, unit_vector(g.shape, place))
    known = np.isfinite(found.value)
    right = f"it must be {found.value:.9g}" if known else "no derivative is known there"
    lines = (
        f"first at {guess.at(place)}: got {g[place]}, {right}",
        f"{np.count_nonzero(~finite)} of {g.size} elements are not finite",
    )
    return (*lines, guess.receptive_field(found.depends)) if known else lines


_OUTSIDE = "fn is NaN here, and its gradient not finite: move the inputs into its domain"
_NOTHING_KNOWN = {
    (True, False): "every element stands at a kink: move the inputs a little",
    (False, True): "fn is not finite on both sides of any element: move the inputs into its domain",
    (True, True): "every element stands at a kink, or where fn is not finite on both sides of it",
}
_KINK = "the direction meets a kink: move the inputs a little, so that they stand off it"


@dataclass(frozen=True, eq=False)
class _GradientComparison:
    what: str
    g: Array
    problem: DerivativeProblem
    k: int
    allowed: Array
    atol: float
    rtol: float
    rerun: Rerun | None = None
    doubt: Array | float = 0.0
    explained: bool = True

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.problem, self.k, self.rerun)

    def along(self, v: Array) -> Derivative:
        return self.problem.along(self.k, v)

    @functools.cached_property
    def rounding(self) -> float:
        return float(self.allowed.max(initial=0)) + self.atol

    def bounds(self, truth: ElementwiseDerivatives) -> tuple[Array, Array]:
        """Return how far off each element may be, and at which of them a derivative is known."""
        bound = self.rounding + truth.uncertainty + self.rtol * np.abs(truth.value) + self.doubt
        # none is where the function could not be evaluated on both sides
        return bound, ~truth.kink & np.isfinite(bound)

    def bound_along(self, v: Array, d: Derivative) -> float:
        """Return how far off the derivative along `v` may be."""
        rounding = noise.norm((self.allowed + self.atol + self.doubt) * v)
        return rounding + d.uncertainty + self.rtol * abs(d.value)

    def off(self, truth: ElementwiseDerivatives) -> Array:
        """Return which elements are further off than they may be."""
        bound, _ = self.bounds(truth)
        # at a kink too: a derivative that is none from either side, nor between, is wrong
        return np.asarray(np.isfinite(bound) & ~(np.abs(self.g - truth.value) <= bound))

    def elements(self, truth: ElementwiseDerivatives) -> Finding:
        """Compare element by element, leaving out those at a kink."""
        self._confirm(truth)
        bound, seen = self.bounds(truth)
        off = self.off(truth)
        error = np.where(seen | off, np.abs(self.g - truth.value), 0.0)
        compared, excluded = int(np.count_nonzero(seen)), int(np.count_nonzero(truth.kink))
        if not self.g.size:
            return Finding(self.what, Verdict.PASS, 0.0, 0.0, 0)
        place = np.unravel_index(_ratio(error, bound).argmax(), self.g.shape)
        finding = functools.partial(
            Finding,
            self.what,
            error=float(error[place]),
            bound=float(bound[place]) if seen[place] or off[place] else 0.0,
            compared=compared,
            excluded=excluded,
            left_out=int(np.count_nonzero(~truth.taken)),
            too_small=int(np.count_nonzero(seen & self._too_small(truth, bound))),
        )
        if off.any():
            how = self.g, truth, self.along, self.rounding, place, self.evidence
            detail = guess.explain(*how) if self.explained else ()
            if truth.kink[place]:
                low, high = (truth.value[place] + s * truth.uncertainty[place] for s in (-1, 1))
                between = f"it must be from {low:.6g} to {high:.6g}"
                detail = (
                    f"worst at {guess.at(place)}, a kink: got {self.g[place]:.6g}, {between}",
                )
            return finding(verdict=Verdict.FAIL, detail=detail)
        together = self._kinks_together(truth)
        if together is not None:
            return dataclasses.replace(together, excluded=excluded)
        reason = (*self._vague(truth, bound, seen), *self._off_beside_themselves(truth, seen))
        verdict = Verdict.INCONCLUSIVE if reason else Verdict.PASS
        return finding(verdict=verdict, detail=reason)

    def _too_small(self, truth: ElementwiseDerivatives, bound: Array) -> Array:
        """Return which elements are below what is allowed: zeros would pass for them.

        What outputs depend on by less than rounding has no derivative that differences see.
        """
        sizes = np.abs(truth.value)
        small = np.array((sizes > 0) & (sizes <= bound))
        for place in map(tuple, np.argwhere((truth.fan_out == 0) & truth.taken)):
            v = unit_vector(self.g.shape, place)
            small[place] = self.problem.is_lost(self.k, v)
        return small

    def _kinks_together(self, truth: ElementwiseDerivatives) -> Finding | None:
        """Return a FAIL where elements at kinks are wrong together, though none need be alone.

        Of two that are the largest, each may have the whole gradient of their maximum; both may
        not: where both grow there is no kink.
        """
        v = np.where(truth.kink, 1.0, 0.0)
        count = int(v.sum())
        d = self.along(v) if count > 1 else None
        if d is None or d.kink or self._direction(v, d).verdict is not Verdict.FAIL:
            return None
        d = self._confirmed(v, d)
        found = self._direction(v, d)
        if d.kink or found.verdict is not Verdict.FAIL:
            return None
        got = float((self.g * v).sum())
        line = (
            f"{count} elements stand at a kink each, but not together: their gradients must add up "
            f"to {d.value:.6g}, they do to {got:.6g}"
        )
        return dataclasses.replace(found, compared=count, detail=(line,))

    def _confirmed(self, v: Array, d: Derivative) -> Derivative:
        """Return the derivative along `v` by a second opinion."""
        closer = self.problem.closer(self.k, v, d.value)
        if closer is not None:
            return closer
        opinion = self.problem.second_opinion(self.k, v, d.value)
        return dataclasses.replace(d, uncertainty=max(d.uncertainty, opinion))

    def _confirm(self, truth: ElementwiseDerivatives) -> None:
        """Take a second opinion on the worst element that is off, till one stays off."""
        off = self.off(truth)
        while off.any():
            error = np.where(off, np.abs(self.g - truth.value), 0.0)
            place = np.unravel_index(_ratio(error, self.bounds(truth)[0]).argmax(), self.g.shape)
            v, value = unit_vector(self.g.shape, place), float(truth.value[place])
            closer = self.problem.closer(self.k, v, value)
            if closer is not None:
                truth.value[place], truth.uncertainty[place] = closer.value, closer.uncertainty
                truth.kink[place] = closer.kink
                off = self.off(truth)
                if off[place]:
                    return
                continue
            opinion = self.problem.second_opinion(self.k, v, value)
            if not self.g[place] and self.problem.stands_still(self.k, v):
                # stairs: flat, and yet a slope from further away
                opinion = np.inf
            truth.uncertainty[place] = max(truth.uncertainty[place], opinion)
            off = self.off(truth)
            if off[place]:
                return

    def _off_beside_themselves(self, truth: ElementwiseDerivatives, seen: Array) -> tuple[str, ...]:
        """Return a line on elements that are off beside what each by itself may be.

        They are not beside the array's largest, which may have left its rounding in them.
        """
        sizes = np.abs(truth.value)
        own = self.allowed + self.atol + self.doubt + truth.uncertainty
        own = own + max(self.rtol, noise.RESOLUTION) * sizes
        off = int(np.count_nonzero(seen & (np.abs(self.g - truth.value) > own)))
        which = "1 element is" if off == 1 else f"{off} elements are"
        far = f"off by more than {noise.RESOLUTION:.0%} of itself, if not of the largest"
        return (f"{which} {far}",) * bool(off)

    def _vague(self, truth: ElementwiseDerivatives, bound: Array, seen: Array) -> tuple[str, ...]:
        """Return why the comparison decides nothing; nothing where it does."""
        kinks, unseen = (
            int(which.sum()) for which in (truth.kink, ~seen & ~truth.kink & truth.taken)
        )
        if not seen.any():
            return (_NOTHING_KNOWN[bool(kinks), bool(unseen)],)
        scale = max(self.problem.typical_gradient(self.k), float(np.abs(truth.value[seen]).max()))
        loose = np.count_nonzero(bound[seen] > noise.RESOLUTION * scale)
        reasons = []
        if loose:
            allowed = f"more than {noise.RESOLUTION:.0%} of {scale:.2g} is allowed"
            reasons.append(f"at {loose} elements {allowed}")
        if unseen:
            reasons.append(f"at {unseen} elements no derivative was found")
        return tuple(reasons)

    def directions(self, truth: DirectionalDerivatives) -> Finding:
        """Compare along each direction; the worst one counts."""
        together = list(zip(truth.vectors, truth.derivatives, strict=True))
        for i, (v, d) in enumerate(together):
            if self._direction(v, d).verdict is Verdict.FAIL:
                together[i] = v, self._confirmed(v, d)
        found = [self._direction(v, d) for v, d in together]
        verdict = worst([f.verdict for f in found])
        chosen = max((f for f in found if f.verdict is verdict), key=lambda f: f.ratio)
        failed = verdict is Verdict.FAIL and self.explained
        return dataclasses.replace(chosen, detail=self._explain()) if failed else chosen

    def _direction(self, v: Array, d: Derivative) -> Finding:
        error = abs(float((self.g * v).sum()) - d.value)
        bound = self.bound_along(v, d)
        finding = functools.partial(Finding, self.what, error=error, bound=bound)
        if np.isfinite(bound) and not error <= bound:
            return finding(verdict=Verdict.FAIL, compared=self.g.size)
        if d.kink or not np.isfinite(bound):
            reason = _KINK if d.kink else "no derivative was found"
            verdict = Verdict.INCONCLUSIVE
            return finding(verdict=verdict, compared=0, excluded=self.g.size, detail=(reason,))
        # one wrong element among all must show
        scale = max(self.problem.typical_gradient(self.k), float(np.sqrt((self.g * self.g).mean())))
        if bound > 10 * noise.RESOLUTION * scale:
            reason = f"one element of {self.g.size} that is off by {scale:.2g} might not show"
            verdict = Verdict.INCONCLUSIVE
            return finding(verdict=verdict, compared=self.g.size, detail=(reason,))
        zero = self.g == 0
        lost = zero.any() and self.problem.is_lost(self.k, zero.astype(np.float64))
        small = int(np.count_nonzero((np.abs(self.g) <= bound) & (lost | ~zero)))
        return finding(verdict=Verdict.PASS, compared=self.g.size, too_small=small)

    def _explain(self) -> tuple[str, ...]:
        affordable = self.problem.affordable
        if self.g.size > min(guess.MAX_ELEMENTS_EXPLAINED, affordable):
            sample = max(guess.MIN_SAMPLED_ELEMENTS, min(guess.SAMPLED_ELEMENTS, affordable))
            return guess.search(self.g, self.along, self.rounding, sample, self.evidence)
        whole = self.problem.elements(self.k)
        return guess.explain(self.g, whole, self.along, self.rounding, evidence=self.evidence)


def _ratio(error: Array, bound: Array) -> Array:
    """Return error / bound, 0 where there is no error."""
    ratio = np.zeros(error.shape)
    np.divide(error, bound, out=ratio, where=(error > 0) & (bound > 0))
    return np.where((error > 0) & (bound == 0), np.inf, ratio)
