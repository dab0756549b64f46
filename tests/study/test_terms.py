"""The terms of every op are those of its definition, its gradients and their differences."""

import random
import warnings
import zlib

import numpy as np
import pytest

from minialex.autograd import OPS
from minialex.check import CASES
from minialex.check.case import generator
from minialex.check.suite import baseline
from minialex.study.explanation import allowed
from minialex.terms import TERMS, Arrays, input_names

MAX_ELEMENTS = 6
"""So many elements of each array are taken apart here, drawn; ``tests/campaigns`` takes 2,000."""

CASES_OF_OPS = [(op, case) for op in sorted(OPS) for case in CASES[op]]


def test_every_op_has_terms():
    assert TERMS.keys() == OPS.keys()


def elements_of(shape, key, most):
    """Return all elements of an array of `shape`, or so many, drawn."""
    count = int(np.prod(shape))
    if count <= most:
        return list(np.ndindex(*shape))
    drawn = random.Random(zlib.crc32(key.encode())).sample(range(count), most)
    return [tuple(map(int, np.unravel_index(n, shape))) for n in drawn]


def arrays_of(op, case):
    """Return what a case's formulas are of, the inputs' names, and the gradients, in float64."""
    pair = baseline(OPS[op])
    inputs = pair.prepared(case.draw(op))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        y, saved = pair.run(inputs, case.params)
        gy = generator(op, case.name, "cotangent").standard_normal(y.shape).astype(y.dtype)
        wanted = case.differentiable(inputs)
        grads = pair.vjp(gy, saved, case.params, tuple(i in wanted for i in range(len(inputs))))
    names = input_names(OPS[op], len(inputs))
    arrays = dict(zip(names, inputs, strict=True)) | {"y": np.asarray(y), "gy": gy}
    found = {f"g{names[k]}": np.asarray(grads[k]) for k in wanted if grads[k] is not None}
    return Arrays(arrays), {"y": np.asarray(y)} | found


@pytest.mark.parametrize(("op", "case"), CASES_OF_OPS, ids=lambda v: getattr(v, "name", v))
def test_terms_are_the_output_and_the_gradients(op, case):
    assert_terms_agree(op, case, MAX_ELEMENTS)


def assert_terms_agree(op, case, most):
    a, found = arrays_of(op, case)
    for which, array in found.items():
        for index in elements_of(array.shape, f"{op}/{case.name}/{which}", most):
            formula = TERMS[op][which](a, index, **case.params)
            got, want = formula.value, float(array[index])
            if got == want or (got != got and want != want):
                continue
            bound = allowed(formula, array.dtype)
            assert abs(got - want) <= bound, (which, index, formula.text, got, want, bound)
