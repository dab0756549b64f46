"""Gradients written where they live, and told what is needed."""

import numpy as np

from minialex import Tensor, ops
from tests.autograd.leaves import close, leaf


def homed(n):
    """Return a leaf whose gradient lives in a larger buffer, and the buffer."""
    w, arena = leaf(*range(1, n + 1)), np.full(n + 2, np.nan)
    w.grad_buffer = arena[1:-1]
    return w, arena


def recorder(make_op, seen):
    """Return an op like multiply that notes what it was given as `out` and `needs`."""

    def back(gy, saved, *, needs, out):
        seen.append((needs, out))
        a, b = saved
        grads = []
        for other, place, wanted in zip((b, a), out, needs, strict=True):
            if not wanted:
                grads.append(None)
            elif place is None:
                grads.append(gy * other)
            else:
                grads.append(np.multiply(gy, other, out=place))
        return tuple(grads)

    return make_op("recorder", lambda a, b: (a * b, (a, b)), back)


def test_backward_is_given_the_home_of_a_leaf(make_op):
    seen = []
    op = recorder(make_op, seen)
    w, arena = homed(2)
    x = leaf(5.0, 7.0)
    op(w, x).sum().backward()
    ((needs, out),) = seen
    assert needs == (True, True)
    assert out[0] is w.grad_buffer
    assert out[1] is None
    assert arena[1:-1].tolist() == [5, 7]


def test_backward_is_told_what_is_needed(make_op):
    seen = []
    op = recorder(make_op, seen)
    x, c = leaf(5.0), Tensor(np.array([3.0]))
    op(x, c).backward()
    op(c, x).backward()
    assert [needs for needs, _ in seen] == [(True, False), (False, True)]
    close(x.grad, [6])


def test_home_is_not_given_where_a_gradient_stands_already(make_op):
    """It would be overwritten."""
    seen = []
    op = recorder(make_op, seen)
    w, arena = homed(1)
    for factor in (3.0, 4.0):
        op(w, Tensor(np.array([factor]))).backward()
    assert [out[0] is None for _, out in seen] == [False, True]
    assert arena[1] == 7


def test_home_is_given_once_to_a_leaf_that_stands_twice_in_one_op(make_op):
    seen = []
    op = recorder(make_op, seen)
    w, arena = homed(1)
    w.data[...] = 5
    op(w, w).backward()
    ((_, out),) = seen
    assert out[0] is w.grad_buffer
    assert out[1] is None
    assert arena[1] == 10


def test_weights_used_twice_in_one_graph_add_up_in_their_home():
    rng = np.random.default_rng(0)
    w = Tensor(rng.standard_normal((4, 4)), requires_grad=True)
    w.grad_buffer = np.full((4, 4), np.nan)
    x = Tensor(rng.standard_normal((3, 4)), requires_grad=True)
    ops.linear(ops.linear(x, w), w).sum().backward()
    plain = Tensor(w.data.copy(), requires_grad=True)
    ops.linear(ops.linear(Tensor(x.data), plain), plain).sum().backward()
    assert w.grad is w.grad_buffer
    close(w.grad, plain.grad)


def test_inner_tensors_have_no_home(make_op):
    seen = []
    op = recorder(make_op, seen)
    w, _ = homed(1)
    op(w * 1, w * 1).backward()
    assert seen[0][1] == (None, None)
