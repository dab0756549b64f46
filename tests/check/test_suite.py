"""Rows of the table: what is asked of a pair of implementations, and what is said of it."""

import functools
import math

import numpy as np
import pytest

from minialex.autograd import OPS, Cost, Implementation
from minialex.check import Finding, Verdict, adjoint, noise, suite, table
from minialex.check.case import Answer, Case
from minialex.check.suite import Pair
from tests.check import zoo

PASS, FAIL = Verdict.PASS, Verdict.FAIL
FLOAT64 = np.dtype(np.float64)


def pair_of(name, forward=None, backward=None, dtype=FLOAT64):
    """Return a pair of an op whose backward is called as it stands."""
    whole = OPS[name].implementations["plain"]
    one = Implementation(forward or whole.forward, backward or whole.backward)
    with zoo.off_the_lists(name) as listed:
        op = suite.Op(name, {"plain": one}, listed.cost)
    return Pair(op, "plain", "plain", np.dtype(dtype))


def numbers(*shape, name="numbers", **options):
    return Case(name, lambda rng: (rng.standard_normal(shape),), **options)


def said(row):
    """Return the verdict of each finding with its first line."""
    return [(f.what, f.verdict, *f.detail[:1]) for f in row.findings]


AGAIN = ("the same bits when run again", PASS)
OUTPUT, GRADIENT = ("output", PASS), ("gradient of input 0", PASS)


def test_what_is_asked_of_a_pair():
    row = suite.check(pair_of("exp"), numbers(7))
    assert said(row) == [OUTPUT, GRADIENT, AGAIN]
    assert [f.compared for f in row.findings] == [7, 7, 14]
    assert row.compared == 28


def test_an_output_of_another_shape():
    row = suite.check(pair_of("exp", lambda x: (np.exp(x)[None], (x, np.exp(x)))), numbers(7))
    assert said(row)[0] == ("output", FAIL, "the shape is (1, 7), it must be (7,)")


def test_a_gradient_that_is_missing_and_one_that_nobody_wants():
    line = ("gradient of input 0", FAIL, "backward returned None")
    row = suite.check(pair_of("exp", backward=lambda gy, saved: (None,)), numbers(7))
    assert said(row) == [OUTPUT, line, AGAIN]
    back, case = (lambda gy, saved: (gy * saved[1],)), numbers(7, constant=(0,))
    line = ("gradient of input 0", FAIL, "it has no gradient, but backward returned one")
    assert said(suite.check(pair_of("exp", backward=back), case)) == [OUTPUT, line, AGAIN]
    right = pair_of("exp", backward=lambda gy, saved: (None,))
    assert said(suite.check(right, case)) == [OUTPUT, AGAIN]


def ties(gradient):
    """Return a case of |x| at its kink, of which this is known to be the gradient."""
    answer = Answer(np.array([1.0, 4.0]), (np.array(gradient),))
    return Case("ties", lambda rng: (np.array([0.0, -2.0]),), answer=answer)


@pytest.mark.parametrize(
    ("back", "gradient", "line"),
    [
        (None, [0.0, -4.0], (PASS,)),
        (None, [1.0, -4.0], (FAIL, "worst at [0]: got 0, it must be 1")),
        (
            lambda gy, saved: (gy * [1 + 1e-12, -1],),
            [1.0, -4.0],
            (FAIL, "worst at [0]: got 1.0000000000010001, it must be 1"),
        ),
        # as much as the largest of the cotangent is known to
        (lambda gy, saved: (gy * [1 + 4e-15, -1],), [1.0, -4.0], (PASS,)),
        (lambda gy, saved: (None,), [0.0, -4.0], (FAIL, "backward returned None")),
    ],
)
def test_known_gradients_decide_where_there_is_no_derivative(back, gradient, line):
    row = suite.check(pair_of("absolute", backward=back), ties(gradient))
    found = [f for f in said(row) if f[0] == "known gradient of input 0"]
    assert found == [("known gradient of input 0", *line)]


@pytest.mark.parametrize(
    ("spoil", "verdict"), [(lambda n: 0.0, PASS), (lambda n: 1e-12 * n, FAIL)], ids=["no", "yes"]
)
@pytest.mark.parametrize("which", ["output", "gradient"])
def test_bits_that_change(spoil, verdict, which):
    runs = []

    def forward(x):
        runs.append(0)
        y = np.exp(x)
        return y + (spoil(len(runs)) if which == "output" else 0), (x, y)

    def back(gy, saved):
        runs.append(0)
        return (gy * saved[1] + (spoil(len(runs)) if which == "gradient" else 0),)

    *_, again = suite.check(pair_of("exp", forward, back), numbers(7)).findings
    line = "two runs on the same inputs gave different bits"
    assert again.verdict is verdict
    assert again.detail == ((line,) if verdict is FAIL else ())


def test_nan_will_do_where_the_case_says_so():
    def forward(x):
        y = np.where(np.isinf(x), np.nan, 2 * x) if forward.spoils else np.full(x.shape, np.nan)
        return y, ()

    def output_of(**options):
        case = Case("nan", lambda rng: (np.array([np.inf, 1.0]),), **options)
        pair = pair_of("negative", forward, lambda gy, saved: (2 * gy,))
        row = suite.check(pair, case, reference=lambda x: 2 * x)
        return row.findings[0].verdict

    forward.spoils = True
    assert output_of() is FAIL
    assert output_of(nan_for_infinity=("plain",)) is PASS
    assert output_of(nan_for_infinity=("other",)) is FAIL
    assert output_of(nan_for_anything=("plain",)) is PASS
    forward.spoils = False
    assert output_of(nan_for_infinity=("plain",)) is FAIL
    assert output_of(nan_for_anything=("plain",)) is PASS


def test_a_record_of_a_row():
    row = suite.check(pair_of("relu", dtype="float32"), numbers(7, name="x"))
    record = row.record()
    assert {key: record[key] for key in list(record)[:7]} == {
        "op": "relu",
        "forward": "plain",
        "backward": "plain",
        "dtype": "float32",
        "device": "cpu",
        "kind": "values",
        "case": "x",
    }
    assert (record["compared"], record["excluded"]) == (28, 0)
    assert record["what"] == row.worst.what


def test_the_worst_finding_of_a_row_is_one_of_the_worst_verdict():
    def finding(what, verdict, error):
        return Finding(what, verdict, error, 1.0, 5, 2)

    found = (
        finding("a", PASS, 0.9),
        finding("b", FAIL, 0.0),
        finding("c", FAIL, 0.5),
        finding("d", Verdict.INCONCLUSIVE, 0.7),
    )
    row = suite.CaseFindings(pair_of("exp"), "x", found)
    assert (row.verdict, row.worst.what, row.compared) == (FAIL, "c", 20)
    assert (row.record()["compared"], row.record()["excluded"]) == (20, 8)
    assert str(row).splitlines() == [
        "FAIL exp plain float64 on cpu, case 'x'",
        "  FAIL b: 5 compared, 2 excluded at kinks (non-differentiable), "
        "largest error 0 of 1 allowed",
        "  FAIL c: 5 compared, 2 excluded at kinks (non-differentiable), "
        "largest error 0.5 of 1 allowed",
    ]


def test_what_is_counted_in_the_end():
    def row(name, *findings):
        found = (Finding("x", verdict, 0.5, 1.0, *counts) for verdict, *counts in findings)
        return suite.CaseFindings(pair_of(name), "x", tuple(found))

    rows = [
        row("relu", (PASS, 1000, 2), (PASS, 234)),
        row("exp", (PASS, 1)),
        row("relu", (PASS, 5, 1), (FAIL, 4)),
        row("relu", (Verdict.INCONCLUSIVE, 0), (PASS, 7)),
    ]
    assert table.closing(rows) == [
        "exp plain: 1 PASS; 1 number compared",
        "relu plain: 1 PASS, 1 INCONCLUSIVE, 1 FAIL; 1,250 numbers compared, "
        "3 excluded at kinks (non-differentiable)",
        "of kind values: 2 PASS, 1 INCONCLUSIVE, 1 FAIL",
        "2 implementations: 2 PASS, 1 INCONCLUSIVE, 1 FAIL; 1,251 numbers compared",
    ]
    assert table.worst_of(rows) is rows[2]


def test_a_pair_is_allowed_what_its_operands_lose():
    whole = OPS["exp"].implementations["plain"]
    coarse = Implementation(whole.forward, whole.backward, operand_roundoff=2.0**-11)
    op = suite.Op("exp", {"plain": whole, "coarse": coarse}, OPS["exp"].cost)
    both, back, fore = (
        Pair(op, *names, np.dtype(np.float32))
        for names in (("plain", "plain"), ("plain", "coarse"), ("coarse", "plain"))
    )
    assert both.allowed(4) == 16 * 2 * 2.0**-24
    assert both.allowed(4, np.float64, 1.0) == 2 * 2.0**-53
    assert back.allowed(1) == fore.allowed(1) == 16 * (2.0**-24 + 2.0**-13)
    # of an output, forward alone
    assert (back.common(), fore.common()) == (2.0**-24, 2.0**-24 + 2.0**-13)
    assert both.common(np.float64) == 2.0**-53
    assert (back.name, both.name) == ("plain>coarse", "plain")


def test_short_numbers_lose_nothing_to_a_roundoff():
    short = functools.partial(noise.short, roundoff=2.0**-8)
    kept = np.array([0, 1, -1.5, 255, 2.0**-130, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(short(kept), kept)
    assert np.isnan(short(np.array([np.nan])))
    # of two at the same distance the even one
    np.testing.assert_array_equal(
        short(np.array([257.0, 258.0, 259.0, 263.0])), [256, 258, 260, 264]
    )
    a = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert short(a).dtype == a.dtype
    assert 2.0**-9 < np.abs(short(a) / a - 1).max() <= 2.0**-8
    np.testing.assert_array_equal(short(a).view(np.uint32) & 0xFFFF, 0)


def coarse_linear(share):
    """Return linear of operands rounded to 8 bits, whose first gradient is off by a share."""
    plain = OPS["linear"].implementations["plain"]

    def short(*arrays):
        return tuple(noise.short(a, 2.0**-8) for a in arrays)

    def forward(x, w, b=None):
        return plain.forward(*short(x, w), b)[0], (x, w)

    def backward(gy, saved):
        (gy,), saved = short(gy), short(*saved)
        gx, *others = plain.backward(gy, saved)
        return gx * np.float32(1 + share), *others

    return Implementation(forward, backward, operand_roundoff=2.0**-8)


@pytest.mark.parametrize(("share", "verdict"), [(0.0, PASS), (0.01, FAIL)])
def test_what_coarse_operands_leave_undecided_short_ones_decide(share, verdict):
    there = OPS["linear"]
    both = {"plain": there.implementations["plain"], "coarse": coarse_linear(share)}
    pair = Pair(suite.Op("linear", both, there.cost), "coarse", "coarse", np.dtype(np.float32))
    case = Case("small", lambda rng: tuple(map(rng.standard_normal, ((3, 4), (5, 4), (5,)))))
    found = {finding.what: finding for finding in suite.check(pair, case).findings}
    decided = found["gradient of input 0, of operands that need no rounding"]
    assert decided.verdict is verdict
    # by what the type allows, not the operands
    assert decided.bound < 1e-4
    assert found["output"].verdict is PASS
    assert found["the same bits when run again"].verdict is PASS


def test_a_pair_runs_in_the_types_of_both():
    whole = OPS["exp"].implementations["plain"]
    narrow = Implementation(whole.forward, whole.backward, dtypes=("float32",))
    op = suite.Op("exp", {"plain": whole, "narrow": narrow}, OPS["exp"].cost)
    reasons = {p.name: p.why_not() for p in suite.pairs(op, "float64")}
    assert reasons["plain"] == ""
    assert [name for name, why in reasons.items() if why.endswith("takes float32 only")] == [
        "plain>narrow", "narrow>plain", "narrow",
    ]  # fmt: skip
    assert not any(p.why_not() for p in suite.pairs(op, "float32"))


# The adjoint identity -----------------------------------------------------------------------------


def test_pairings_are_added_up_in_float64(monkeypatch):
    monkeypatch.setattr(adjoint, "ELEMENTS_AT_ONCE", 2)
    a, b = np.array([3e4, 1.0, -3e4], np.float32), np.array([1e4, 2.0, 1e4], np.float32)
    total, size = adjoint.pairing(a, b)
    assert total == 2.0
    assert size == pytest.approx(math.sqrt(2) * 3e8)


@pytest.mark.parametrize(
    ("shape", "ends"),
    [
        ((4,), [1, 0, 0, 1]),
        ((2,), [1, 1]),
        ((2, 3), [[1, 0, 1], [1, 0, 1]]),
        ((3, 3), [[1, 1, 1], [1, 0, 1], [1, 1, 1]]),
        ((), 1),
    ],
)
def test_ends_of_axes(shape, ends):
    assert adjoint._at_ends(shape).tolist() == np.array(ends, bool).tolist()


def identities(backward=None, u=(1.0, -2.0, 3.0, 4.0), forward=None, dtype=FLOAT64, **case):
    """Return what the identity says of ``y = -x``, for the cotangent 1, 2, 4, 8."""
    pair = pair_of("negative", forward, backward or (lambda gy, saved: (-gy,)), dtype)
    u, c = np.array(u, dtype), np.array([1.0, 2.0, 4.0, 8.0], dtype)
    trial = Case("x", lambda rng: (u,), **(case or {"linear": (0,)}))
    (g,) = pair.vjp(c, (), {}, (True,))
    return list(adjoint.identities(pair, trial, (u,), c, (g,)))


def test_an_identity_and_what_rounding_may_do_to_it():
    whole, ends = identities()
    # on each side 4 roundings of a product, of the size of the root of the sum of their squares
    bound = pytest.approx(2 * 4 * 2.0**-53 * math.sqrt(1 + 16 + 144 + 1024), abs=0)
    assert whole == Finding("gradient of input 0", PASS, 0.0, bound, 4)
    bound = pytest.approx(2 * 4 * 2.0**-53 * math.sqrt(1 + 1024), abs=0)
    assert ends == Finding("gradient of input 0, ends of the axes", PASS, 0.0, bound, 2)
    assert [f.what for f in identities(homogeneous=(0,))] == ["gradient of input 0"]


def test_an_identity_that_does_not_hold_says_both_sides_and_finds_the_element():
    whole, ends = identities(lambda gy, saved: (gy * [-1, -1, -2, -1],))
    assert (whole.verdict, whole.error, ends.verdict) == (FAIL, 12.0, PASS)
    assert (whole.compared, whole.excluded) == (4, 0)
    assert whole.detail == (
        "<f(u) - f(0), c> = -41, <u, gradient> = -53",
        "worst at [2]: got -8, it must be -4",
        "1 of 4 elements looked at are off",
        "it comes from 1 of 4 outputs, in [2]",
        "first guess: one element alone is off: a loop's end, or an index?",
    )
    (whole,) = identities(lambda gy, saved: (gy * [-1, -1, -2, -1],), homogeneous=(0,))
    assert whole.detail == ("<f(u) - f(0), c> = -41, <u, gradient> = -53",)


@pytest.mark.parametrize(("size", "constant"), [(1.0, 2**20), (2.0**-10, 2**12)])
def test_what_does_not_depend_on_the_argument_is_taken_off(size, constant):
    """Numbers beside a constant in which they are all but lost are scaled up till they count."""
    u = tuple(size * x for x in (1.0, -2.0, 3.0, 4.0))

    def forward(x):
        return x.dtype.type(constant) - x, ()

    def off(gy, saved):
        return (gy * np.float32(-1.001),)

    whole, ends = identities(u=u, forward=forward, dtype="float32")
    assert (whole.verdict, ends.verdict) == (PASS, PASS)
    assert (whole.compared, ends.compared) == (4, 2)
    found = identities(off, u=u, forward=forward, dtype="float32")
    assert [f.verdict for f in found] == [FAIL, FAIL]
    # of what is homogeneous nothing is taken off
    (whole,) = identities(u=u, forward=forward, homogeneous=(0,))
    assert whole.verdict is FAIL


def test_what_is_said_of_a_gradient_is_free_of_the_constant():
    whole, _ = identities(
        lambda gy, saved: (gy * np.float32(-1.0005),),
        forward=lambda x: (1 - x, ()),
        dtype="float32",
    )
    _, _, count, _, guessed = whole.detail
    assert count == "4 of 4 elements looked at are off"
    assert guessed.endswith("every element is 0.0005 of itself too large")


def test_an_identity_that_rounding_may_drown_is_inconclusive():
    with zoo.off_the_lists("negative"):
        whole = Implementation(lambda x: (-x, ()), lambda gy, saved: (-gy,))
        op = suite.Op("negative", {"plain": whole}, lambda shapes: Cost(4 * 10**9, 1))
    pair = Pair(op, "plain", "plain", np.dtype(np.float32))
    u = np.array([1.0, 2.0], np.float32)
    trial = Case("x", lambda rng: (u,), linear=(0,))
    found = list(adjoint.identities(pair, trial, (u,), u, (-u,)))
    # 4 times 2^-24 times the root of 2 10^9 operations for each of two sides, of what is the root
    # of two of them
    assert found[0].verdict is Verdict.INCONCLUSIVE
    assert (found[0].compared, found[0].excluded) == (2, 0)
    share = 2 * 4 * 2.0**-24 * math.sqrt(2e9) / math.sqrt(2)
    assert found[0].detail == (f"rounding alone may reach {share:.0%}",)


@pytest.mark.parametrize("factor", [-1.0, 0.0, 7.0])
def test_of_zeros_every_gradient_would_hold(factor):
    for found in identities(lambda gy, saved: (factor * gy,), u=(0.0, 0.0, 0.0, 0.0)):
        assert (found.verdict, found.compared) == (Verdict.INCONCLUSIVE, 0)
        assert found.detail == ("both sides are 0, whatever the gradient is",)


def test_gradients_that_cannot_be_paired():
    (found,) = identities(lambda gy, saved: (None,))
    assert found.detail == ("backward returned None",)
    (found,) = identities(lambda gy, saved: (gy[1:],))
    assert found.detail == ("the shape is (3,), that of the input is (4,)",)
    (found,) = identities(lambda gy, saved: (gy * [1, np.nan, np.inf, 1],))
    assert found.detail == (
        "first at [1]: got nan",
        "2 of 4 elements are not finite",
        "it comes from 1 of 4 outputs, in [1]",
    )
    whole, ends = identities(forward=lambda x: (np.where(x == -2, np.inf, -x), ()))
    assert whole.detail == ("forward gives what is not finite: no identity can hold",)
    assert ends.verdict is PASS
