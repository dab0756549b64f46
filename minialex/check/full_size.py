"""Ops at AlexNet's full sizes, where references in plain loops are out of reach.

The output is compared with that of ``plain`` in float64, which the small cases have proved
right. The gradients of ops that are linear, or linear once their mask is frozen, are checked by the
adjoint identity; those of the others by differences of ``plain`` in float64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from minialex import arrays
from minialex.arrays import Array
from minialex.check import adjoint, comparison, noise
from minialex.check.case import Case, Inputs, generator
from minialex.check.case_findings import CaseFindings
from minialex.check.numeric import DerivativeProblem, make_problem
from minialex.check.suite import Pair, again, baseline, on_host
from minialex.check.verdict import Finding


def check(pair: Pair, case: Case) -> CaseFindings:
    """Check one case: output, gradients, and the same bits when run again."""
    drawn = case.draw(pair.op.name)
    wanted = case.differentiable(drawn)
    needs = tuple(i in wanted for i in range(len(drawn)))
    inputs = pair.prepared(drawn)
    y, saved = pair.run(inputs, case.params)
    rng = generator(pair.op.name, case.name, "full size")
    c = rng.standard_normal(y.shape, np.float32).astype(y.dtype)
    gy = arrays.to_device(np.asarray(c), pair.device)
    grads = pair.vjp(gy, saved, case.params, needs)
    findings = [_output(pair, case, drawn, arrays.to_numpy(y))]
    if case.linear or case.homogeneous:
        findings += adjoint.identities(pair, case, inputs, gy, grads)
    else:
        findings += _directional(pair, case, drawn, np.asarray(c), on_host(grads), wanted)
    findings.append(again(pair, case, inputs, gy, y, grads))
    return CaseFindings(pair, case.name, tuple(findings))


def _flops(pair: Pair, case: Case, inputs: Inputs) -> float:
    shapes = tuple(None if a is None else a.shape for a in inputs)
    return pair.op.cost(shapes, **case.params).flops


def _output(pair: Pair, case: Case, drawn: Inputs, y: Array) -> Finding:
    inputs, forward = baseline(pair.op).prepared(drawn), _forward(pair, case)
    want = forward(*inputs)
    nothing, flops = np.zeros_like(want), _flops(pair, case, drawn)
    problem = DerivativeProblem(forward, inputs, nothing, want, np.abs(want), flops)
    share = pair.allowed(problem.operations_of(y.size))
    return comparison.output(y, problem, share, pair.common())


def _forward(pair: Pair, case: Case) -> Callable[..., Array]:
    """Return the op as a function of arrays, as the baseline has it."""
    plain = baseline(pair.op)
    return lambda *xs: np.asarray(plain.run(plain.prepared(xs), case.params)[0])


def _directional(
    pair: Pair, case: Case, drawn: Inputs, c: Array, grads: Inputs, wanted: tuple[int, ...]
) -> Iterator[Finding]:
    plain = baseline(pair.op)
    rng = generator(pair.op.name, case.name, "direction")

    def gradient(xs: Inputs, gy: Array, perturb: noise.Perturb | None) -> Inputs:
        return plain.gradients(xs, gy, case.params, wanted, perturb)

    inputs, gy = plain.prepared(drawn), c.astype(np.float64)
    drawn_problem = make_problem(
        _forward(pair, case), inputs, rng, _flops(pair, case, drawn), elementwise=0
    )
    problem = dataclasses.replace(drawn_problem, gy=gy)
    sizes = noise.gradient_sizes(gradient, inputs, gy, rng)
    for k in wanted:
        g, size = grads[k], sizes[k]
        if g is None or size is None:
            yield comparison.wrong(f"gradient of input {k}", "backward returned None")
        else:
            share = pair.allowed(problem.operations_of(g.size))
            yield comparison.gradient(f"gradient of input {k}", g, problem, k, share * size, rng)
