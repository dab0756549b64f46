"""Learning-rate schedules: known values at known steps."""

import numpy as np
import pytest

from minialex.optim import make_schedule


def test_constant():
    rate = make_schedule("constant", lr=0.3, total=10)
    assert [rate(s) for s in (0, 5, 99)] == [0.3, 0.3, 0.3]


def test_article_halves_every_256_batches():
    rate = make_schedule("article", lr=0.01, total=10_000, every=3, factor=0.9)
    assert [rate(s) for s in (0, 255, 256, 511, 512, 1024)] == [
        0.01, 0.01, 0.005, 0.005, 0.0025, 0.000625,
    ]  # fmt: skip


def test_step_takes_its_numbers():
    rate = make_schedule("step", lr=1.0, total=10, every=3, factor=0.1)
    assert [rate(s) for s in (0, 2, 3, 6)] == pytest.approx([1, 1, 0.1, 0.01])


def test_cosine_ends_at_zero_and_stays():
    rate = make_schedule("cosine", lr=2.0, total=100)
    assert [rate(s) for s in (0, 50, 100, 150)] == pytest.approx([2, 1, 0, 0])
    assert rate(25) == pytest.approx(1 + 2**-0.5)


def test_warm_up_rises_in_equal_parts():
    rate = make_schedule("constant", lr=1.0, total=100, warmup=4)
    assert [rate(s) for s in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match="unknown schedule 'linear'; known: constant, step"):
        make_schedule("linear", lr=1.0, total=1)


def test_a_warm_up_may_last_the_whole_run_and_is_under_the_schedule():
    rate = make_schedule("cosine", lr=2.0, total=4, warmup=4)
    falling = [2, 1 + 2**-0.5, 1, 1 - 2**-0.5]
    assert [rate(s) for s in range(4)] == pytest.approx(np.multiply(falling, [0.25, 0.5, 0.75, 1]))


WRONG = [
    ({"warmup": -3}, "warmup is -3: give 0 to 10 steps"),
    ({"warmup": 11}, "warmup is 11: give 0 to 10 steps"),
    ({"total": 0}, "total is 0: give at least 1 step"),
    ({"lr": 0.0}, "lr is 0.0: give a finite number above 0"),
    ({"lr": -0.1}, "lr is -0.1"),
    ({"lr": float("nan")}, "lr is nan"),
    ({"lr": float("inf")}, "lr is inf"),
    ({"every": 0}, "every is 0: give at least 1 step"),
    ({"factor": 0.0}, "factor is 0.0: give a finite number above 0"),
    ({"factor": float("nan")}, "factor is nan"),
]


@pytest.mark.parametrize(("argument", "words"), WRONG, ids=str)
def test_what_is_out_of_range_is_refused_by_name_whatever_the_schedule(argument, words):
    for name in ("constant", "step", "cosine", "article"):
        with pytest.raises(ValueError, match=f"^make_schedule: {words}"):
            make_schedule(name, **{"lr": 0.1, "total": 10, **argument})


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ({"warmup": 0.5}, "warmup is 0.5: give a whole number of steps"),
        ({"total": 10.0}, "total is 10.0: give a whole number of steps"),
        ({"every": None}, "every is None: give a whole number of steps"),
        ({"lr": "0.1"}, "lr is '0.1': give a number"),
        ({"factor": 1j}, "factor is 1j: give a number"),
    ],
    ids=str,
)
def test_what_is_no_number_is_refused_by_name(argument, words):
    with pytest.raises(TypeError, match=f"^make_schedule: {words}"):
        make_schedule("constant", **{"lr": 0.1, "total": 10, **argument})
