"""The engine: how gradients flow, add up and are freed, whatever the op."""

import gc
import threading
import weakref

import numpy as np
import pytest

import minialex
from minialex import Tensor, no_grad, ops, record_calls, using
from minialex.autograd import OPS, Cost, Implementation, Op


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


def number(value):
    return Tensor(np.array(value, np.float64), requires_grad=True)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.fixture
def make_op():
    """Build ops for one test and take them off the list of ops afterwards."""
    made = []

    def make(name, forward, backward, **others):
        implementations = {"array": Implementation(forward, backward), **others}
        made.append(name)
        return Op(name, implementations, lambda shapes, **_: Cost(1, 4))

    yield make
    for name in made:
        del OPS[name]


# Gradients ----------------------------------------------------------------------------------------


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


# The cotangent ------------------------------------------------------------------------------------


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


def test_backward_that_gives_too_few_gradients(make_op):
    op = make_op("short", lambda a, b: (a + b, ()), lambda gy, saved: (gy,))
    with pytest.raises(ValueError, match="zip"):
        op(leaf(1.0), leaf(2.0)).backward()


# Freeing ------------------------------------------------------------------------------------------


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
    """No cycle: what nobody refers to goes at once, without the garbage collector."""
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
    """Add saves shapes only: its operands go as soon as nobody else has them."""
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


# What is recorded ---------------------------------------------------------------------------------


def test_no_grad_records_nothing():
    x = leaf(1.0)
    with no_grad():
        y = x * 2
    assert (y.requires_grad, y.node) == (False, None)


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
    a = (x * 3).retain_grad()
    (a * a).backward()
    close(a.grad, 12)
    close(x.grad, 36)


def test_retain_grad_sees_the_whole_gradient():
    x = number(2.0)
    a = (x * 3).retain_grad()
    (a * 5 + a * 7).backward()
    close(a.grad, 12)


def test_retain_grad_of_the_output_and_of_a_leaf():
    x = number(2.0).retain_grad()
    y = (x * 3).retain_grad()
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


# Gradients written where they live ----------------------------------------------------------------


def homed(n):
    """Return a leaf whose gradient lives in a larger buffer, and the buffer."""
    w, arena = leaf(*range(1, n + 1)), np.full(n + 2, np.nan)
    w.grad_home = arena[1:-1]
    return w, arena


def test_gradient_is_put_into_its_home():
    w, arena = homed(2)
    (w * 3).sum().backward()
    assert w.grad is w.grad_home
    assert arena[1:-1].tolist() == [3, 3]
    assert np.isnan(arena[[0, -1]]).all()


def test_gradient_in_its_home_adds_up():
    w, arena = homed(2)
    for factor in (3, 4):
        (w * factor).sum().backward()
    assert arena[1:-1].tolist() == [7, 7]
    assert w.grad is w.grad_home


def test_gradient_in_its_home_starts_afresh():
    w, arena = homed(2)
    (w * 3).sum().backward()
    w.grad = None
    (w * 4).sum().backward()
    assert arena[1:-1].tolist() == [4, 4]


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
    assert out[0] is w.grad_home
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
    assert out[0] is w.grad_home
    assert out[1] is None
    assert arena[1] == 10


def test_weights_used_twice_in_one_graph_add_up_in_their_home():
    rng = np.random.default_rng(0)
    w = Tensor(rng.standard_normal((4, 4)), requires_grad=True)
    w.grad_home = np.full((4, 4), np.nan)
    x = Tensor(rng.standard_normal((3, 4)), requires_grad=True)
    ops.linear(ops.linear(x, w), w).sum().backward()
    plain = Tensor(w.data.copy(), requires_grad=True)
    ops.linear(ops.linear(Tensor(x.data), plain), plain).sum().backward()
    assert w.grad is w.grad_home
    close(w.grad, plain.grad)


def test_inner_tensors_have_no_home(make_op):
    seen = []
    op = recorder(make_op, seen)
    w, _ = homed(1)
    op(w * 1, w * 1).backward()
    assert seen[0][1] == (None, None)


# Implementations ----------------------------------------------------------------------------------


def two_ways(make_op, name="two_ways"):
    """Return an op whose implementations say which of them ran."""
    other = Implementation(lambda x: (x + 10, ()), lambda gy, saved: (gy * 10,))
    return make_op(name, lambda x: (x + 1, ()), lambda gy, saved: (gy,), other=other)


def ran(op):
    return float(op(np.zeros(())).item())


def test_array_runs_where_nothing_else_is_chosen(make_op):
    assert ran(two_ways(make_op)) == 1


def test_using_chooses_for_one_op(make_op):
    op, neighbour = two_ways(make_op), two_ways(make_op, "neighbour")
    with using(two_ways="other"):
        assert (ran(op), ran(neighbour)) == (10, 1)
    assert ran(op) == 1


def test_using_chooses_for_all_ops_that_have_it(make_op):
    op = two_ways(make_op)
    with using("other"):
        assert ran(op) == 10
        assert (Tensor(np.ones(1)) + 1).item() == 2


def test_using_nests(make_op):
    op, neighbour = two_ways(make_op), two_ways(make_op, "neighbour")
    with using("other"), using(two_ways="array"):
        assert (ran(op), ran(neighbour)) == (1, 10)
    with using(two_ways="other"), using("array"):
        assert ran(op) == 1


def test_using_ends_when_an_error_leaves_it(make_op):
    op = two_ways(make_op)
    with pytest.raises(ZeroDivisionError), using("other"):
        raise ZeroDivisionError
    assert ran(op) == 1


def test_backward_runs_the_implementation_that_forward_ran(make_op):
    op, x = two_ways(make_op), number(0.0)
    with using("other"):
        y = op(x)
    y.backward()
    close(x.grad, 10)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"nonsense": "array"}, "no op named 'nonsense'.*conv2d"),
        ({"conv2d": "nonsense"}, "no implementation of conv2d named 'nonsense'.*array"),
    ],
)
def test_using_refuses_what_is_not_there(choice, words):
    with pytest.raises(ValueError, match=words), using(**choice):
        pass


def test_using_refuses_an_implementation_that_no_op_has():
    with (
        pytest.raises(ValueError, match=r"no implementation named 'nonsense'.*array"),
        using("nonsense"),
    ):
        pass


def test_an_op_without_array_is_refused():
    implementation = Implementation(lambda x: (x, ()), lambda gy, saved: (gy,))
    with pytest.raises(ValueError, match="'odd' has no implementation named 'array'"):
        Op("odd", {"tiled": implementation}, lambda shapes: Cost(0, 0))
    assert "odd" not in OPS


# Recording calls ----------------------------------------------------------------------------------


def test_record_calls_lists_ops_in_order():
    x, w = Tensor(np.ones((2, 3))), Tensor(np.ones((4, 3)))
    with record_calls() as calls:
        ops.linear(x, w).relu()
    assert [c.op.name for c in calls] == ["linear", "relu"]
    assert calls[0].shapes == ((2, 3), (4, 3), None)
    assert calls[0].y.shape == (2, 4)
    assert calls[0].cost().flops == 2 * 2 * 3 * 4


def test_record_calls_ends_with_its_block_and_nests():
    x = Tensor(np.ones(2))
    with record_calls() as outer:
        x.exp()
        with record_calls() as inner:
            x.tanh()
    x.sqrt()
    assert [c.op.name for c in outer] == ["exp", "tanh"]
    assert [c.op.name for c in inner] == ["tanh"]


def test_costs_add_up():
    assert Cost(1, 2) + Cost(10, 20) == Cost(11, 22)


# Operators ----------------------------------------------------------------------------------------

OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize(
    "other",
    [3, 2.5, np.float64(2.5), np.array([4.0, 5.0]), np.array(2.0), np.array([[2.0], [4.0]])],
    ids=["int", "float", "NumPy number", "array", "array of no axes", "array that broadcasts"],
)
def test_operators_on_both_sides_of_numbers_and_arrays(operator, other):
    values = np.array([1.5, -2.0])
    for a, b in ((Tensor(values), other), (other, Tensor(values))):
        y = operator(a, b)
        assert isinstance(y, Tensor)
        want = operator(*(v.data if isinstance(v, Tensor) else v for v in (a, b)))
        assert y.dtype == np.float64
        close(y.data, want)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("other", [3, 2.5], ids=["int", "float"])
def test_gradients_of_operators_with_numbers(operator, other):
    for flip in (False, True):
        x = leaf(1.5, -2.0)
        y = operator(other, x) if flip else operator(x, other)
        y.sum().backward()

        def value(v, flip=flip):
            return operator(other, v) if flip else operator(v, other)

        close(x.grad, np.imag(value(x.data + 1e-30j)) / 1e-30)


def test_matrix_product_on_both_sides_of_an_array():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    assert isinstance(a @ Tensor(b), Tensor)
    close((a @ Tensor(b)).data, a @ b)
    close((Tensor(a) @ b).data, a @ b)


def test_minus_power_and_absolute_value():
    x = leaf(-2.0, 3.0)
    close((-x).data, [2, -3])
    close((x**2).data, [4, 9])
    close(abs(x).data, [2, 3])
    (x**3).sum().backward()
    close(x.grad, [12, 27])


def test_numbers_keep_the_type_of_the_tensor():
    x = Tensor(np.ones(2, np.float32))
    for y in (x + 1, 1.5 * x, x / 3, 2 - x, x**2):
        assert y.dtype == np.float32


def test_a_float_beside_whole_numbers_makes_float32():
    y = Tensor(np.array([1, 2])) * 0.5
    assert y.dtype == np.float32 or y.dtype == np.float64
    assert y.data.tolist() == [0.5, 1]


def test_indexing_and_methods():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert x[1, 2].item() == 5
    assert x[:, 1].shape == (2,)
    assert x.T.shape == (3, 2)
    assert x.reshape(3, -1).shape == (3, 2)
    assert x.flatten().shape == (6,)
    assert x.sum(0).shape == (3,)
    assert x.mean().item() == 2.5
    assert x.max(1, True).data.tolist() == [[2], [5]]
    x[0].sum().backward()
    assert x.grad.tolist() == [[1, 1, 1], [0, 0, 0]]


def test_every_method_is_the_function_of_its_name():
    x = Tensor(np.array([[0.5, 2.0]]))
    for name in (
        "exp",
        "log",
        "sqrt",
        "tanh",
        "relu",
        "softmax",
        "log_softmax",
        "sum",
        "mean",
        "max",
    ):
        assert np.array_equal(getattr(x, name)().data, getattr(ops, name)(x).data)
        assert name in getattr(Tensor, name).__doc__


# Tensors ------------------------------------------------------------------------------------------


def test_arrays_are_taken_without_a_copy():
    array = np.ones(3)
    assert Tensor(array).data is array


def test_numbers_and_lists_become_float32():
    assert Tensor(1.5).dtype == np.float32
    assert Tensor([[1.0, 2.0]]).dtype == np.float32
    assert Tensor([1, 2]).dtype.kind == "i"
    assert Tensor(np.float64(1.5)).dtype == np.float64
    assert isinstance(Tensor(np.float64(1.5)).data, np.ndarray)


def test_what_a_tensor_does_not_hold():
    with pytest.raises(TypeError, match="holds numbers, not str"):
        Tensor("digits")
    with pytest.raises(TypeError, match="holds numbers"):
        Tensor([1 + 2j])
    with pytest.raises(TypeError, match=r"use detach\(\)"):
        Tensor(Tensor(1.0))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float16])
def test_only_float32_and_float64_require_a_gradient(dtype):
    with pytest.raises(TypeError, match="only float32 and float64 can require a gradient"):
        Tensor(np.zeros(2, dtype), requires_grad=True)


def test_properties():
    x = Tensor(np.zeros((2, 3), np.float32))
    assert (x.shape, x.ndim, x.size, len(x), str(x.device)) == ((2, 3), 2, 6, 2, "cpu")
    assert float(Tensor(2.5)) == Tensor(2.5).item() == 2.5
    assert x.numpy() is x.data


def test_repr_shows_values_type_and_origin():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    assert repr(x) == "Tensor([1., 2.], float64, requires_grad)"
    assert repr(x * 2) == "Tensor([2., 4.], float64, made by multiply)"
    assert repr(Tensor(np.array([1]))) == "Tensor([1], int64)"


def test_mixed_types_are_refused():
    a, b = leaf(1.0), leaf(1.0, dtype=np.float32)
    with pytest.raises(
        TypeError, match=r"add: inputs of different types \(float32, float64\).*astype"
    ):
        a + b


def test_whole_numbers_may_stand_beside_floats():
    x = leaf(1.0, 2.0)
    close((x * Tensor(np.array([2, 3]))).data, [2, 6])


def test_mixed_devices_are_refused(monkeypatch):
    cpu, gpu = minialex.arrays.Device("cpu"), minialex.arrays.Device("cuda")
    a, b = Tensor(np.ones(2)), Tensor(np.zeros(2))
    where = {id(a.data): cpu, id(b.data): gpu}
    monkeypatch.setattr(minialex.arrays, "device_of", lambda x: where[id(x)])
    with pytest.raises(
        ValueError, match=r"add: inputs on different devices \(cpu, cuda:0\).*\.to\(\)"
    ):
        a + b


# Other libraries ----------------------------------------------------------------------------------


class Foreign:
    """Another library's array: all that is known of it is DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_in_shares_memory():
    array = np.arange(3.0)
    x = Tensor(Foreign(array))
    array[0] = 7
    assert x.data.tolist() == [7, 1, 2]


def test_dlpack_out_shares_memory():
    x = Tensor(np.arange(3.0))
    other = np.from_dlpack(x)
    x.data[0] = 7
    assert other.tolist() == [7, 1, 2]


def test_dlpack_to_and_from_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = torch.arange(4, dtype=torch.float32)
    ours = Tensor(theirs)
    theirs[0] = 9
    assert ours.data.tolist() == [9, 1, 2, 3]
    assert torch.from_dlpack(ours).tolist() == [9, 1, 2, 3]


def test_numpy_does_not_take_a_tensor_apart():
    """Without `__array_ufunc__ = None`, NumPy would add the Tensor to each element alone."""
    y = np.array([1.0, 2.0]) + leaf(3.0, 4.0)
    assert isinstance(y, Tensor)
    assert y.node is not None
    with pytest.raises(TypeError):
        np.exp(Tensor(np.ones(2)))


def test_gradients_from_two_threads_do_not_mix():
    """Each thread has its own graph; the numbers are those of one thread alone."""
    results = {}

    def work(i):
        x = number(float(i))
        y = x
        for _ in range(200):
            y = y * 1.001
        (y * y).backward()
        results[i] = x.grad.item()

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for i in range(4):
        close(results[i], 2 * i * 1.001**400)
