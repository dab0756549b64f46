from math import exp, log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minialex.bench.compare import compare
from minialex.bench.record import Ceilings, Timing
from minialex.errors import MinialexError
from tests.bench.fake_records import record, row


def slower(old, new):
    return [c.row.labels[0] for c in compare(old, new).of("slower")]


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.05])
def test_equal_reruns_are_not_accused(noise):
    accused = [
        name
        for seed in range(50)
        for name in slower(record(seed, noise=noise), record(seed + 1000, noise=noise))
    ]
    # 2,000 comparisons of equal cases
    assert accused == []


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_a_slowed_layer_is_found_and_no_other(noise):
    for seed in range(20):
        new = record(seed + 1000, noise=noise, slowed=[7], factor=1.3)
        assert slower(record(seed, noise=noise), new) == ["alexnet conv2d 7"]


def test_a_layer_slowed_within_the_noise_is_not_accused():
    assert slower(record(1, noise=0.05), record(2, noise=0.05, slowed=[7], factor=1.04)) == []


def test_a_slower_machine_slows_nothing():
    assert slower(record(1), record(2, speed=0.7)) == []


def test_a_slowed_layer_is_found_on_a_faster_machine():
    assert slower(record(1), record(2, speed=1.6, slowed=[3], factor=1.3)) == ["alexnet conv2d 3"]


def test_everything_slowed_at_once_is_found():
    old, new = record(1, cases=12), record(2, cases=12, slowed=range(12), factor=1.5)
    assert len(slower(old, new)) == 12


def test_faster_is_slower_the_other_way_round():
    old, new = record(1), record(2, slowed=[5], factor=1.4)
    assert [c.row.labels[0] for c in compare(new, old).of("faster")] == ["alexnet conv2d 5"]
    assert compare(new, old).of("slower") == []


def test_one_bad_sweep_is_not_enough():
    old, new = record(1), record(2)
    new.rows[4].timings["plain"].times[1] = [t * 3 for t in new.rows[4].timings["plain"].times[1]]
    assert slower(old, new) == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_record_compared_with_itself_has_not_changed(seed):
    one = record(seed, cases=5)
    found = compare(one, one)
    assert {c.verdict for c in found.changes} == {"same"}
    assert all(c.factor == pytest.approx(1) for c in found.changes)


def test_the_factor_is_that_of_the_medians():
    found = compare(record(1, noise=0), record(1, noise=0, slowed=[0], factor=1.5))
    assert found.changes[0].factor == pytest.approx(1.5)
    assert found.noise == pytest.approx(0, abs=1e-9)


def test_cases_of_one_record_alone_are_named():
    old, new = record(1, cases=3), record(2, cases=2)
    assert compare(old, new).only_old == ["alexnet conv2d 2 forward, batch 32"]
    assert compare(new, old).only_new == ["alexnet conv2d 2 forward, batch 32"]
    assert compare(old, new).only_new == compare(new, old).only_old == []


def test_an_implementation_of_one_record_alone_is_named_with_its_case():
    old, new = record(1, cases=2), record(2, cases=2)
    one = new.rows[1].timings
    one["blocked"], one["PyTorch"] = one["plain"], Timing("peer", one["plain"].times)
    one["tiled"] = Timing("implementation", reason="it needs a GPU")
    assert compare(old, new).only_new == ["alexnet conv2d 1 forward, batch 32: blocked"]
    assert len(compare(old, new).changes) == 2


def test_a_case_without_a_time_is_missed_in_the_other_record_alone():
    old, new = record(1, cases=2), record(2, cases=2)
    new.rows[1].timings = {"plain": Timing("implementation", reason="off by 1", failed=True)}
    found = compare(old, new)
    assert (found.only_old, found.only_new) == (["alexnet conv2d 1 forward, batch 32"], [])


def test_an_implementation_that_was_renamed_leaves_two_without_a_partner():
    old, new = record(1, cases=2), record(2, cases=2)
    old.rows[0].timings = {"blocked": old.rows[0].timings["plain"]}
    found = compare(old, new)
    assert found.only_old == found.only_new == ["alexnet conv2d 0 forward, batch 32"]


def change_machine(r):
    r.machine["cpu"] = "another CPU"


def change_threads(r):
    r.threads["used"] = 1


def change_device(r):
    r.device = "cuda:0"


@pytest.mark.parametrize("change", [change_machine, change_threads, change_device])
def test_records_of_different_circumstances_are_refused(change):
    old, new = record(1), record(2)
    change(new)
    with pytest.raises(MinialexError, match=change.__name__.removeprefix("change_")):
        compare(old, new)


def test_a_single_sweep_is_refused():
    old, new = record(1), record(2)
    del new.ceilings.gemm[1:]
    with pytest.raises(MinialexError, match="two"):
        compare(old, new)


def test_records_with_nothing_in_common_are_refused():
    old, new = record(1, cases=2), record(2, cases=2)
    for r in new.rows:
        r.batch = 64
    with pytest.raises(MinialexError, match="in common"):
        compare(old, new)


# ---- the statistic, worked out by hand ----------------------------------------------------------

COMPUTES, MOVES = [(10**9, 1)], [(1, 10**9)]


def made(*cases, gemm=1e11, copy=1e10):
    """Return a record of cases: their work, and a list of times per repetition."""
    one = record(cases=0)
    one.rows = [
        row(i, {"plain": Timing("implementation", times)}, work=work)
        for i, (work, times) in enumerate(cases)
    ]
    repetitions = len(cases[0][1])
    one.ceilings = Ceilings([gemm] * repetitions, [copy] * repetitions)
    return one


def changed(old, new):
    """Return the factor of each case, by the number that it has."""
    return {int(c.row.labels[0].split()[-1]): c.factor for c in compare(old, new).changes}


def test_noise_is_the_deviation_between_repetitions_of_their_fastest_rounds():
    old = made((COMPUTES, [[1.5, 1.0], [exp(0.2)]]))
    new = made((COMPUTES, [[3.0], [3.0, 4.0]]))
    found = compare(old, new)
    # four deviations of 0.1, 0.1, 0 and 0 with two degrees of freedom
    sigma = sqrt((0.1**2 + 0.1**2) / 2)
    # of which the median is (1 - 2 / 18)^1.5 of sigma
    assert found.noise == pytest.approx(sigma / (8 / 9) ** 1.5)
    (change,) = found.changes
    assert change.threshold == pytest.approx(exp(4 * sigma / (8 / 9) ** 1.5))
    assert change.factor == pytest.approx(3 / ((1 + exp(0.2)) / 2))
    assert change.verdict == "slower"
    assert (change.old, change.new) == (pytest.approx(exp(0.2)), 3.0)


def test_a_case_noisier_than_the_others_needs_a_larger_change():
    quiet = [[1.0], [1.0]]
    old = made((COMPUTES, quiet), (COMPUTES, quiet), (COMPUTES, [[1.0], [exp(0.2)]]))
    found = compare(old, old)
    assert found.noise == 0
    thresholds = {c.row.labels[0][-1]: c.threshold for c in found.changes}
    noisy = exp(4 * sqrt(4 * 0.1**2 / 2))
    assert thresholds == {
        "0": pytest.approx(1.05),
        "1": pytest.approx(1.05),
        "2": pytest.approx(noisy),
    }


@pytest.mark.parametrize(
    ("machine", "cases", "factor"),
    [
        # how many times as long: a large product, all cases, and what is left of that
        (1.2, 1.3, 1.3 / 1.2),
        (1.4, 1.3, 1.0),
        (1 / 1.2, 1 / 1.3, 1.2 / 1.3),
        (1.2, 0.9, 0.9),
        (0.9, 1.2, 1.2),
        (1.0, 1.2, 1.2),
    ],
)
@pytest.mark.parametrize("work", [COMPUTES, MOVES])
def test_of_a_slowdown_the_smaller_of_the_machines_and_the_cases_is_explained(
    machine, cases, factor, work
):
    still, moved = [[1.0]] * 2, [[cases]] * 2
    other = MOVES if work == COMPUTES else COMPUTES
    rates = {"gemm": 1e11 / machine} if work == COMPUTES else {"copy": 1e10 / machine}
    old = made((work, still), (other, still))
    new = made((work, moved), (other, still), **rates)
    # what another ceiling binds has nothing to do with it
    assert changed(old, new) == {0: pytest.approx(factor), 1: pytest.approx(1.0)}
    assert compare(old, new).machine == {
        "gemm": (1e11, rates.get("gemm", 1e11)),
        "copy": (1e10, rates.get("copy", 1e10)),
    }


def test_the_largest_factor_comes_first():
    old = made(*[(COMPUTES, [[1.0]] * 2)] * 3)
    new = made(*[(COMPUTES, [[seconds]] * 2) for seconds in (1.2, 0.5, 2.0)])
    assert list(changed(old, new)) == [2, 0, 1]
    assert [c.verdict for c in compare(old, new).changes] == ["slower", "slower", "faster"]


@pytest.mark.parametrize(
    ("fast", "slow"),
    [([1.0] * 40, [1.0] + [1.2] * 39), ([1.0] * 39 + [1.2], [1.1] * 40)],
    ids=["touched", "passed"],
)
def test_where_one_repetition_reaches_the_other_run_there_is_no_verdict(fast, slow):
    """Though the medians differ by more than the noise of so many repetitions."""
    runs = [made((COMPUTES, [[seconds] for seconds in run])) for run in (fast, slow)]
    for old, new in (runs, runs[::-1]):
        (change,) = compare(old, new).changes
        assert abs(log(change.factor)) > log(change.threshold)
        assert change.verdict == "same"


def test_machines_are_told_apart_by_their_cards():
    old, new = made((COMPUTES, [[1.0]] * 2)), made((COMPUTES, [[1.0]] * 2))
    old.machine["gpu"], new.machine["gpu"] = {"name": "card A"}, {"name": "card B"}
    with pytest.raises(MinialexError, match=r"machines \(a .* CPU, 2, card A; .*, card B\)"):
        compare(old, new)
    new.machine["gpu"] = {"name": "card A", "driver": "another"}
    assert changed(old, new) == {0: 1.0}
