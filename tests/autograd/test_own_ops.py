"""Ops that people write themselves: short, checked, and wrong ones named."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops, using
from minialex.autograd import OPS, ROUTINES, Cost, Implementation, Op, record_calls
from minialex.check import gradcheck
from tests.autograd.leaves import leaf


def forward(x):
    return np.logaddexp(0, x), (x,)


def backward(gy, saved):
    (x,) = saved
    return (gy / (1 + np.exp(-x)),)


def test_the_shortest_own_op():
    softplus = Op("softplus", {"plain": Implementation(forward, backward)})
    x = leaf(*np.linspace(-3, 3, 7))
    assert gradcheck(softplus, x)
    assert OPS["softplus"] is softplus
    y = softplus(np.zeros(2, np.float32))
    np.testing.assert_allclose(y.data, np.log(2), rtol=1e-6)
    wrong = Op("off", {"plain": Implementation(forward, lambda gy, saved: (gy * 1.01,))})
    assert not gradcheck(wrong, x, raise_exception=False)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_op_of_unknown_cost_that_adds_up_much_is_checked(dtype):
    product = Op(
        "product",
        {
            "plain": Implementation(
                lambda a, b: (a @ b, (a, b)), lambda gy, s: (gy @ s[1].T, s[0].T @ gy)
            )
        },
    )
    rng = np.random.default_rng(0)
    a, b = (
        Tensor(rng.standard_normal(s).astype(dtype), requires_grad=True)
        for s in ((8, 1000), (1000, 4))
    )
    assert gradcheck(product, (a, b))


def test_a_summary_asks_for_the_cost():
    op = Op("softplus", {"plain": Implementation(forward, backward)})
    with record_calls() as calls:
        op(leaf(1))
    with pytest.raises(ValueError, match=r"op 'softplus' has no cost: give it one, Op"):
        calls[0].cost()
    known = Op("softplus", dict(op.implementations), lambda shapes: Cost(4, 16))
    with record_calls() as calls:
        known(leaf(1))
    assert calls[0].cost() == Cost(4, 16)


# What is wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda x: x * 2, "not ndarray"),
        (lambda x: (x * 2,), r"not a tuple of 1: \(ndarray\)"),
        (lambda x: (x * 2, x), r"not a tuple of 2: \(ndarray, ndarray\)"),
        (lambda x: (x * 2, x, x), "not a tuple of 3"),
        (lambda x: None, "not NoneType"),
    ],
)
def test_a_forward_that_does_not_say_what_it_saves(make_op, returned, words):
    """Of two rows, an array alone would be taken apart without a word."""
    op = make_op("twice", returned, backward)
    with pytest.raises(TypeError, match=rf"^the forward of twice must .*{words}"):
        op(leaf(1, 2))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda gy, saved: gy, "not ndarray"),
        (lambda gy, saved: (gy, gy), "not a tuple of 2"),
        (lambda gy, saved: None, "not NoneType"),
        (lambda gy, saved: [gy], "not list"),
    ],
)
def test_a_backward_that_does_not_return_a_gradient_per_input(make_op, returned, words):
    op = make_op("twice", lambda x: (x * 2, ()), returned)
    for x in (leaf(1, 2), leaf([1])):
        y = op(x).sum()
        with pytest.raises(RuntimeError, match=f"^the backward of twice must .*{words}"):
            y.backward()


def test_a_name_that_is_taken_is_refused():
    there = OPS["relu"]
    with pytest.raises(
        ValueError, match=r"op 'relu' already, of minialex\.ops\.relu.*: give this one another name"
    ):
        Op("relu", {"plain": Implementation(forward, backward)})
    with pytest.raises(ValueError, match=r"op 'rmsprop' already, of minialex.optim"):
        Op("rmsprop", {"plain": Implementation(forward, backward)})
    assert OPS["relu"] is ROUTINES["relu"] is there
    assert ops.relu(Tensor([-1.0])).item() == 0


def test_a_cell_can_be_run_again():
    for _ in range(2):
        op = Op("softplus", {"plain": Implementation(forward, backward)})
    assert OPS["softplus"] is ROUTINES["softplus"] is op


def test_another_implementation_of_an_op_that_is_there(monkeypatch):
    mine = Implementation(lambda x: (x * 7, ()), lambda gy, saved: (gy * 7,))
    monkeypatch.setitem(OPS["relu"].implementations, "mine", mine)
    with using(relu="mine"):
        assert nn.ReLU()(Tensor([-1.0])).item() == -7
    assert nn.ReLU()(Tensor([-1.0])).item() == 0
