"""The contract between ops and engine: every way to break it is noticed."""

import numpy as np
import pytest

from minialex.autograd import OPS, Implementation, Op
from minialex.check import Pair, violations
from minialex.check.case import scattered, shifted
from minialex.check.cases import CASES
from tests.check import formulas
from tests.check.zoo import off_the_lists


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4, 5), (1,), ()])
def test_scattered_arrays_are_equal_but_not_contiguous(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    (y,) = scattered((x,))
    assert np.array_equal(x, y)
    assert x.size < 2 or not (y.flags.c_contiguous or y.flags.f_contiguous)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4, 5), (1,), ()])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_shifted_arrays_are_equal_and_contiguous_but_no_vector_begins_there(shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    (y,) = shifted((x,))
    assert np.array_equal(x, y)
    assert y.flags.c_contiguous
    assert y.ctypes.data % 16 == x.itemsize


def broken_contract(op, backward, forward=None):
    """Return what is broken by an op whose backward is called as it stands."""
    whole, cost = OPS[op].implementations["plain"], OPS[op].cost
    both = Implementation(forward or whole.forward, backward)
    with off_the_lists(op):
        broken = Op(op, {"plain": both}, cost)
    pair = Pair(broken, "plain", "plain", np.dtype(np.float64))
    case = next(c for c in CASES[op] if c.name in ("small", "31", "same shape", "mean"))
    return violations(pair, case)


def test_nothing_is_wrong_with_what_is_right():
    assert broken_contract("linear", OPS["linear"].implementations["plain"].backward) == []


def test_an_input_that_is_written_to():
    def forward(x):
        x *= 1
        x[0] += 1
        return np.exp(x), (x, np.exp(x))

    found = broken_contract("exp", formulas.right("exp"), forward)
    assert found == ["forward wrote to input 0, which is not its own: compute into a new array"]


def test_a_cotangent_that_is_written_to():
    def back(gy, saved):
        gy *= saved[1]
        return (gy,)

    line = "backward wrote to gy, which is not its own: compute into a new array"
    assert broken_contract("exp", back) == [line]


def test_saved_arrays_that_are_written_to():
    def back(gy, saved):
        np.multiply(gy, saved[1], out=saved[1])
        return (saved[1].copy(),)

    found = broken_contract("exp", back)
    assert any("what was saved" in line for line in found)


def test_a_gradient_of_another_type():
    found = broken_contract("exp", lambda gy, saved: ((gy * saved[1]).astype(np.float32),))
    assert any("float32" in line and "gradient of input 0" in line for line in found)


def test_a_gradient_of_another_shape():
    found = broken_contract("exp", lambda gy, saved: ((gy * saved[1])[None],))
    assert any("(1, 31)" in line for line in found)


def test_a_list_of_gradients():
    assert any("a tuple" in line for line in broken_contract("exp", lambda gy, s: [gy * s[1]]))


def test_a_gradient_that_is_missing():
    found = broken_contract("add", lambda gy, saved: (gy, None))
    assert "backward returned None for input 1" in found


def test_an_output_of_another_type():
    def forward(x):
        return np.exp(x).astype(np.float32), (x, np.exp(x))

    assert any("float32" in line for line in broken_contract("exp", formulas.right("exp"), forward))


@pytest.mark.parametrize(
    ("spoil", "saved", "words"),
    [(1, (), None), (1.001, (), "the output differs"), (1, (np.ones(3),), "1 were saved")],
)
def test_a_forward_that_keeps_nothing(spoil, saved, words):
    def forward(x, *, keep=True):
        y = np.exp(x)
        return (y, (x, y)) if keep else (y * spoil, saved)

    found = broken_contract("exp", formulas.right("exp"), forward)
    assert [words] == [words for line in found if words in line] if words else found == []


def add_back(spoil):
    def back(gy, saved, *, needs, out):
        return tuple(spoil(i, gy, n, o) for i, (n, o) in enumerate(zip(needs, out, strict=True)))

    return back


def honest(i, gy, wanted, place):
    if not wanted:
        return None
    if place is None:
        return gy.copy()
    place[...] = gy
    return place


def test_an_honest_use_of_needs_and_out():
    assert broken_contract("add", add_back(honest)) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda i, gy, n, o: honest(i, gy, True, o), "came too"),
        (lambda i, gy, n, o: honest(i, gy, n and i == 0, o), "returned None for input 1"),
        (lambda i, gy, n, o: honest(i, gy, n, None), "is not the array that `out` gave"),
        (
            lambda i, gy, n, o: o if o is not None else honest(i, gy, n, o),
            "other bits than without",
        ),
        (
            lambda i, gy, n, o: honest(i, gy if o is None else np.nextafter(gy, 9), n, o),
            "other bits than without",
        ),
    ],
)
def test_dishonest_uses_of_needs_and_out(spoil, words):
    found = broken_contract("add", add_back(spoil))
    assert any(words in line for line in found), found


def test_a_gradient_that_is_left_out_where_it_alone_is_needed():
    def back(gy, saved, *, needs):
        return tuple(gy if need and all(needs) else None for need in needs)

    assert broken_contract("add", back) == [
        f"the gradient of input {k}, where that of input {k} is needed, is None" for k in (0, 1)
    ]


@pytest.mark.parametrize("wanted", [1, 2])
def test_a_gradient_that_has_other_bits_where_fewer_are_needed(wanted):
    honest_backward = OPS["linear"].implementations["plain"].backward

    def back(gy, saved, *, needs):
        grads = honest_backward(gy, saved, needs=needs)
        if sum(needs) != wanted:
            return grads
        return tuple(None if g is None else np.nextafter(g, 9) for g in grads)

    found = broken_contract("linear", back)
    assert len(found) == 3 * wanted, found
    assert all("has other bits than where all are" in line for line in found)


@pytest.mark.parametrize(
    ("forward", "line"),
    [
        (lambda x: (np.exp(x), [x, np.exp(x)]), "saved is a list, it must be a tuple"),
        (
            lambda x: (np.exp(x).tolist(), (x, np.exp(x))),
            "the output is a list, it must be an array of its device",
        ),
        (
            lambda x: (np.exp(x)[None], (x, np.exp(x))),
            "the output is (1, 31) float64, not (31,) float64",
        ),
    ],
)
def test_what_forward_owes(forward, line):
    assert broken_contract("exp", formulas.right("exp"), forward) == [line]


def test_a_backward_that_writes_to_the_output_and_to_what_is_saved():
    def back(gy, saved):
        saved[1][...] *= 2
        return (gy * saved[1] / 2,)

    def forward(x):
        y = np.exp(x)
        return y, (x, y)

    found = broken_contract("exp", back, forward)
    assert found == [
        "backward wrote to the output, which is not its own: compute into a new array",
        "backward wrote to what was saved, so that it cannot run twice",
    ]


def test_what_a_backward_gives_when_it_runs_again():
    runs = []

    def back(gy, saved):
        runs.append(0)
        return (gy * saved[1] if len(runs) == 1 else np.nextafter(gy * saved[1], 9),)

    line = "backward, run twice, gives the gradient of input 0 other bits"
    assert broken_contract("exp", back) == [line]


@pytest.mark.parametrize("what", ["forward", "backward"])
def test_what_raises_is_told(what):
    def refuse(*args):
        raise IndexError("index 7 is out of bounds")

    whole = OPS["exp"].implementations["plain"]
    functions = {"forward": whole.forward, "backward": whole.backward, what: refuse}
    found = broken_contract("exp", functions["backward"], functions["forward"])
    assert found == [f"{what} raised IndexError: index 7 is out of bounds"]


def test_what_an_op_runs_on_is_not_the_ops_fault():
    def refuse(gy, saved):
        raise MemoryError

    with pytest.raises(MemoryError):
        broken_contract("exp", refuse)


def test_a_gradient_of_an_input_that_has_none_and_one_too_many():
    def back(gy, saved, **params):
        return *formulas.right("cross_entropy")(gy, saved, **params)[:2], gy * 2

    found = broken_contract("cross_entropy", back)
    assert "backward returned a gradient for input 2, which has none" in found
    found = broken_contract("exp", lambda gy, saved: (gy * saved[1], None))
    assert found[0].startswith("backward must return a tuple of 1 gradients, not (array([")


@pytest.mark.parametrize("end", [-1, 1])
def test_a_gradient_that_is_written_beyond_its_end(end):
    def back(gy, saved, *, out):
        (place,) = out
        if place is None:
            return (gy * saved[1],)
        np.multiply(gy, saved[1], out=place)
        base = place.base
        base[0 if end < 0 else -1] = 0
        return (place,)

    found = broken_contract("exp", back)
    assert found == ["the gradient of input 0 was written beyond the end of `out`"]
