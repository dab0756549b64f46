"""How gradients flow, whatever the op; that they add up is asked in ``minialex.check.engine``."""

import numpy as np
import pytest

from minialex import Tensor
from tests.autograd.leaves import close, leaf, number

# Gradients --------------------------------------------------------------------------------------


def test_chain():
    x = leaf(1.0, 2.0)
    (x * 3).exp().sum().backward()
    close(x.grad, 3 * np.exp([3.0, 6.0]))


def test_diamond():
    x = number(2.0)
    a = x * 3
    (a * a + a.exp()).backward()
    close(x.grad, 2 * 9 * 2 + 3 * np.exp(6.0))


def test_one_leaf_twice_in_a_matrix_product():
    a = Tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    (a @ a).sum().backward()
    ones = np.ones((2, 2))
    close(a.grad, ones @ a.data.T + a.data.T @ ones)


def test_gradient_is_an_array_of_the_shape_and_type_of_its_leaf():
    for shape in ((), (3,), (2, 1)):
        for dtype in (np.float32, np.float64):
            x = Tensor(np.ones(shape, dtype), requires_grad=True)
            (x * 2).sum().backward()
            assert isinstance(x.grad, np.ndarray)
            assert (x.grad.shape, x.grad.dtype) == (shape, dtype)


def test_a_cotangent_that_is_shared_stays_as_the_caller_has_it():
    a, b, gy = leaf(1.0, 2.0) * 1, leaf(3.0, 4.0) * 1, np.array([5.0, 7.0])
    (a + b + a).backward(gy)
    assert gy.tolist() == [5, 7]


def gives_to_both(make_op):
    """Return an op whose backward gives one array to both of its inputs, a + b."""
    return make_op("shares", lambda a, b: (a + b, ()), lambda gy, saved: (gy * 1,) * 2)


def test_an_array_that_two_ops_are_given_is_not_added_to(make_op):
    both, x, z = gives_to_both(make_op), leaf(1.0, 2.0), leaf(3.0, 4.0)
    a, b = x * 1, z * 1
    (a * 3 + both(a, b)).sum().backward()
    close(x.grad, [4, 4])
    close(z.grad, [1, 1])


def test_an_array_that_two_leaves_are_given_is_not_added_to(make_op):
    both, a, b = gives_to_both(make_op), leaf(1.0, 2.0), leaf(3.0, 4.0)
    told = []
    # with a hook the sum waits until it is complete
    a.register_hook(lambda g: told.append(g.copy()))
    (a * 3 + both(a, b)).sum().backward()
    (a * 3 + both(a, b)).sum().backward()
    close(a.grad, [8, 8])
    close(b.grad, [2, 2])
    close(told, [[4, 4], [4, 4]])


def test_an_array_that_one_op_is_given_twice_is_added_once_each(make_op):
    both, x = gives_to_both(make_op), leaf(1.0, 2.0)
    a = x * 1
    both(a, a).sum().backward()
    close(x.grad, [2, 2])


def test_a_saved_array_that_is_a_gradient_is_not_added_to(make_op):
    """Of x^2 / 2 the slope is what was saved, and given as it is where the cotangent is 1."""
    half = make_op("half", lambda x: ((x * x).sum() / 2, (x,)), lambda gy, saved: saved)
    x = leaf(1.0, 2.0)
    a = x * 1
    y = a.sum() + half(a) + a.sum()
    y.backward(retain_graph=True)
    close(x.grad, [3, 4])
    y.backward()
    close(x.grad, [6, 8])


def test_backward_of_a_leaf():
    x = leaf(1.0, 2.0)
    x.backward(np.array([3.0, 4.0]))
    close(x.grad, [3, 4])


def test_backward_of_an_inner_tensor_leaves_later_ops_alone():
    x = number(2.0)
    a = x * x
    b = a * 10
    a.backward()
    close(x.grad, 4)
    assert b.node is not None


# The cotangent ----------------------------------------------------------------------------------


def test_backward_with_a_cotangent():
    x = leaf(1.0, 2.0)
    (x * x).backward(np.array([10.0, 100.0]))
    close(x.grad, [20, 400])


def test_cotangent_may_be_a_tensor_a_list_or_a_number():
    for gradient in (Tensor(np.array([2.0])), [2.0], 2.0):
        x = leaf(3.0)
        y = x * x if np.ndim(gradient) or isinstance(gradient, Tensor) else (x * x).reshape(())
        y.backward(gradient)
        close(x.grad, [12])


def test_backward_of_many_elements_needs_a_cotangent():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs a gradient of that shape"):
        (x * 2).backward()


def test_backward_of_one_element_of_any_shape_needs_none():
    x = leaf(3.0)
    (x * x).reshape(1, 1).backward()
    close(x.grad, [6])


def test_cotangent_of_another_shape():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"gradient has shape \(2, 1\), the Tensor \(2,\)"):
        (x * 2).backward(np.ones((2, 1)))


def test_cotangent_takes_the_type_of_the_tensor():
    x = leaf(1.0, 2.0, dtype=np.float32)
    (x * 2).backward(np.array([1.0, 3.0]))
    assert x.grad.dtype == np.float32


def test_backward_of_what_needs_no_gradient():
    with pytest.raises(RuntimeError, match=r"requires_grad=True.*no_grad"):
        Tensor(np.ones(1)).backward()


def test_backward_that_gives_a_wrong_shape_is_named(make_op):
    op = make_op("crooked", lambda x: (x * 2, ()), lambda gy, saved: (gy[:1],))
    x = leaf(1.0, 2.0)
    with pytest.raises(
        RuntimeError, match=r"backward of crooked gave .* \(1,\) for input 0.*\(2,\)"
    ):
        op(x).sum().backward()
