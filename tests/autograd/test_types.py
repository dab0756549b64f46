"""The types of what ops give and of gradients, where inputs are of several types."""

import numpy as np
import pytest

from minialex import Tensor, ops
from tests.autograd.leaves import leaf

FLOATS = [np.float32, np.float64]
WHOLE = [np.int8, np.int64, np.uint8, np.bool_]
NUMBERS = [2, True, 2.0, np.float32(2), np.float64(2), np.int64(2), np.uint8(2), np.bool_(True)]


def joined(a, b):
    return ops.concatenate([a, b])


TWO_INPUTS = [ops.add, ops.subtract, ops.multiply, ops.divide, ops.matmul, joined]


@pytest.mark.parametrize("op", TWO_INPUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("wrapped", [False, True], ids=["array", "Tensor"])
def test_whole_numbers_beside_floats_take_their_type(op, dtype, whole, wrapped):
    other = np.array([1, 3]).astype(whole)
    for flip in (False, True):
        x, beside = leaf(4.0, 5.0, dtype=dtype), Tensor(other) if wrapped else other
        y = op(beside, x) if flip else op(x, beside)
        assert y.dtype == dtype
        y.sum().backward()
        z = leaf(4.0, 5.0)
        same = other.astype(np.float64)
        want = op(same, z) if flip else op(z, same)
        want.sum().backward()
        np.testing.assert_allclose(y.data, want.data, rtol=1e-6)
        assert x.grad.dtype == dtype
        np.testing.assert_allclose(x.grad, z.grad, rtol=1e-6)


@pytest.mark.parametrize("op", TWO_INPUTS)
def test_two_types_of_floats_are_refused(op):
    with pytest.raises(TypeError, match=r"inputs of different types \(float32, float64\)"):
        op(Tensor(np.ones(2, np.float32)), np.ones(2))


@pytest.mark.parametrize("op", TWO_INPUTS[:4])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("number", [*NUMBERS, *map(np.array, NUMBERS)], ids=repr)
def test_numbers_take_the_type_of_the_floats_beside_them(op, dtype, number):
    for flip in (False, True):
        for x in (leaf(4.0, 5.0, dtype=dtype), np.array([4, 5], dtype)):
            y = op(number, x) if flip else op(x, number)
            assert y.dtype == dtype
            values, want = np.array([4.0, 5.0]), float(number)
            close = getattr(np, op.__name__)(*((want, values) if flip else (values, want)))
            np.testing.assert_allclose(y.data, close, rtol=1e-6)


@pytest.mark.parametrize("exponent", [*NUMBERS[:-1], np.array(2.0), np.array(2)], ids=repr)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_power_keeps_the_type(exponent, dtype):
    x = leaf(3.0, 4.0, dtype=dtype)
    y = x**exponent
    y.sum().backward()
    n = float(exponent)
    assert (y.dtype, x.grad.dtype) == (dtype, dtype)
    np.testing.assert_allclose(y.data, [3**n, 4**n])
    np.testing.assert_allclose(x.grad, [n * 3 ** (n - 1), n * 4 ** (n - 1)])


def test_exponents_are_tensors_and_arrays_too():
    x, p = leaf(2.0, 3.0, dtype=np.float32), leaf(3.0, -1.0, dtype=np.float32)
    for y in (x**p, x**p.data, x.data**p, x ** [3, -1], 2 ** (p - 1), np.float64(2) ** p):
        assert y.dtype == np.float32
    (x**p).sum().backward()
    np.testing.assert_allclose(x.grad, [12, -1 / 9], rtol=1e-6)
    np.testing.assert_allclose(p.grad, [8 * np.log(2), np.log(3) / 3], rtol=1e-6)
    whole = Tensor(np.array([2, -3])) ** np.array([3, 2])
    assert (whole.dtype, whole.data.tolist()) == (np.int64, [8, 9])


@pytest.mark.parametrize("exponent", ["2", 2j, None])
def test_an_exponent_is_a_number(exponent):
    with pytest.raises(TypeError, match="a Tensor holds numbers, not"):
        ops.power(Tensor([1.0, 2.0]), exponent)


def test_whole_numbers_have_no_negative_powers_in_an_array():
    with pytest.raises(ValueError, match=r"^power: whole numbers to negative .*\.astype\(\)"):
        ops.power(Tensor(np.array([1, 2])), np.array([1, -1]))


MIXED = {
    "a fraction": (lambda x: x * 0.5, [0.5, 1], np.float32),
    "NumPy's fraction": (lambda x: x * np.float32(0.5), [0.5, 1], np.float32),
    "a double's fraction": (lambda x: np.float64(0.5) + x, [1.5, 2.5], np.float32),
    "an array's fraction": (lambda x: x - np.array(0.5), [0.5, 1.5], np.float32),
    "a whole number": (lambda x: x + 3, [4, 5], np.int64),
    "a quotient": (lambda x: x / 2, [0.5, 1], np.float32),
    "a quotient of Tensors": (lambda x: x / x, [1, 1], np.float32),
    "an inverse": (lambda x: x**-1, [1, 0.5], np.float32),
    "a root": (lambda x: x**0.5, [1, 2**0.5], np.float32),
    "a square": (lambda x: x**2, [1, 4], np.int64),
    "exp": (ops.exp, np.exp([1, 2]), np.float32),
    "log": (ops.log, np.log([1, 2]), np.float32),
    "sqrt": (ops.sqrt, np.sqrt([1, 2]), np.float32),
    "tanh": (ops.tanh, np.tanh([1, 2]), np.float32),
    "mean": (ops.mean, 1.5, np.float32),
    "sum": (ops.sum, 3, np.int64),
    "max": (ops.max, 2, np.int64),
}


@pytest.mark.parametrize(("function", "want", "dtype"), MIXED.values(), ids=MIXED)
def test_what_is_made_of_whole_numbers(function, want, dtype):
    y = function(Tensor(np.array([1, 2])))
    assert y.dtype == dtype
    np.testing.assert_allclose(y.data, want, rtol=1e-6)


def test_numbers_beside_booleans_keep_their_value():
    x = Tensor([True, False])
    for number, dtype in [(3, np.int64), (2.5, np.float32), (np.float64(2.5), np.float32)]:
        y = x * number
        assert (y.dtype, y.data.tolist()) == (dtype, [number, 0])
    assert (x.mean().dtype, x.mean().item()) == (np.float32, 0.5)


@pytest.mark.parametrize("number", [300, -1, np.int64(300)])
def test_a_number_that_the_type_cannot_hold_is_refused(number):
    with pytest.raises(ValueError, match=r"does not fit into uint8.*\.astype\(\)"):
        Tensor(np.array([250, 1], np.uint8)) + number


def test_gradients_flow_through_floats_alone():
    x = leaf(1.5, 2.5, dtype=np.float32)
    for dtype in (np.int64, np.bool_, np.float16):
        assert not x.astype(dtype).requires_grad
    (x.astype(int).astype(np.float32) * x).sum().backward()
    # the whole number is a constant
    assert x.grad.tolist() == [1, 2]
    x.grad = None
    x.astype(np.float64).sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [1, 1])


def test_a_backward_that_gives_another_type_is_named(make_op):
    op = make_op("drifting", lambda x: (x * 2, ()), lambda gy, saved: (gy.astype(np.float64) * 2,))
    said = r"the backward of drifting gave a float64 gradient .* for input 0, which is float32"
    with pytest.raises(RuntimeError, match=said):
        op(leaf(1.0, dtype=np.float32)).sum().backward()
    # at the op itself, not where the gradient arrives at last
    with pytest.raises(RuntimeError, match=said):
        op(leaf(1.0, dtype=np.float32) * 3).sum().backward()


def test_settings_that_are_numpy_numbers_do_not_change_the_type():
    x = leaf(*range(12), dtype=np.float32)
    maps, logits, two = x.reshape(1, 3, 2, 2), x.reshape(2, 6), np.float64(0.5)
    for y in (
        ops.local_response_norm(maps, size=np.int64(3), alpha=two, beta=two, k=two),
        ops.cross_entropy(logits, [0, 1], label_smoothing=two),
        ops.dropout(x, two, seed=0, offset=0),
    ):
        assert y.dtype == np.float32
        y.sum().backward()
        assert x.grad.dtype == np.float32


# What a Tensor holds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.array([None, "a"], object),
        np.array(["a"]),
        np.array([b"a"]),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([1], "m8[s]"),
        np.ones(2, np.complex64),
        np.zeros(2, [("a", "f4")]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_that_hold_no_numbers_are_refused(array):
    for data in (array, array[-1]):
        with pytest.raises(TypeError, match="a Tensor holds numbers, not"):
            Tensor(data)
    with pytest.raises(TypeError, match="a Tensor holds numbers, not"):
        Tensor([1.0]) * array
    if array.dtype.kind in "cOU":
        with pytest.raises(TypeError, match="a Tensor holds numbers, not"):
            Tensor([1.0]).astype(array.dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8, bool])
def test_arrays_that_hold_numbers_are_taken_as_they_are(dtype):
    array = np.ones(2, dtype)
    assert Tensor(array).data is array


def test_a_masked_array_is_refused():
    with pytest.raises(TypeError, match=r"no mask: fill in the masked array with .filled"):
        Tensor(np.ma.array([1.0, 2.0], mask=[True, False]))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_a_matrix_is_multiplied_element_by_element_too():
    matrix = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    x = Tensor(matrix)
    assert (x * x).data.tolist() == [[1, 4], [9, 16]]
    assert np.shares_memory(x.data, matrix)
