"""What is recorded, what is kept, and when it is freed."""

import gc
import threading
import weakref

import numpy as np
import pytest

from minialex import Tensor, no_grad
from tests.autograd.leaves import close, leaf, number

# Freeing ----------------------------------------------------------------------------------------


def test_second_backward_teaches():
    x = number(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="backward\\(retain_graph=True\\) the first time"):
        y.backward()
    close(x.grad, 4)


def test_second_backward_through_a_shared_part_teaches():
    x = number(2.0)
    a = x * x
    (a * 2).backward()
    with pytest.raises(RuntimeError, match="saved arrays were freed"):
        (a * 3).backward()


def test_retain_graph_runs_again():
    x = number(2.0)
    y = x * x * x
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    close(x.grad, 3 * 12)
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


def watched():
    """Return an array that can be watched going, and the watch."""
    array = np.ones(1000).view(Watched)
    return array, weakref.ref(array)


class Watched(np.ndarray):
    """An array that weak references can point to."""


def test_saved_arrays_are_freed_by_backward():
    x = Tensor(np.ones(1000), requires_grad=True)
    array, watch = watched()
    y = (x * Tensor(array)).sum()
    del array
    gc.disable()
    try:
        assert watch() is not None
        y.backward()
        assert watch() is None
    finally:
        gc.enable()


def test_saved_arrays_are_freed_with_the_output():
    """No cycle: what is no longer referred to goes at once, without the garbage collector."""
    x = Tensor(np.ones(1000), requires_grad=True)
    array, watch = watched()
    y = (x * Tensor(array)).exp().sum()
    del array
    gc.disable()
    try:
        del y
        assert watch() is None
    finally:
        gc.enable()


def test_saved_arrays_are_freed_during_backward(make_op):
    """When the first op is asked for its gradient, what the last one saved is gone."""
    array, watch = watched()
    seen = []

    def first_back(gy, saved):
        seen.append(watch())
        return (gy,)

    first = make_op("first", lambda x: (x * 1, ()), first_back)
    last = make_op("last", lambda x, kept: (x * 2, (kept,)), lambda gy, saved: (gy * 2, None))
    x = Tensor(np.ones(1000), requires_grad=True)
    y = last(first(x), Tensor(array))
    del array
    y.backward(np.ones(1000))
    assert seen == [None]


def test_gradients_of_inner_tensors_are_freed_during_backward(make_op):
    watches, alive = [], []

    def back(gy, saved):
        alive.append(sum(w() is not None for w in watches))
        gx = (gy * 1).view(Watched)
        watches.append(weakref.ref(gx))
        return (gx,)

    step = make_op("step", lambda x: (x * 1, ()), back)
    x = Tensor(np.ones(1000), requires_grad=True)
    y = x
    for _ in range(6):
        y = step(y)
    y.backward(np.ones(1000))
    # the one that is being used, never those before it
    assert max(alive) == 1


def test_arrays_that_no_backward_needs_are_not_kept():
    """Add saves shapes only: its operands go as soon as nothing else has them."""
    x = Tensor(np.ones(1000), requires_grad=True)
    array, watch = watched()
    y = x + Tensor(array)
    del array
    assert watch() is None
    y.sum().backward()


def test_ten_thousand_nodes_do_not_recurse():
    x = number(0.0)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.backward()
    assert (y.item(), x.grad.item()) == (10_000, 1)


def test_a_long_graph_can_be_dropped_without_backward():
    y = number(0.0)
    for _ in range(10_000):
        y = y + 1
    watch = weakref.ref(y)
    del y
    assert watch() is None


# What is recorded -------------------------------------------------------------------------------


def test_no_grad_records_nothing():
    x = leaf(1.0)
    with no_grad():
        y = x * 2
    assert (y.requires_grad, y.node) == (False, None)


def test_forward_knows_whether_a_backward_may_follow(make_op):
    told = []

    def forward(x, *, keep):
        told.append(keep)
        return x * 2, ()

    twice = make_op("twice", forward, lambda gy, saved: (gy * 2,))
    twice(leaf(1.0))
    twice(Tensor(1.0))
    with no_grad():
        twice(leaf(1.0))
    assert told == [True, False, False]


def test_no_grad_decorates():
    @no_grad()
    def double(x):
        return x * 2

    x = leaf(1.0)
    assert not double(x).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_ends_when_an_error_leaves_it():
    x = leaf(1.0)
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert (x * 2).requires_grad


def test_no_grad_nests():
    x = leaf(1.0)
    with no_grad():
        with no_grad():
            pass
        assert not (x * 2).requires_grad


def test_no_grad_holds_for_its_own_thread():
    x, recorded = leaf(1.0), []
    with no_grad():
        thread = threading.Thread(target=lambda: recorded.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert recorded == [True]


def test_no_graph_without_a_leaf_that_wants_a_gradient():
    y = Tensor(np.ones(2)) * Tensor(np.ones(2))
    assert (y.requires_grad, y.node, y.is_leaf) == (False, None, True)


def test_detach_cuts_the_graph():
    x = leaf(2.0)
    a = x * 3
    (a.detach() * x).backward()
    close(x.grad, [6])
    assert a.detach().data is a.data


def test_retain_grad_keeps_the_gradient_of_an_inner_tensor():
    x = number(2.0)
    a = x * 3
    a.retain_grad()
    (a * a).backward()
    close(a.grad, 12)
    close(x.grad, 36)


def test_retain_grad_sees_the_whole_gradient():
    x = number(2.0)
    a = x * 3
    a.retain_grad()
    (a * 5 + a * 7).backward()
    close(a.grad, 12)


def test_retain_grad_of_the_output_and_of_a_leaf():
    x = number(2.0)
    x.retain_grad()
    y = x * 3
    y.retain_grad()
    y.backward()
    close(y.grad, 1)
    close(x.grad, 3)


def test_without_retain_grad_an_inner_tensor_has_none():
    x = number(2.0)
    a = x * 3
    (a * a).backward()
    assert a.grad is None


def test_leaf_made_by_an_op_outside_the_graph():
    x = leaf(1.0)
    assert x.is_leaf
    assert not (x * 2).is_leaf
