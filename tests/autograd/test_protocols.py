"""What Python and NumPy ask of an object: truth, comparison, iteration, conversion, assignment."""

import io
import json
import math
import operator

import numpy as np
import pytest

from minialex import Tensor, nn, no_grad, ops
from tests.autograd.leaves import close, leaf, number


def three():
    return Tensor(np.array([1, 2, 3], np.float32))


# Truth and comparison ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 2.5, -1.0, 0, 3, False, True])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_truth_of_one_element(value, shape):
    assert bool(Tensor(np.full(shape, value))) is bool(value)


@pytest.mark.parametrize("shape", [(0,), (2,), (2, 3)])
def test_many_elements_are_neither_true_nor_false(shape):
    with pytest.raises(ValueError, match=r"is neither true nor false; ask .numpy\(\).all\(\) or"):
        bool(Tensor(np.ones(shape)))


COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize(
    "other",
    [
        2,
        2.0,
        np.float64(2),
        np.array(2.0),
        np.array([3, 2, 1]),
        np.array([3, 2, 1], np.float32),
        Tensor(np.array([3, 2, 1], np.float32)),
        Tensor(np.array([3, 2, 1])),
        Tensor(np.array([[1], [2]], np.float32)),
        [3, 2, 1],
    ],
    ids=lambda other: f"{type(other).__name__} {getattr(other, 'dtype', '')}",
)
def test_comparisons_are_element_by_element_on_both_sides(compare, other):
    x, values = three(), other.data if isinstance(other, Tensor) else other
    for y, want in (
        (compare(x, other), compare(x.data, values)),
        (compare(other, x), compare(np.asarray(values), x.data)),
    ):
        assert isinstance(y, Tensor)
        assert y.dtype == bool
        np.testing.assert_array_equal(y.data, want)


def test_no_gradient_flows_through_a_comparison():
    x = leaf(1.0, -2.0)
    positive = x > 0
    assert not positive.requires_grad
    (x * positive).sum().backward()
    close(x.grad, [1, 0])
    x.grad = None
    x[positive].sum().backward()
    close(x.grad, [1, 0])


def test_a_number_is_compared_in_the_type_of_the_tensor():
    assert Tensor([0.1]) == 0.1
    assert (Tensor([1, 2]) < 1.5).data.tolist() == [True, False]


def test_types_and_devices_are_compared_as_they_are_added():
    with pytest.raises(TypeError, match=r"equal: inputs of different types \(float32, float64\)"):
        assert three() == Tensor(np.ones(3))


def test_what_holds_no_numbers_is_not_equal_and_not_ordered():
    for other in (None, "123", object()):
        assert (three() == other) is False
        assert (three() != other) is True
        with pytest.raises(TypeError, match="not supported between instances"):
            assert three() < other


def test_logic_of_comparisons():
    x = three()
    assert ((x > 1) & (x < 3)).data.tolist() == [False, True, False]
    assert ((x < 2) | (x > 2)).data.tolist() == [True, False, True]
    assert (~(x > 1)).data.tolist() == [True, False, False]
    assert (np.array([True, True, False]) & (x > 1)).data.tolist() == [False, True, False]
    assert (np.array([True, False, False]) | (x > 2)).data.tolist() == [True, False, True]
    assert (x == x).mean().item() == 1
    for wrong in (lambda: x & x, lambda: (x > 1) | 1, lambda: ~x):
        with pytest.raises(TypeError, match="takes booleans, as comparisons give them"):
            wrong()


def test_sets_and_dictionaries_go_by_identity():
    a, b = three(), three()
    assert len({a, b, a}) == 2
    assert {a: "a", b: "b"}[b] == "b"


# Elements ---------------------------------------------------------------------------------------


def test_in_looks_at_the_values():
    x = Tensor(np.array([[1.0, 2], [3, 4]]))
    assert 1.0 in x
    assert 5.0 not in x
    assert np.array([3.0, 4]) in x
    with pytest.raises(TypeError, match="holds numbers"):
        assert "1" in x


def test_iteration_is_over_the_first_axis_and_keeps_the_graph():
    x = Tensor(np.array([[1.0, 2], [3, 4]]), requires_grad=True)
    first, second = x
    (first * second).sum().backward()
    close(x.grad, [[3, 4], [1, 2]])
    assert [row.data.tolist() for row in reversed(x)] == [[3, 4], [1, 2]]
    y = leaf(2.0, 3.0)
    sum(v * v for v in y).backward()
    close(y.grad, [4, 6])
    assert (max(y).item(), min(y).item()) == (3, 2)


@pytest.mark.parametrize("ask", [len, list, sum, iter, reversed, max])
def test_a_tensor_of_no_axes_has_no_elements_to_go_over(ask):
    with pytest.raises(TypeError, match=r"of no axes has no length or elements; .item\(\)"):
        ask(Tensor(5.0))


def test_elements_are_neither_assigned_nor_deleted():
    x = three()
    with pytest.raises(TypeError, match=r"cannot be assigned.*x.data\[...\] = "):
        x[0] = 5.0
    with pytest.raises(TypeError, match="cannot be deleted"):
        del x[0]
    assert x.data.tolist() == [1, 2, 3]


# Numbers and text -------------------------------------------------------------------------------


def test_one_element_as_a_number_of_python():
    assert int(Tensor([2.75])) == 2
    assert float(Tensor([2.75])) == 2.75
    assert complex(Tensor(2.75)) == 2.75
    for convert in (int, float, complex, Tensor.item):
        with pytest.raises(ValueError, match=r"of shape \(3,\) is not one number"):
            convert(three())


def test_a_whole_number_is_an_index():
    assert [10, 20, 30][Tensor(1)] == 20
    assert list(range(Tensor(3))) == [0, 1, 2]
    assert np.arange(5)[Tensor([0, 2])].tolist() == [0, 2]
    for wrong in (Tensor(1.0), Tensor(True), Tensor([1])):
        with pytest.raises(TypeError, match="must be a Tensor of one whole number and no axes"):
            operator.index(wrong)


def test_format():
    assert f"{Tensor(0.69314):.3f}" == "0.693"
    assert f"{number(2.0) * 3:5.1f}" == "  6.0"
    assert f"{Tensor(7):03d}" == "007"
    assert f"{Tensor(0.5)}" == "0.5"
    assert f"{three()}" == "Tensor([1., 2., 3.], float32)"
    with pytest.raises(TypeError, match=r"'.3f' is for one number, not a Tensor of shape \(3,\)"):
        assert f"{three():.3f}"


# NumPy ------------------------------------------------------------------------------------------


def test_numpy_sees_the_array():
    x = three()
    assert np.asarray(x) is x.data
    assert np.array(x, copy=False) is x.data
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(x, np.float64, copy=False)
    np.testing.assert_array_equal(np.stack([x, x * 2]), [[1, 2, 3], [2, 4, 6]])
    assert np.asarray([Tensor(1.0), Tensor(2.0)]).tolist() == [1, 2]


@pytest.mark.parametrize("function", [np.sum, np.mean, np.max])
def test_numpys_functions_of_a_methods_name_are_told_where_numbers_are(function):
    """They call the method, with keywords of their own that the user has not written."""
    with pytest.raises(TypeError, match=r"has no out; NumPy's own takes \.numpy\(\) of a Tensor"):
        function(Tensor([1.0, 2.0]))


def test_numpy_saves_the_numbers():
    file = io.BytesIO()
    np.save(file, three())
    file.seek(0)
    saved = np.load(file)
    assert (saved.dtype, saved.tolist()) == (np.float32, [1, 2, 3])


@pytest.mark.parametrize("make", [leaf, lambda *values: leaf(*values) * 2])
def test_numpy_does_not_cut_the_graph_unasked(make):
    x = make(1.0, 2.0)
    for convert in (np.asarray, np.array, lambda x: np.stack([x, x]), lambda x: np.asarray([x, x])):
        with pytest.raises(RuntimeError, match=r"would lose the gradient.*\.numpy\(\)"):
            convert(x)
    np.testing.assert_array_equal(np.asarray(x.detach()), x.numpy())


def test_no_library_cuts_the_graph_unasked():
    x = leaf(1.0, 2.0)
    for y in (x, x * 2):
        with pytest.raises(RuntimeError, match=r"another library would lose the gradient"):
            np.from_dlpack(y)
        np.testing.assert_array_equal(np.from_dlpack(y.detach()), y.data)


# Requiring a gradient ---------------------------------------------------------------------------


def test_requires_grad_is_set_in_a_chain():
    x = Tensor([1.0]).requires_grad_()
    assert x.requires_grad is True
    assert x.requires_grad_(False).requires_grad is False
    with pytest.raises(TypeError, match="float32, float64 and bfloat16 can require a gradient"):
        Tensor([1]).requires_grad_()


def test_a_result_is_not_told_that_it_has_no_gradient():
    x = leaf(1.0)
    y = x * 2
    with pytest.raises(RuntimeError, match=r"result of multiply has a gradient .*detach\(\)"):
        y.requires_grad = False
    y.requires_grad_()
    y.sum().backward()
    close(x.grad, [2])


# What there is not ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        round,
        math.trunc,
        operator.pos,
        memoryview,
        json.dumps,
        lambda x: x // 2,
        lambda x: 2 // x,
        lambda x: x % 2,
        lambda x: 5 % x,
        lambda x: divmod(x, 2),
        lambda x: np.ones(1) // x,
        lambda x: operator.ifloordiv(x, 2),
        lambda x: operator.imod(x, 2),
        lambda x: x << 1,
        lambda x: x ^ x,
        lambda x: pow(x, 2, 3),
        lambda x: np.add(x, 1),
        lambda x: operator.iadd(np.ones(1), x),
        lambda x: x + "1",
        lambda x: None * x,
    ],
)
def test_what_there_is_not_is_a_type_error_that_names_it(ask):
    with pytest.raises(TypeError, match=r"^[^\n]*Tensor[^\n]*$"):
        ask(Tensor([2.0]))


def test_what_python_does_by_other_means():
    x = Tensor(2.75)
    assert (math.floor(x), math.ceil(x), math.sqrt(Tensor(4.0))) == (2, 3, 2)
    assert sorted([Tensor(2), Tensor(1)])[0].item() == 1
    assert sum([leaf(1.0), leaf(2.0)]).item() == 3
    assert any(Tensor([0, 1]))
    assert not all(Tensor([0, 1]))
    for ask in (lambda x: 1 < x < 3, lambda x: not x, lambda x: x in [Tensor([1.0, 2.0])]):
        with pytest.raises(ValueError, match="is neither true nor false"):
            ask(Tensor([2.0, 2.0]))


# In place ---------------------------------------------------------------------------------------

IN_PLACE = [
    operator.iadd,
    operator.isub,
    operator.imul,
    operator.itruediv,
    operator.imatmul,
    operator.ipow,
]


@pytest.mark.parametrize("change", IN_PLACE)
def test_a_leaf_is_not_changed_in_place(change):
    """It would be left as it is, and the name given to another Tensor: nothing would train."""
    w = nn.Parameter(np.ones((2, 2), np.float32))
    with no_grad(), pytest.raises(RuntimeError, match=r"not changed in place.*x.data -= "):
        change(w, 2)
    assert (w.data == 1).all()


def test_elsewhere_in_place_operators_name_a_new_tensor():
    x = leaf(1.0, 2.0)
    before = y = x * 3
    y += x
    y *= 2
    y **= 2
    y.sum().backward()
    # y = (2 (3 x + x))^2 = 64 x^2
    close(x.grad, [128, 256])
    close(before.data, [3, 6])
    count = Tensor(1)
    count -= 3
    count /= 4
    assert count.item() == -0.5
    eye = Tensor(np.eye(2))
    eye @= np.array([1.0, 2.0])
    assert eye.data.tolist() == [1, 2]


def test_every_comparison_is_a_function_too():
    a, b = np.array([True, False]), np.array([True, True])
    for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
        np.testing.assert_array_equal(
            getattr(ops, name)([1, 2], 2).data, getattr(np, name)([1, 2], 2)
        )
    for name in ("logical_and", "logical_or"):
        np.testing.assert_array_equal(getattr(ops, name)(a, b).data, getattr(np, name)(a, b))
    assert ops.logical_not(a).data.tolist() == [False, True]
