"""Learning-rate schedules: known values at known steps."""

import numpy as np
import pytest

from minialex.optim import make_schedule


def test_constant():
    factor = make_schedule("constant", total=10)
    assert [factor(s) for s in (0, 5, 99)] == [1, 1, 1]


def test_article_halves_every_256_batches():
    factor = make_schedule("article", total=10_000, step_size=3, gamma=0.9)
    assert [factor(s) for s in (0, 255, 256, 511, 512, 1024)] == [
        1, 1, 0.5, 0.5, 0.25, 0.0625,
    ]  # fmt: skip


def test_step_takes_its_numbers_and_goes_on_past_the_end():
    factor = make_schedule("step", total=5, step_size=3, gamma=0.1)
    assert [factor(s) for s in (0, 2, 3, 6)] == pytest.approx([1, 1, 0.1, 0.01])


def test_cosine_ends_at_zero_and_stays():
    factor = make_schedule("cosine", total=100)
    assert [factor(s) for s in (0, 50, 100, 150)] == pytest.approx([1, 0.5, 0, 0])
    assert factor(25) == pytest.approx((1 + 2**-0.5) / 2)


def test_warm_up_rises_in_equal_parts():
    factor = make_schedule("constant", total=100, warmup=4)
    assert [factor(s) for s in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match="unknown schedule 'linear'; known: constant, step"):
        make_schedule("linear", total=1)


@pytest.mark.parametrize("warmup", range(9))
def test_the_full_rate_is_reached_whatever_the_warm_up(warmup):
    factor = make_schedule("cosine", total=8, warmup=warmup)
    rates = [factor(s) for s in range(8)]
    assert max(rates) == 1
    # from there on half a cosine over the steps that are left
    left = 8 - warmup
    assert rates[warmup:] == pytest.approx(
        [(1 + np.cos(np.pi * s / left)) / 2 for s in range(left)]
    )
    assert [factor(8), factor(99)] == [0, 0]


def test_the_others_start_after_the_warm_up_as_well():
    factor = make_schedule("step", total=9, warmup=2, step_size=2, gamma=0.1)
    assert [factor(s) for s in range(6)] == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1])


@pytest.mark.parametrize("name", ["constant", "step", "cosine", "article"])
def test_a_step_is_a_whole_number_from_0(name):
    factor = make_schedule(name, total=10, warmup=2)
    assert factor(np.int64(1)) == factor(1)
    for step in (1.5, 2.0, "1"):
        with pytest.raises(TypeError, match=f"'{name}': step is {step!r}: give a whole number"):
            factor(step)
    with pytest.raises(ValueError, match=f"'{name}': step is -1: give the steps taken, from 0"):
        factor(-1)


WRONG = [
    ({"warmup": -3}, "warmup is -3: give 0 to 10 steps"),
    ({"warmup": 11}, "warmup is 11: give 0 to 10 steps"),
    ({"total": 0}, "total is 0: give at least 1 step"),
    ({"step_size": 0}, "step_size is 0: give at least 1 step"),
    ({"gamma": 0.0}, "gamma is 0.0: give a finite number above 0"),
    ({"gamma": -0.1}, "gamma is -0.1"),
    ({"gamma": float("nan")}, "gamma is nan"),
    ({"gamma": float("inf")}, "gamma is inf"),
]


@pytest.mark.parametrize(("argument", "words"), WRONG, ids=str)
def test_what_is_out_of_range_is_refused_by_name_whatever_the_schedule(argument, words):
    for name in ("constant", "step", "cosine", "article"):
        with pytest.raises(ValueError, match=f"^make_schedule: {words}"):
            make_schedule(name, **{"total": 10, **argument})


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ({"warmup": 0.5}, "warmup is 0.5: give a whole number of steps"),
        ({"total": 10.0}, "total is 10.0: give a whole number of steps"),
        ({"step_size": None}, "step_size is None: give a whole number of steps"),
        ({"gamma": "0.1"}, "gamma is '0.1': give a number"),
        ({"gamma": 1j}, "gamma is 1j: give a number"),
    ],
    ids=str,
)
def test_what_is_no_number_is_refused_by_name(argument, words):
    with pytest.raises(TypeError, match=f"^make_schedule: {words}"):
        make_schedule("constant", **{"total": 10, **argument})
