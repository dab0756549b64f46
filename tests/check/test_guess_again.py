"""Guesses that run a backward again, or take further differences: they are right or silent."""

import numpy as np
import pytest

from minialex.autograd import Implementation, Op
from minialex.check import guess
from tests.check.reports import FAIL, report_of, tensor
from tests.check.test_guess import NONE, changed


def linear(x, w):
    return x @ w.T, (x, w)


def linear_back(gy, saved):
    return gy @ saved[1], gy.T @ saved[0]


def planted(forward, backward, *shapes, dtype=np.float64):
    """Return what each guess says of the gradients of an op that are wrong, by argument."""
    op = Op("planted", {"plain": Implementation(forward, backward)})
    seen = {}

    def note(clues):
        k = clues.evidence.k
        # not what is found of the op as a node, whose inputs have other names
        if clues.evidence.problem.name(k).startswith("input"):
            seen.setdefault(k, clues)
        return ""

    inputs = [tensor(*shape, dtype=dtype, seed=i) for i, shape in enumerate(shapes)]
    known = list(guess.GUESSES)
    guess.GUESSES.insert(0, note)
    try:
        report = report_of(op, *inputs)
    finally:
        guess.GUESSES.remove(note)
    assert report.verdict is FAIL
    said = {k: [g(clues) for g in known if g(clues)] for k, clues in seen.items()}
    lines = [line for f in report.findings for line in f.detail if "first guess" in line]
    assert lines == [f"first guess: {texts[0] if texts else NONE}" for texts in said.values()]
    return said


SUM = "it is not linear in gy: for a + b it is not the sum of those for a and b"
TWICE = "it is not linear in gy: for 2 gy it is not twice as large"
NARROW = "as if computed in float32: a cast, or an array of that type, on the way?"


def other(name):
    return f"it is the gradient of {name}: are two of them in the wrong order?"


def row(which, rows):
    alone = f"it is what the {which} of {rows} rows of the output gives alone"
    return f"{alone}: is a sum over rows missing?"


def cosine_in_float32(x):
    return np.sin(x), (np.cos(x.astype(np.float32)),)


def trembling(gy, saved):
    noise = np.random.default_rng(0).standard_normal(gy.shape)
    return ((gy * np.cos(saved[0]) * (1 + 1e-7 * noise)).astype(gy.dtype),)


def difference_inside(gy, saved):
    (x,) = saved
    return (gy * ((np.sin(x + 1e-8) - np.sin(x)) / 1e-8),)


def sine(x):
    return np.sin(x), (x,)


@pytest.mark.parametrize(("forward", "backward", "shapes", "said"), [
    (lambda a, b: (a * b, (a, b)), lambda gy, s: (gy * s[0], gy * s[1]), [(3, 4), (3, 4)],
     {0: [other("input 1")], 1: [other("input 0")]}),
    (lambda a, b: (a * b.T, (a, b)), lambda gy, s: (gy * s[1].T, (gy * s[1].T)), [(4, 4), (4, 4)],
     {1: [other("input 0")]}),
    (lambda x, b: (1.5 * x + b, ()), lambda gy, s: (1.5 * gy, gy[0]), [(4, 5), (5,)],
     {1: [row("first", 4)]}),
    (linear, lambda gy, s: (gy @ s[1], gy[-1:].T @ s[0][-1:]), [(4, 5), (3, 5)],
     {1: [row("last", 4)]}),
    (cosine_in_float32, lambda gy, s: (gy * s[0],), [(4, 5)], {0: [NARROW]}),
    (linear, lambda gy, s: ((gy.astype("f4") @ s[1].astype("f4")).astype(gy.dtype), gy.T @ s[0]),
     [(4, 5), (3, 5)], {0: [NARROW]}),
    (sine, lambda gy, s: (np.abs(gy) * np.cos(s[0]),), [(4, 5)], {0: [SUM]}),
    (lambda x: (np.maximum(x, 0), ()), lambda gy, s: (gy * (gy > 0),), [(4, 5)], {0: [SUM]}),
    (sine, lambda gy, s: (gy * gy * np.cos(s[0]),), [(4, 5)], {0: [TWICE]}),
    (linear, lambda gy, s: (gy @ s[1], np.cbrt(gy.T @ s[0])), [(4, 5), (3, 5)], {1: [TWICE]}),
    # what looks like one of these, and is none
    (sine, trembling, [(4, 5)], {0: []}),
    (sine, difference_inside, [(4, 5)], {0: []}),
    (sine, lambda gy, s: (gy * (np.cos(s[0]) + 1e-3 * np.sin(9 * s[0])),), [(4, 5)], {0: []}),
    (linear, lambda gy, s: (gy @ s[1], gy[1:3].T @ s[0][1:3]), [(4, 5), (3, 5)], {1: []}),
    (lambda a, b: (a * b, (a, b)), lambda gy, s: (gy * s[1], gy * (s[0] + 1e-3 * s[0] * s[1])),
     [(3, 4), (3, 4)], {1: []}),
])  # fmt: skip
def test_the_guess_that_is_right_speaks_and_no_other(forward, backward, shapes, said):
    assert planted(forward, backward, *shapes) == said


@pytest.mark.parametrize(("backward", "part"), [
    (lambda gy, s: (np.zeros_like(gy @ s[1]), gy.T @ s[0]), "zero everywhere"),
    (lambda gy, s: (-gy @ s[1], gy.T @ s[0]), "the sign"),
    (lambda gy, s: (gy @ s[1] * (1 + 2e-5), gy.T @ s[0]), "not exact"),
    (lambda gy, s: (np.flip(gy @ s[1]), gy.T @ s[0]), "flipped"),
    (lambda gy, s: (changed(gy @ s[1], (1, 1)), gy.T @ s[0]), "one element"),
    (lambda gy, s: (changed(gy @ s[1], *((3, i) for i in range(5))), gy.T @ s[0]), "the last of"),
])  # fmt: skip
def test_those_that_run_more_do_not_speak_of_what_others_know(backward, part):
    ((text, *others),) = planted(linear, backward, (4, 5), (3, 5)).values()
    assert part in text
    # a number that is added, whatever gy is, is not linear in it either
    assert set(others) <= {TWICE}
    assert not others or "changed" in backward.__code__.co_names


@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_a_factor_is_linear_however_few_elements_there_are(factor, shape):
    said = planted(sine, lambda gy, s: (np.asarray(factor * gy * np.cos(s[0])),), shape)
    assert not any("linear" in text for text in said[0])


def test_in_float32_it_is_no_guess_that_it_is_computed_in_float32():
    said = planted(
        lambda x: (np.sin(x), (x, np.float32(1.01 if x.dtype == np.float32 else 1.0))),
        lambda gy, s: (gy * np.cos(s[0]) * s[1].astype(gy.dtype),),
        (4, 5),
        dtype=np.float32,
    )
    assert said == {
        0: ["a factor is missing or one too many: every element is 1.01 times too large"]
    }
