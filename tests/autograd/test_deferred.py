"""Gradients that are computed when they are used: whole when read, else in rows."""

import importlib

import numpy as np
import pytest

from minialex import Tensor, emulated, ops, optim, using
from minialex.autograd import DeferredGradient
from minialex.optim import blocked
from tests.autograd.leaves import close

# the package's attribute of this name is the function
linear = importlib.import_module("minialex.ops.linear.blocked")

X = np.arange(6.0).reshape(2, 3) - 2
GY = np.arange(8.0).reshape(2, 4)
RULES = {
    "RMSprop": {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1},
    "SGD": {"lr": 0.01, "momentum": 0.9},
    "Adam": {"lr": 0.01},
}


@pytest.fixture(autouse=True)
def deferring(monkeypatch):
    """Have linear defer the gradient of its weights, however small they are."""
    monkeypatch.setattr(linear, "_worth_deferring", lambda xp, gy, x: True)


def homed(shape=(4, 3)):
    w = Tensor(np.ones(shape), requires_grad=True)
    w.grad_buffer = np.full(shape, np.nan)
    return w


def backward(w, x=X, gy=GY):
    ops.linear(Tensor(x), w).backward(gy)


def test_it_waits_until_it_is_read():
    w = homed()
    backward(w)
    assert w.deferred_grad.shape == w.shape
    assert np.isnan(w.grad_buffer).all()
    close(w.grad, GY.T @ X)
    assert w.grad is w.grad_buffer
    assert w.deferred_grad is None


def test_the_optimizers_memory_assigned_as_gradient_holds_it():
    w = homed()
    backward(w)
    w.grad = w.grad_buffer
    close(w.grad, GY.T @ X)


def test_some_rows_are_the_rows_of_the_whole():
    w = homed()
    backward(w)
    some = np.empty((2, 3))
    w.deferred_grad.compute_rows(slice(1, 3), some)
    close(some, (GY.T @ X)[1:3])
    assert w.deferred_grad is not None


def test_what_it_is_made_of_may_change_before_it_is_made():
    w, x, gy = homed(), X.copy(), GY.copy()
    backward(w, x, gy)
    x.fill(7)
    gy.fill(7)
    close(w.grad, GY.T @ X)


def test_it_adds_up_with_a_second_backward():
    w = homed()
    backward(w)
    backward(w, X + 1)
    assert w.deferred_grad is None
    close(w.grad, GY.T @ (2 * X + 1))


def test_it_adds_up_where_weights_are_used_twice():
    w = homed((3, 3))
    x = Tensor(X)
    ops.linear(ops.linear(x, w), w).sum().backward()
    plain = Tensor(w.data.copy(), requires_grad=True)
    ops.linear(ops.linear(x, plain), plain).sum().backward()
    close(w.grad, plain.grad)


def test_it_is_forgotten_with_the_gradient():
    w = homed()
    backward(w)
    w.grad = None
    assert w.deferred_grad is None
    assert w.grad is None
    backward(w, X + 1)
    close(w.grad, GY.T @ (X + 1))


def test_without_an_optimizer_nothing_is_deferred():
    w = Tensor(np.ones((4, 3)), requires_grad=True)
    backward(w)
    assert w.deferred_grad is None
    close(w.grad, GY.T @ X)


def test_only_what_is_far_larger_than_its_factors_is_deferred(monkeypatch):
    monkeypatch.undo()
    rng = np.random.default_rng(0)
    for rows, waits in ((2, True), (32, False)):
        w = homed((90, 80))
        backward(w, rng.standard_normal((rows, 80)), rng.standard_normal((rows, 90)))
        assert (w.deferred_grad is not None) is waits


def trained(name, steps=4):
    """Return the parameters and the state after some steps of a small network."""
    rng = np.random.default_rng(1)
    shapes = [(7, 5), (7,), (300, 7), (300,), (2, 300)]
    a, b, c, d, e = params = [
        Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes
    ]
    optimizer = getattr(optim, name)(params, **RULES[name])
    waited = []
    for _ in range(steps):
        optimizer.zero_grad()
        hidden = ops.relu(ops.linear(Tensor(rng.standard_normal((3, 5))), a, b))
        ops.linear(ops.relu(ops.linear(hidden, c, d)), e).sum().backward()
        waited.append([p.deferred_grad is not None for p in params])
        optimizer.step()
    return waited, [p.data for p in params] + list(optimizer.arena.state.values())


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("block", "rows", "number"), [(80, 320, 1), (1 << 20, 8, 2), (128, 400, 3)]
)
def test_an_optimizer_takes_it_in_rows(monkeypatch, cores, name, block, rows, number):
    cores(number)
    with monkeypatch.context() as patch:
        patch.setattr(linear, "_worth_deferring", lambda xp, gy, x: False)
        waited, expected = trained(name)
        assert not np.any(waited)
    monkeypatch.setattr(blocked, "BLOCK_BYTES", block)
    monkeypatch.setattr(blocked, "DEFERRED_BYTES", rows)
    waited, got = trained(name)
    assert waited[0] == [True, False, True, False, True]
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-12)


@pytest.mark.equal_bits
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("rows", "shape"), [(32, (1000, 777)), (32, (301, 1290)), (3, (70, 129)), (1, (150, 150))]
)
def test_to_look_at_it_changes_no_bit_of_a_step(cores, number, rows, shape):
    cores(number)
    rng = np.random.default_rng(0)
    gy, x = (rng.standard_normal((rows, n), np.float32) for n in shape)

    def stepped(look):
        w = Tensor(np.ones(shape, np.float32), requires_grad=True)
        optimizer = optim.SGD([w], lr=1)
        backward(w, x, gy)
        assert w.deferred_grad is not None
        if look:
            assert w.grad is w.grad_buffer
        optimizer.step()
        return w.data

    np.testing.assert_array_equal(stepped(True), stepped(False))


def test_a_kernel_gets_it_computed():
    with using(rmsprop="kernel", linear="blocked"), emulated():
        waited, got = trained("RMSprop", steps=2)
    assert waited[0][2]
    for g, e in zip(got, trained("RMSprop", steps=2)[1], strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-12)


def doubled(gy):
    return DeferredGradient(gy.shape, gy.dtype, lambda rows, out: np.multiply(gy[rows], 2, out=out))


def test_an_op_defers_only_where_it_may(make_op):
    offers = []

    def back(gy, saved, *, may_defer):
        offers.append(list(may_defer))
        return doubled(gy) if may_defer[0] else gy * 2, None

    op = make_op("double", lambda a, b: (a * 2, ()), back)
    w, x = homed(), Tensor(np.ones((4, 3)), requires_grad=True)
    for _ in range(2):
        op(w, x).sum().backward()
    close(w.grad, np.full((4, 3), 4.0))
    op(x, w).sum().backward()
    assert offers == [[True, False], [False, False], [False, False]]


def test_to_defer_where_it_is_not_allowed_is_refused(make_op):
    op = make_op("double", lambda a: (a * 2, ()), lambda gy, saved: (doubled(gy),))
    op(homed()).sum().backward()
    for x in Tensor(np.ones((4, 3)), requires_grad=True), homed() * 1.0:
        with pytest.raises(RuntimeError, match="double deferred the gradient for input 0, which"):
            op(x).sum().backward()


def test_a_deferred_gradient_of_another_shape_is_refused(make_op):
    op = make_op("double", lambda a: (a * 2, ()), lambda gy, saved: (doubled(gy[1:]),))
    with pytest.raises(RuntimeError, match=r"gradient of shape \(3, 3\) for input 0"):
        op(homed()).sum().backward()
