"""The terms of every op are those of its definition, its gradients and their differences."""

import functools
import random
import warnings
import zlib

import numpy as np
import pytest

from minialex.autograd import OPS
from minialex.check import CASES, noise
from minialex.check.suite import Pair, baseline, gradient_sizes, problem_of
from minialex.study.explanation import input_names
from minialex.study.terms import TERMS, Arrays

MAX_ELEMENTS = 40
"""So many elements of each array are taken apart here, drawn; ``tests/campaigns`` takes 2,000."""

CASES_OF_OPS = [(op, case) for op in sorted(OPS) for case in CASES[op]]


def test_every_op_has_terms():
    assert TERMS.keys() == OPS.keys()


def places(shape, key, most):
    """Return all elements of an array of `shape`, or so many, drawn."""
    every = list(np.ndindex(*shape))
    if len(every) <= most:
        return every
    return random.Random(zlib.crc32(key.encode())).sample(every, most)


def arrays_of(op, case):
    """Return what a case's formulas are of, and the gradients, in float64."""
    problem = problem_of(OPS[op], case)
    pair = baseline(OPS[op])
    inputs = pair.prepared(problem.inputs)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        y, saved = pair.run(inputs, case.params)
        gy = np.asarray(problem.gy, y.dtype)
        wanted = case.differentiable(inputs)
        grads = pair.vjp(gy, saved, case.params, tuple(i in wanted for i in range(len(inputs))))
    names = input_names(OPS[op], len(inputs))
    arrays = dict(zip(names, inputs, strict=True)) | {"y": np.asarray(y), "gy": gy}
    return Arrays(arrays), names, {k: grads[k] for k in wanted if grads[k] is not None}


def assert_close(got, want, allowed, what):
    if got == want or (got != got and want != want):
        return
    assert abs(got - want) <= allowed, (what, got, want, allowed)


@pytest.mark.parametrize(("op", "case"), CASES_OF_OPS, ids=lambda v: getattr(v, "name", v))
def test_terms_are_the_output_and_the_gradients(op, case):
    assert_terms_agree(op, case, MAX_ELEMENTS)


def assert_terms_agree(op, case, most):
    a, names, grads = arrays_of(op, case)
    problem = problem_of(OPS[op], case)
    share = noise.allowed(np.float64, problem.operations_of(max(problem.y.size, 1)))
    for index in places(a.shape("y"), op + case.name, most):
        formula = TERMS[op]["y"](a, index, **case.params)
        bound = share * float(np.max(problem.size, initial=0, where=np.isfinite(problem.size)))
        assert_close(formula.value, float(a["y"][index]), bound, (index, formula.text))
    sizes = gradient_sizes(OPS[op], case, problem)
    for k, g in grads.items():
        share = noise.allowed(np.float64, problem.operations_of(max(g.size, 1)))
        size = sizes[k]
        bound = share * float(np.max(size, initial=0, where=np.isfinite(size)))
        for index in places(g.shape, op + case.name + str(k), most):
            formula = TERMS[op][f"g{names[k]}"](a, index, **case.params)
            assert_close(formula.value, float(g[index]), bound, (names[k], index, formula.text))
