"""What the tests of `gradcheck` ask of its reports."""

import numpy as np

from minialex import Tensor
from minialex.autograd import OPS
from minialex.check import Verdict, gradcheck
from tests.check import formulas
from tests.check.zoo import unlisted

PASS, INCONCLUSIVE, FAIL = Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL


def tensor(*shape, dtype=np.float64, seed=0, requires_grad=True):
    values = np.random.default_rng(seed).standard_normal(shape)
    return Tensor(values.astype(dtype), requires_grad=requires_grad)


def images(*shape):
    return tensor(*shape, dtype=np.float32, requires_grad=False)


def report_of(fn, *inputs, **options):
    return gradcheck(fn, inputs, raise_exception=False, **options)


def verdicts(report):
    """Return the worst verdict for each gradient, by the name of what it belongs to."""
    found = {}
    for f in report.findings:
        kind, _, rest = f.what.partition("gradient of ")
        if not kind:
            name = rest.partition(" in float")[0]
            found[name] = max(found.get(name, PASS), f.verdict, key=list(Verdict).index)
    return found


def failures(report):
    return [f for f in report.findings if f.verdict is FAIL]


def reasons(report):
    return [line for f in report.findings for line in f.detail]


def broken(op, k, spoil):
    """Return an op whose gradient of input `k` goes through `spoil`."""
    forward = OPS[op].implementations["plain"].forward
    return unlisted(op, forward, formulas.only(op, k, spoil))
