"""AlexNet's layers at full size, by the adjoint identity in float32."""

import re

import numpy as np
import pytest

from minialex.autograd import OPS
from minialex.check import full_size, suite
from minialex.check.case import Case
from minialex.check.cases import full_size as layers
from minialex.check.cases import layers as cases_of
from minialex.check.cases.inputs import normal
from minialex.check.verdict import Verdict
from tests.check import formulas, zoo

LAYERS = [
    pytest.param(name, case, id=f"{name}-{case.name}")
    for name, cases in layers.cases().items()
    for case in cases
]
DRAWN = LAYERS[::3]
"""Those that the suite checks; ``tests/campaigns`` checks the others."""


@pytest.mark.parametrize(("name", "case"), DRAWN)
def test_layer(name, case):
    assert_right(name, case)


def assert_right(name, case):
    for pair in suite.pairs(OPS[name], "float32"):
        if pair.why_not():
            continue
        row = full_size.check(pair, case)
        assert row.verdict is Verdict.PASS, str(row)


# The same check on small layers, each with a fault ------------------------------------------------


def row_of(name, backward, case, dtype="float32"):
    op = zoo.unlisted(name, OPS[name].implementations["plain"].forward, backward)
    return full_size.check(suite.Pair(op, "plain", "plain", np.dtype(dtype)), case)


def one(name):
    return next(c for c in layers.cases()[name] if "4096 to 1000" in c.name or "13x13" in c.name)


def corner(g):
    g = g.copy()
    g.reshape(-1)[-1] = 0
    return g


def test_one_of_four_million_weights_is_missed_and_found():
    row = row_of("linear", formulas.only("linear", 1, corner), one("linear"))
    assert row.verdict is Verdict.FAIL
    text = str(row)
    assert "worst at [999, 4095]: got 0," in text
    assert "outputs, in [0, 999]" in text


def test_one_of_a_thousand_biases_is_missed_and_found():
    row = row_of("linear", formulas.only("linear", 2, corner), one("linear"))
    assert row.verdict is Verdict.FAIL
    assert "worst at [999]: got 0," in str(row)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (np.negative, "the sign is wrong"),
        (lambda g: g / g.dtype.type(3), "3 times too small"),
        (np.zeros_like, "zero everywhere"),
        (lambda g: np.where(g == g.max(), np.nan, g), "1 of 4096 elements are not finite"),
    ],
)
def test_faults_of_a_whole_gradient_are_named(spoil, words):
    row = row_of("linear", formulas.only("linear", 0, spoil), one("linear"))
    assert row.verdict is Verdict.FAIL
    assert words in str(row)


def test_a_mask_with_a_fault():
    spoiled = formulas.spoiled("max_pool2d", lambda g: g * g.dtype.type(1.001))
    assert row_of("max_pool2d", spoiled, one("max_pool2d")).verdict is Verdict.FAIL


SMALLER = {
    "local_response_norm": cases_of.lrn("96 of 7x7", (1, 96, 7, 7), *cases_of.PAPER),
    "softmax": Case("1000 classes", normal((4, 1000)), {"dim": 1}),
    "cross_entropy": cases_of.cross_entropy("1000 classes", normal((4, 1000)), [0, 999, 5, 5]),
}


@pytest.mark.parametrize("name", SMALLER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_thousandth_too_much_where_no_identity_holds(name, dtype):
    backward = formulas.spoiled(name, lambda g: g * g.dtype.type(1.001))
    assert row_of(name, backward, SMALLER[name], dtype).verdict is Verdict.FAIL


def test_a_gradient_that_is_none():
    row = row_of("linear", formulas.only("linear", 1, lambda g: None), one("linear"))
    assert row.verdict is Verdict.FAIL
    assert "returned None" in str(row)


def test_a_gradient_that_is_none_where_no_identity_holds():
    row = row_of("softmax", formulas.only("softmax", 0, lambda g: None), SMALLER["softmax"])
    found = [(f.what, f.detail) for f in row.findings if f.verdict is Verdict.FAIL]
    assert found == [("gradient of input 0", ("backward returned None",))]


def test_an_output_that_is_wrong():
    whole = OPS["relu"].implementations["plain"]

    def forward(x):
        y, saved = whole.forward(x)
        return y * x.dtype.type(1.01), saved

    op = zoo.unlisted("relu", forward, formulas.right("relu"))
    # the float64 side is this op's own too, so its other twin has to be the honest one
    op.implementations["honest"] = op.implementations["plain"]
    op.implementations["plain"] = whole
    pair = suite.Pair(op, "honest", "plain", np.dtype(np.float32))
    row = full_size.check(pair, Case("small", normal((33,)), homogeneous=(0,)))
    assert row.verdict is Verdict.FAIL
    assert "output" in row.worst.what
    place = re.search(r"worst at \[(\d+)\]", str(row))[1]
    assert f"it is made from input 0 in [{place}]" in str(row)
    assert "1.01 times too large" in str(row)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("linear", "1000 of 1000 outputs, in [0, 0:1000]"),
        # pixel [2, 2] of 13 x 13, in windows of 3 x 3 that move by 2
        ("max_pool2d", "4 of 9216 outputs, in [0, 0, 0:2, 0:2]"),
    ],
)
def test_what_an_element_that_is_not_finite_comes_from(name, seen):
    def spoil(g):
        g = g.copy()
        g[(0, 0, 2, 2) if g.ndim == 4 else (0, 2)] = np.inf
        return g

    row = row_of(name, formulas.only(name, 0, spoil), one(name))
    place = "[0, 0, 2, 2]" if name == "max_pool2d" else "[0, 2]"
    assert f"first at {place}: got inf" in str(row)
    assert f"it comes from {seen}" in str(row)


def test_an_output_that_is_not_finite_leaves_no_identity():
    whole = OPS["linear"].implementations["plain"]

    def forward(x, w, b):
        y, saved = whole.forward(x, w, b)
        y[0, 7] = np.nan
        return y, saved

    op = zoo.unlisted("linear", forward, formulas.right("linear"))
    row = full_size.check(suite.Pair(op, "plain", "plain", np.dtype(np.float32)), one("linear"))
    assert "no identity can hold" in str(row)
    assert "must be nan" not in str(row)


def test_a_gradient_of_another_shape():
    row = row_of("linear", formulas.only("linear", 0, lambda g: g[:, 1:]), one("linear"))
    assert "the shape is (1, 4095), that of the input is (1, 4096)" in str(row)


def test_a_linear_argument_that_is_none_is_refused():
    case = Case("odd", lambda rng: (*normal((2, 3), (4, 3))(rng), None), linear=(2,))
    row = full_size.check(next(suite.pairs(OPS["linear"], "float32")), case)
    assert row.verdict is Verdict.FAIL
