"""The parts of the checker: differences, the noise model, the contract, the table."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from minialex import check, cuda
from minialex.autograd import OPS, Implementation
from minialex.check import comparison, derivatives, noise, numeric, suite, table
from minialex.check.case import Case
from minialex.check.cases import CASES
from minialex.check.verdict import Finding, Verdict, worst
from minialex.cuda import emulated
from minialex.errors import MinialexError
from tests.check import formulas, zoo


def problem(function, *inputs, elementwise=64):
    rng = np.random.default_rng(0)
    return numeric.make_problem(function, inputs, rng, 0, elementwise)


def slope(function, x):
    """Return the derivative of a function of one number, and what was found out about it."""
    p = problem(function, np.asarray(float(x)))
    d = p.along(0, np.ones(()))
    return d.value / float(p.gy), d.uncertainty / abs(float(p.gy)), d.kink


# Differences --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "x", "true"),
    [
        (np.exp, 1.0, math.e),
        (np.sin, 0.3, math.cos(0.3)),
        (lambda x: x**9, 1.5, 9 * 1.5**8),
        (lambda x: 1 / x, 1e-3, -1e6),
        (np.tanh, 0.0, 1.0),
        (lambda x: np.tanh(50 * x), 0.01, 50 * (1 - np.tanh(0.5) ** 2)),
        (lambda x: 1e6 * x, 0.2, 1e6),
        (lambda x: x * x, 1e6, 2e6),
        (np.abs, 1e-5, 1.0),
        (lambda x: np.maximum(x, 0), -1e-6, 0.0),
    ],
)
def test_the_plateau_is_found_and_its_uncertainty_holds(function, x, true):
    value, uncertainty, kink = slope(function, x)
    assert abs(value - true) <= uncertainty
    assert uncertainty <= 1e-5 * max(abs(true), 0.01)
    assert not kink


@pytest.mark.parametrize("function", [np.abs, lambda x: np.maximum(x, 0), lambda x: x + abs(x) / 9])
def test_a_kink_is_recognised(function):
    assert slope(function, 0.0)[2]


@pytest.mark.parametrize("x", [0.0, 1e-9, 1e-3, 7.0])
@pytest.mark.parametrize(
    "function", [np.square, np.sin, lambda x: x**3, lambda x: 0 * x, np.exp, lambda x: x / 0.7]
)
def test_a_smooth_point_is_no_kink(function, x):
    assert not slope(function, x)[2]


def test_kinks_are_recognised_element_by_element():
    x = np.array([-1.0, 0.0, 1e-4, 0.0, 2.0])
    found = problem(lambda x: np.maximum(x, 0), x).elements(0)
    assert found.kink.tolist() == [False, True, False, True, False]


def test_kinks_of_ties_are_recognised():
    x = np.array([[1.0, 1.0, 0.0]])
    found = problem(lambda x: x.max(axis=1), x).elements(0)
    assert found.kink.tolist() == [[True, True, False]]


def test_the_fan_counts_outputs():
    found = problem(lambda x: x[:-1] + x[1:], np.arange(4.0)).elements(0)
    assert found.fan_out.tolist() == [1, 2, 2, 1]


def test_outside_the_domain_nothing_is_known():
    value, uncertainty, _ = slope(lambda x: np.sqrt(1e-12 - x), 1e-12)
    assert not np.isfinite(uncertainty)
    assert np.isnan(value)


@pytest.mark.parametrize("x", [1e-12, 1e-8, 1e-3, 1.0, 1e8])
def test_steps_are_as_short_as_the_input_is_small(x):
    value, uncertainty, kink = slope(lambda x: np.asarray(math.log(x)), x)
    assert abs(value - 1 / x) <= uncertainty < 1e-3 / x
    assert not kink


def test_directions_agree_with_elements():
    x = np.random.default_rng(1).standard_normal(9)
    p = problem(lambda x: np.tanh(x).cumsum(), x)
    v = np.random.default_rng(2).standard_normal(9)
    whole = p.elements(0).value
    assert abs(p.along(0, v).value - (whole * v).sum()) < 1e-8


def test_large_inputs_are_taken_along_directions():
    x = np.ones(1000)
    truth = problem(np.exp, x).truth(0, np.random.default_rng(0))
    assert isinstance(truth, derivatives.DirectionalDerivatives)


def test_a_direction_that_meets_kinks_is_taken_apart():
    x = np.zeros(100)
    truth = problem(np.abs, x).truth(0, np.random.default_rng(0))
    assert isinstance(truth, derivatives.ElementwiseDerivatives)
    assert truth.kink.all()


# The noise model ----------------------------------------------------------------------------------


def sizes(gradient, x, gy):
    return noise.gradient_sizes(gradient, (x,), gy, np.random.default_rng(0))[0]


def test_the_size_of_a_sum_is_that_of_its_terms():
    """What cancels in the gradient does not cancel in its error."""
    gy = np.array([1.0, -1.0] * 50)
    size = sizes(lambda xs, gy, perturb: (np.broadcast_to(gy.sum(), (1,)),), np.ones(1), gy)
    assert 3 < size[0] < 30


def test_the_size_of_an_output_is_that_of_its_terms():
    x = np.array([1e8, -1e8, 1.0])
    y = np.asarray(x.sum())
    size = noise.output_size(lambda x: np.asarray(x.sum()), (x,), y, np.random.default_rng(0))
    assert 1e7 < size < 1e9


def test_a_jump_is_no_size():
    """Moving a tie sends the gradient elsewhere: that is not what rounding does to it."""
    x = np.array([1.0, 1.0])

    def gradient(xs, gy, perturb):
        g = np.zeros(2)
        g[xs[0].argmax()] = gy
        return (g,)

    assert sizes(gradient, x, np.asarray(1.0)).max() < 10


def test_what_is_saved_counts():
    """1 - y of a saved y near 1: an error of a rounding in y is all of the difference."""
    y = 1 - 1e-9

    def gradient(xs, gy, perturb):
        (kept,) = perturb((np.array([y]),)) if perturb else (np.array([y]),)
        return (gy * (1 - kept),)

    assert sizes(gradient, np.ones(1), np.ones(1))[0] > 0.1


def test_allowed_grows_as_a_random_walk():
    assert noise.allowed("float64", 100) == pytest.approx(10 * noise.allowed("float64", 1))
    assert noise.allowed("float64", 0.1) == noise.allowed("float64", 1)
    assert noise.allowed("float32", 1) / noise.allowed("float64", 1) == 2**29


def test_large_random_sums_stay_within_the_model():
    """Sums of 10^5 float32 numbers, of one sign and of both, one after the other."""
    rng = np.random.default_rng(3)
    for values in (rng.random(100_000), rng.standard_normal(100_000)):
        x = values.astype(np.float32)
        naive = float(np.cumsum(x)[-1])
        exact = math.fsum(x.tolist())
        size = max(abs(exact), math.sqrt(float((x.astype(np.float64) ** 2).sum())))
        assert abs(naive - exact) <= noise.allowed("float32", x.size) * size


# Verdicts -----------------------------------------------------------------------------------------


def test_the_worst_verdict_counts():
    P, I, F = Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL
    assert worst([P, I, F, P]) is F
    assert worst([P, I]) is I
    assert worst([P, P]) is P
    assert worst([]) is I


def test_the_ratio_of_a_finding():
    def ratio(error, bound):
        return Finding("x", Verdict.PASS, error, bound, 1).ratio

    assert ratio(1, 4) == 0.25
    assert ratio(0, 0) == 0
    assert ratio(1, 0) == math.inf
    assert ratio(math.inf, 1) == math.inf


# The table ----------------------------------------------------------------------------------------


def rows_of(**choice):
    return [trial.run() for trial in check.check_runs(**choice)]


def test_rows_are_filtered():
    rows = rows_of(ops=["relu"], dtypes=["float32"], only=["values"])
    assert len(rows) == 2 * len(CASES["relu"])
    assert {row.pair.name for row in rows} == {"plain", "blocked"}
    assert {row.pair.op.name for row in rows} == {"relu"}
    assert {str(row.pair.dtype) for row in rows} == {"float32"}


def test_rows_at_full_size():
    rows = rows_of(ops=["relu"], full=True, dtypes=["float32"])
    assert [row.verdict for row in rows] == [Verdict.PASS] * len(rows)
    assert sum(row.compared for row in rows) > 200_000


def test_rows_of_pairs_that_an_implementation_takes_part_in():
    whole = OPS["exp"]
    twin = replace(whole.implementations["plain"], why_not=cuda.why_not)
    suite.Op("exp", {"plain": whole.implementations["plain"], "twin": twin}, whole.cost)
    with pytest.raises(MinialexError, match=r"twin: CUDA kernels run on a GPU .*--emulate"):
        check.check_runs(ops=["exp"], implementations=["twin"])
    assert {row.pair.name for row in rows_of(ops=["exp"])} == {"plain"}
    with emulated():
        one = [row.pair.name for row in rows_of(ops=["exp"], implementations=["twin"])]
        mixed = rows_of(ops=["exp"], implementations=["twin"], mixed=True)
    assert set(one) == {"twin"}
    assert {row.pair.name for row in mixed} == {"twin", "plain>twin", "twin>plain"}


def test_own_saved_arrays_are_paired_with_themselves_alone():
    whole = OPS["exp"].implementations["plain"]
    alone = Implementation(whole.forward, whole.backward, own_saved=True)
    op = suite.Op("exp", {"plain": whole, "alone": alone}, OPS["exp"].cost)
    assert [p.name for p in suite.pairs(op, "float32")] == ["plain", "alone"]


def test_names_that_are_not_there():
    with pytest.raises(MinialexError, match="unknown op 'nosuchop'; known: absolute"):
        check.check_runs(ops=["nosuchop"])
    with pytest.raises(MinialexError, match="unknown implementation 'fast'"):
        check.check_runs(implementations=["fast"])


def test_an_op_without_cases_is_named():
    suite.Op("nosuchop", OPS["tanh"].implementations)
    with pytest.raises(MinialexError, match="op 'nosuchop' is untested"):
        check.check_runs(ops=["nosuchop"])


def test_a_row_that_raises_fails_and_the_others_run(monkeypatch):
    def back(gy, saved):
        raise IndexError("out of bounds")

    monkeypatch.setitem(
        OPS, "exp", zoo.unlisted("exp", OPS["exp"].implementations["plain"].forward, back)
    )
    rows = rows_of(ops=["exp", "log"], dtypes=["float64"])
    failed = [row for row in rows if row.verdict is Verdict.FAIL]
    assert {row.pair.op.name for row in failed} == {"exp"}
    assert "IndexError: out of bounds" in str(failed[0])


def test_an_op_that_is_no_layer_has_no_full_size():
    with pytest.raises(MinialexError, match=r"'exp' is no layer of AlexNet's; known: .*conv2d"):
        check.check_runs(ops=["exp"], full=True)


def test_the_worst_of_a_pair_is_a_failure_before_a_large_error():
    row = check.check_runs(ops=["exp"])[0].run()
    near = replace(row, case="near", findings=(Finding("y", Verdict.PASS, 0.9, 1.0, 1),))
    wrong = replace(row, case="wrong", findings=(Finding("y", Verdict.FAIL, 0.0, 1.0, 1),))
    assert table.worst_of([near, wrong, row]).case == "wrong"
    assert table.worst_of([row, near]).case == "near"


def test_closing_counts_by_name():
    rows = rows_of(ops=["relu", "exp"], dtypes=["float64"], only=["values"])
    *lines, kind, last = table.closing(rows)
    assert [line.split(":")[0] for line in lines] == ["exp plain", "relu blocked", "relu plain"]
    assert f"{len(CASES['relu'])} PASS" in lines[1]
    assert "excluded at kinks (non-differentiable)" in lines[1]
    assert kind == f"of kind values: {len(rows)} PASS"
    assert f"{len(rows)} PASS, 0 INCONCLUSIVE, 0 FAIL" in last
    assert f"{sum(row.compared for row in rows):,} numbers" in last


def test_records_are_json():
    row = check.check_runs(ops=["exp"])[0].run()
    record = json.loads(json.dumps(row.record(), allow_nan=False))
    assert (record["op"], record["verdict"], record["forward"]) == ("exp", "PASS", "plain")
    failed = suite.CaseFindings(
        row.pair, "x", (check.Finding("y", Verdict.FAIL, math.inf, 0.0, 0),)
    )
    assert json.loads(json.dumps(failed.record(), allow_nan=False))["error"] is None


def test_a_forward_that_is_off_fails_as_output():
    def forward(x):
        y = np.exp(x)
        return y * (1 + 1e-12), (x, y)

    op = zoo.unlisted("exp", forward, formulas.right("exp"))
    row = suite.check(suite.Pair(op, "plain", "plain", np.dtype(np.float64)), CASES["exp"][1])
    assert [f.what for f in row.findings if f.verdict is Verdict.FAIL] == ["output"]


def test_an_output_with_nan_fails():
    def forward(x):
        y = np.exp(x)
        broken = y.copy()
        broken[0] = np.nan
        return broken, (x, y)

    op = zoo.unlisted("exp", forward, formulas.right("exp"))
    row = suite.check(suite.Pair(op, "plain", "plain", np.dtype(np.float64)), CASES["exp"][1])
    assert row.findings[0].verdict is Verdict.FAIL
    for words in ("worst at [0]: got nan, it must be ", "in [0]", "the first element alone"):
        assert words in str(row)


def off_output(op, spoil):
    """Return what is said of the output of `op`, spoilt, on its second case."""

    def forward(*inputs, **params):
        y, saved = OPS[op].implementations["plain"].forward(*inputs, **params)
        return spoil(y), saved

    broken = zoo.unlisted(op, forward, formulas.right(op))
    pair = suite.Pair(broken, "plain", "plain", np.dtype(np.float64))
    (finding,) = [f for f in suite.check(pair, CASES[op][1]).findings if f.what == "output"]
    assert finding.verdict is Verdict.FAIL
    return str(finding)


def last_skipped(y):
    return np.append(y[:-1], 0.0)


@pytest.mark.parametrize(
    ("spoil", "guess"),
    [
        (lambda y: 2 * y, "2 times too large"),
        (lambda y: y * (1 - 2e-5), "2e-05 of itself too small"),
        (np.negative, "the sign is wrong"),
        (np.zeros_like, "zero everywhere"),
        (last_skipped, "the last element alone"),
        (lambda y: np.roll(y, 3), "rotated by 3 along axis 0"),
        (np.flip, "axis 0 is flipped"),
        (lambda y: np.where(y > 1, np.inf, y), "got inf, it must be"),
    ],
)
def test_an_output_that_is_off_is_explained(spoil, guess):
    assert guess in off_output("exp", spoil)


def test_a_gradient_that_is_not_a_number_shows_what_it_must_be():
    p = problem(lambda x: 3 * x, np.ones(4))
    g = np.where(np.arange(4) == 2, np.nan, 3 * p.gy)
    rng = np.random.default_rng(0)
    detail = comparison.gradient("gradient", g, p, 0, np.zeros(4), rng).detail
    assert detail[0] == f"first at [2]: got nan, it must be {3 * p.gy[2]:.9g}"
    assert detail[1:] == ("1 of 4 elements are not finite", "it comes from 1 of 4 outputs, in [2]")


def test_cases_draw_the_same_numbers_every_time():
    case = Case("x", lambda rng: (rng.standard_normal(5),))
    assert np.array_equal(case.draw("exp")[0], case.draw("exp")[0])
    assert not np.array_equal(case.draw("exp")[0], case.draw("log")[0])
    drawn = case.draw("exp")[0]
    assert np.array_equal(drawn, drawn.astype(np.float32).astype(np.float64))
