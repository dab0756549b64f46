"""How gradients flow and add up, whatever the op."""

import numpy as np
import pytest

from minialex import Tensor
from tests.autograd.leaves import close, leaf, number

# Gradients --------------------------------------------------------------------------------------


def test_chain():
    x = leaf(1.0, 2.0)
    (x * 3).exp().sum().backward()
    close(x.grad, 3 * np.exp([3.0, 6.0]))


def test_gradients_of_two_backwards_add_up():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    (x * 4).sum().backward()
    close(x.grad, [7, 7])


def test_none_starts_a_gradient_afresh():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    x.grad = None
    (x * 4).sum().backward()
    close(x.grad, [4, 4])


def test_diamond():
    x = number(2.0)
    a = x * 3
    (a * a + a.exp()).backward()
    close(x.grad, 2 * 9 * 2 + 3 * np.exp(6.0))


def test_deep_diamonds_visit_each_node_once():
    x = number(1.0)
    y = x
    for _ in range(60):
        y = y * 0.5 + y * 0.5
    y.backward()
    close(x.grad, 1)


def test_unbalanced_branches_wait_for_the_longer_one():
    x = number(2.0)
    a = x * x
    long = a
    for _ in range(5):
        long = long + 1
    (a * long).backward()
    # y = x^2 (x^2 + 5)
    close(x.grad, 4 * 8 + 10 * 2)


def test_one_leaf_in_two_ops():
    w = leaf(2.0, 3.0)
    x, z = Tensor(np.array([5.0, 7.0])), Tensor(np.array([11.0, 13.0]))
    (w * x + w * z).sum().backward()
    close(w.grad, [16, 20])


def test_one_leaf_twice_in_one_op():
    x = leaf(2.0, -3.0)
    (x * x).sum().backward()
    close(x.grad, [4, -6])


def test_one_leaf_twice_in_a_matrix_product():
    a = Tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    (a @ a).sum().backward()
    ones = np.ones((2, 2))
    close(a.grad, ones @ a.data.T + a.data.T @ ones)


def test_one_inner_tensor_twice_in_one_op():
    x = number(3.0)
    a = x * 2
    (a * a).backward()
    close(x.grad, 8 * 3)


def test_input_without_gradient_gets_none():
    x, c = leaf(1.0), Tensor(np.array([2.0]))
    (x * c).backward()
    assert c.grad is None
    close(x.grad, [2])


def test_gradient_is_an_array_of_the_shape_and_type_of_its_leaf():
    for shape in ((), (3,), (2, 1)):
        for dtype in (np.float32, np.float64):
            x = Tensor(np.ones(shape, dtype), requires_grad=True)
            (x * 2).sum().backward()
            assert isinstance(x.grad, np.ndarray)
            assert (x.grad.shape, x.grad.dtype) == (shape, dtype)


def test_gradient_is_no_view_of_the_cotangent():
    x = leaf(1.0, 2.0)
    gy = np.array([3.0, 4.0])
    x.reshape(2).backward(gy)
    x.grad += 1
    assert gy.tolist() == [3, 4]


def test_gradients_of_two_leaves_are_no_views_of_each_other():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward()
    a.grad += 1
    close(b.grad, [1, 1])


def test_shared_cotangent_is_not_added_to_in_place():
    """Add gives one array to both its inputs; more flows into one of them later."""
    x, z = leaf(1.0, 2.0), leaf(3.0, 4.0)
    a, b = x * 1, z * 1
    (a + b + a).sum().backward()
    close(x.grad, [2, 2])
    close(z.grad, [1, 1])


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
