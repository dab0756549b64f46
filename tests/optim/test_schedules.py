"""Learning-rate schedules: known values at known steps."""

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
    with pytest.raises(ValueError, match="no schedule named 'linear'; there is: constant, step"):
        make_schedule("linear", lr=1.0, total=1)
