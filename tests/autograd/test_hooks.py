"""Hooks of Tensors: called once per backward with the whole gradient, which they may replace."""

import copy
import importlib
import pickle

import numpy as np
import pytest

from minialex import Tensor, check, emulated, ops, optim
from minialex.autograd import DeferredGradient, graph
from minialex.autograd.graph import Node
from tests.autograd.leaves import close, leaf
from tests.campaigns import hooks as campaign

linear = importlib.import_module("minialex.ops.linear.blocked")


def watch(x, seen):
    return x.register_hook(lambda g: seen.append(np.array(g)))


def test_hooks_of_what_backward_begins_at():
    for make in (lambda x: x, lambda x: x * 1):
        x = leaf(1, 2)
        y = make(x)
        y.register_hook(lambda g: g * 2)
        y.backward(np.array([1.0, 3.0]))
        close(x.grad, [2, 6])


def test_each_is_called_as_soon_as_its_gradient_is_complete():
    order = []

    def note(name, x):
        x.register_hook(lambda g: order.append(name))
        return x

    a, b = note("a", leaf(1)), note("b", leaf(2))
    z = note("z", a * 2)
    note("w", z * b).sum().backward()
    assert order == ["w", "b", "z", "a"]


def test_a_hook_is_called_until_it_is_removed():
    x, seen = leaf(1), []
    first, second = watch(x, seen), watch(x, seen)
    first.remove()
    first.remove()
    with second as handle:
        assert handle is second
        x.sum().backward()
    x.sum().backward()
    assert len(seen) == 1
    once = x.register_hook(lambda g: once.remove())
    watch(x, seen)
    for calls in (2, 3):
        x.sum().backward()
        assert len(seen) == calls
    assert len(x.hooks) == 1


def test_a_hook_registered_or_removed_while_backward_runs():
    x, seen = leaf(1), []
    y = x * 2
    y.register_hook(lambda g: watch(x, seen) and None)
    y.sum().backward()
    assert len(seen) == 1
    x = home(leaf(1, 2))
    handle = watch(x, seen)
    a, b = x * 2, x * 3
    a.register_hook(lambda g: handle.remove())
    (a + b).sum().backward()
    close(x.grad, [5, 5])


def test_a_graph_that_is_kept_calls_them_again():
    x, seen = leaf(1), []
    y = x * 2
    y.retain_grad()
    watch(y, seen)
    z = y * 3
    z.backward(np.ones(1), retain_graph=True)
    z.backward(np.ones(1))
    assert len(seen) == 2
    close(y.grad, [6])


def test_what_requires_no_gradient_takes_no_hook():
    with pytest.raises(RuntimeError, match="register_hook: this Tensor requires no gradient"):
        Tensor([1.0]).register_hook(print)
    with pytest.raises(RuntimeError, match="retain_grad: this Tensor requires no gradient"):
        Tensor([1.0]).retain_grad()
    with pytest.raises(TypeError, match="a hook is a function, not list"):
        leaf(1).register_hook([])


@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        (lambda g: g[:1], ValueError, r"must have the shape \(2,\), not \(1,\)"),
        (lambda g: g.astype(np.float32), TypeError, "must be float64, not float32: convert it"),
        (lambda g: 3, TypeError, "must be a numpy array, not int"),
        (Tensor, TypeError, "must be a numpy array, not Tensor"),
    ],
    ids=["shape", "type", "number", "Tensor"],
)
def test_what_is_no_gradient_is_refused(returned, error, words):
    def clip(g):
        return returned(g)

    for make in (lambda x: x, lambda x: x * 1):
        x = leaf(1, 2)
        y = make(x)
        y.register_hook(clip)
        with pytest.raises(error, match=f"what the hook clip returned {words}"):
            (y * 2).sum().backward()


def test_a_hook_does_not_write_to_its_argument():
    a, b = leaf(1, 2), leaf(3, 4)

    def double(g):
        g *= 2

    a.register_hook(double)
    with pytest.raises(ValueError, match="read-only"):
        (a + b).backward(np.ones(2))


def test_of_no_axes():
    x = Tensor(np.float32(3), requires_grad=True)
    x.register_hook(lambda g: g * 2)
    (x * x).backward()
    assert x.grad == 12
    assert x.grad.dtype == np.float32
    (x * x).backward()
    assert x.grad == 24


# Where an optimizer holds the gradient ------------------------------------------------------------


def home(x):
    x.grad_buffer = np.full(x.shape, np.nan, x.dtype)
    return x


def test_what_is_written_directly_to_a_buffer_is_seen_and_replaced(make_op):
    offers = []

    def back(gy, saved, *, out):
        offers.append(out[0])
        if out[0] is None:
            return (gy * 2,)
        np.multiply(gy, 2, out=out[0])
        return (out[0],)

    double = make_op("double", lambda x: (x * 2, ()), back)
    x, seen = home(leaf(1, 2)), []
    with watch(x, seen), x.register_hook(lambda g: g * 10):
        (double(x) + double(x) * x).sum().backward()
    close(seen, [[2 + 4 * 1, 2 + 4 * 2]])
    close(x.grad, [60, 100])
    assert x.grad is x.grad_buffer
    assert offers == [None, None]
    x.grad = None
    double(x).sum().backward()
    assert offers[-1] is x.grad_buffer


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam"])
@pytest.mark.parametrize("emulate", [False, True], ids=["", "emulated"])
def test_the_replacement_is_what_is_stepped_with(monkeypatch, name, emulate):
    """As if it were assigned to `grad` before the step; deferred where there is no hook."""
    monkeypatch.setattr(linear, "_worth_deferring", lambda xp, gy, x: True)
    x, gy = (np.arange(n, dtype=np.float32).reshape(2, -1) for n in (6, 8))

    def stepped(hooked):
        w = Tensor(np.ones((4, 3), np.float32), requires_grad=True)
        optimizer = getattr(optim, name)([("w", w)], lr=0.1)
        seen = []
        if hooked:
            w.register_hook(lambda g: seen.append(g) or np.clip(g, -1, 20))
        for _ in range(2):
            optimizer.zero_grad()
            ops.linear(Tensor(x), w).backward(gy)
            if hooked:
                assert w.deferred_grad is None
            else:
                assert emulate or isinstance(w.deferred_grad, DeferredGradient)
                w.grad = np.clip(w.grad, -1, 20)
            optimizer.step()
        if hooked:
            close(seen, [gy.T @ x] * 2)
        return w.data

    def run():
        np.testing.assert_array_equal(stepped(True), stepped(False))

    if emulate:
        with emulated():
            run()
    else:
        run()


def test_a_gradient_that_is_deferred_already_is_added_to(monkeypatch):
    monkeypatch.setattr(linear, "_worth_deferring", lambda xp, gy, x: True)
    w, seen = home(leaf(*np.ones((4, 3)))), []
    x, gy = np.ones((2, 3)), np.ones((2, 4))
    ops.linear(Tensor(x), w).backward(gy)
    assert w.deferred_grad is not None
    watch(w, seen)
    ops.linear(Tensor(x), w).backward(gy)
    close(seen, [np.full((4, 3), 2)])
    close(w.grad, np.full((4, 3), 4))


# Elsewhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_they_are_left_out_of_copies(copied):
    x = leaf(1, 2)
    x.register_hook(lambda g: g * 2)
    y = copied(x)
    y.sum().backward()
    close(y.grad, [1, 1])


def test_a_leaf_that_no_gradient_reaches_has_none(make_op):
    stop = make_op("stop", lambda x: (x * 1, ()), lambda gy, saved: (None,))
    x, seen = leaf(1), []
    watch(x, seen)
    stop(x).backward(np.ones(1))
    assert (seen, x.grad) == ([], None)


def test_gradcheck_runs_them():
    x, seen = leaf(1, 2), []
    watch(x, seen)
    assert check.gradcheck(lambda x: x * x, x)
    assert seen
    x.register_hook(lambda g: g * 2)
    assert not check.gradcheck(lambda x: x * x, x, raise_exception=False)


@pytest.mark.torch
def test_they_are_called_as_pytorch_calls_them(torch):

    def told(tensor, values):
        """Return everything that hooks see of a graph with shared leaves and results."""
        seen = []
        leaves = [tensor(v) for v in values]

        def note(name, factor=None):
            def hook(g):
                seen.append((name, np.asarray(g).tolist()))
                return None if factor is None else g * factor

            return hook

        a, b, c = leaves
        for name, t in (("a", a), ("b", b), ("c", c)):
            t.register_hook(note(name, 3))
            t.register_hook(note(name + " again"))
        for _ in range(2):
            y = a * b
            z = y * a + c
            y.retain_grad()
            y.register_hook(note("y", -2))
            z.register_hook(note("z", 0.5))
            (z * y + c * a).sum().backward()
            seen.append(("retained", np.asarray(y.grad).tolist()))
        return seen, [np.asarray(t.grad).tolist() for t in leaves]

    values = [[1.0, -2.0], [3.0, 0.5], [4.0, 8.0]]
    ours = told(lambda v: leaf(*v), values)
    theirs = told(lambda v: torch.tensor(v, dtype=torch.float64, requires_grad=True), values)
    # which of several leaves is first, where they are complete after the same op, is open
    for one in (ours, theirs):
        one[0].sort()
    assert ours == theirs


def offered_despite_hooks(node, i, waiting):
    edge = node.edges[i]
    return None if edge is None or isinstance(edge, Node) else edge.grad_buffer


def without_replacements(hooks, g):
    for hook in hooks:
        hook(g)
    return g


@pytest.mark.parametrize(
    ("where", "name", "broken"),
    [
        (Node, "_unused_buffer", offered_despite_hooks),
        (graph, "after_hooks", without_replacements),
        (graph, "_complete_after", lambda nodes: {nodes[-1]: []}),
    ],
    ids=["the buffer is offered", "replacements are lost", "leaves are never complete"],
)
def test_the_campaign_sees_what_is_broken_on_purpose(monkeypatch, where, name, broken):
    monkeypatch.setattr(where, name, broken)
    assert len(campaign.attempt(range(20), None)) > 5
