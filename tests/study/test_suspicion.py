"""Which term a wrong number is wrong in: one mistake each is planted, and named or kept silent."""

import dataclasses
import math
import random

import numpy as np
import pytest

from minialex.study import explain_run, run_op
from minialex.study.suspicion import suspicion

RNG = np.random.default_rng(5)
LINEAR = run_op(
    "linear",
    *(RNG.standard_normal(shape, np.float32) for shape in ((4, 23), (3, 23), (3,))),
    gy=RNG.standard_normal((4, 3), np.float32),
)
POOL = run_op(
    "max_pool2d",
    RNG.standard_normal((1, 1, 5, 5), np.float32),
    gy=RNG.standard_normal((1, 1, 2, 2), np.float32),
    kernel_size=(3, 3),
    stride=(2, 2),
    padding=(0, 0),
    ceil_mode=False,
)
MEAN = run_op(
    "avg_pool2d",
    RNG.standard_normal((1, 1, 3, 3), np.float32),
    kernel_size=(3, 3),
    stride=(1, 1),
    padding=(1, 1),
    ceil_mode=False,
    count_include_pad=False,
)


def wrong(run, which, index, change):
    """Return the explanation of a number in which `change` of its terms' values is what ran."""
    found = explain_run(run, which, index)
    assert suspicion(found) is None
    return dataclasses.replace(found, ran=change([term.value for term in found.formula.terms]))


def without(*left_out):
    return lambda values: math.fsum(v for n, v in enumerate(values, 1) if n not in left_out)


@pytest.mark.parametrize("seed", range(8))
def test_one_term_is_named(seed):
    n = random.Random(seed).randrange(1, 24)
    mistakes = {
        "left out": without(n),
        "counted twice": lambda v: math.fsum(v) + v[n - 1],
        "of the other sign": lambda v: math.fsum(v) - 2 * v[n - 1],
    }
    for what, mistake in mistakes.items():
        found = suspicion(wrong(LINEAR, "y", (1, 2), mistake))
        assert str(found) == f"as if term {n} was {what}"


def test_a_loop_that_ends_early_or_starts_late():
    found = suspicion(wrong(LINEAR, "y", (0, 0), without(*range(17, 25))))
    assert str(found) == "as if terms 17 to 24 were left out"
    found = suspicion(wrong(LINEAR, "y", (0, 0), without(*range(1, 24))))
    assert str(found) == "as if terms 1 to 23 were left out"


def test_some_of_a_few_terms():
    found = suspicion(wrong(LINEAR, "gw", (0, 0), without(1, 3)))
    assert str(found) == "as if terms 1, 3 were left out"


def test_a_gate_that_lets_through():
    by_notes = {
        index: [term.note for term in explain_run(POOL, "gx", index).formula.terms]
        for index in np.ndindex(1, 1, 5, 5)
    }
    index = next(i for i, notes in by_notes.items() if len(notes) == 4 and "it won" not in notes)
    gy = explain_run(POOL, "gx", index).formula.terms[2].factors[0].value
    found = suspicion(wrong(POOL, "gx", index, lambda values: gy))
    assert str(found) == "as if term 3 was let through"


def test_another_choice():
    found = explain_run(POOL, "y", (0, 0, 1, 1))
    other = (found.formula.chosen + 4) % 9
    found = suspicion(wrong(POOL, "y", (0, 0, 1, 1), lambda values: values[other]))
    assert str(found) == f"as if term {other + 1} was chosen"


def test_another_count():
    found = suspicion(wrong(MEAN, "y", (0, 0, 0, 0), lambda v: math.fsum(v) * 4 / 9))
    assert str(found) == "as if terms 1 to 4 were divided by 9 and not by 4"


def test_a_neighbour_for_a_factor():
    x, w = (a.astype(float) for a in LINEAR.inputs[:2])
    found = suspicion(
        wrong(LINEAR, "y", (1, 2), lambda v: math.fsum(v) + w[2, 9] * (x[1, 10] - x[1, 9]))
    )
    assert str(found) in (
        "as if term 10 was one with x[1, 10] for x[1, 9]",
        "as if term 11 was one with x[1, 10] for x[1, 9]",
    )


@pytest.mark.parametrize("ran", [1e3, math.nan, math.inf])
def test_of_what_no_change_gives_nothing_is_said(ran):
    assert suspicion(wrong(LINEAR, "y", (1, 2), lambda values: ran)) is None


def test_of_equal_terms_none_is_named():
    run = run_op("sum", np.ones(5, np.float32), dims=(0,), keepdim=False)
    assert suspicion(wrong(run, "y", (), lambda values: 4.0)) is None


def test_of_so_many_terms_that_one_fits_by_chance_none_is_named():
    values = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    run = run_op("sum", values, dims=(0,), keepdim=False)
    assert suspicion(wrong(run, "y", (), without(77))) is None
