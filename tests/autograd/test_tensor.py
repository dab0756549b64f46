"""Tensors: operators, properties, and other libraries' arrays."""

import inspect
import threading

import numpy as np
import pytest

import minialex
from minialex import Tensor, ops
from minialex.autograd.operators import FUNCTIONS
from tests.autograd.leaves import Foreign, close, leaf, number

# Operators --------------------------------------------------------------------------------------

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
    assert y.dtype == np.float32
    assert y.data.tolist() == [0.5, 1]


def test_indexing_and_methods():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert x[1, 2].item() == 5
    assert x[:, 1].shape == (2,)
    assert x.T.shape == (3, 2)
    assert x.reshape(3, -1).shape == (3, 2)
    assert x.flatten().shape == (6,)
    assert Tensor(np.ones((2, 3, 4, 5))).flatten(1, 2).shape == (2, 12, 5)
    assert Tensor(np.float64(3)).flatten().shape == (1,)
    with pytest.raises(ValueError, match="flatten: end_dim 0 is before start_dim 1"):
        x.flatten(1, 0)
    assert x.sum(0).shape == (3,)
    assert x.mean().item() == 2.5
    assert x.max(1, True).data.tolist() == [[2], [5]]
    x[0].sum().backward()
    assert x.grad.tolist() == [[1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if hasattr(Tensor, n) and hasattr(ops, n)])
def test_methods_have_the_arguments_and_defaults_of_the_functions(name):
    def arguments(function):
        _, *others = inspect.signature(function).parameters.values()
        return [(one.name, one.default) for one in others]

    assert arguments(getattr(Tensor, name)) == arguments(getattr(ops, name))


def test_a_softmax_goes_along_the_last_axis():
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 4)))
    close(x.softmax().data.sum(2), np.ones((2, 3)))
    close(np.exp(x.log_softmax().data).sum(2), np.ones((2, 3)))


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


# Tensors ----------------------------------------------------------------------------------------


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
def test_only_floats_require_a_gradient(dtype):
    with pytest.raises(TypeError, match="float32, float64 and bfloat16 can require a gradient"):
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


# Other libraries --------------------------------------------------------------------------------


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


def test_dlpack_to_and_from_torch(torch):
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


@pytest.mark.parametrize("value", [[1.0, 2.0], 3.0, None, Tensor([1.0])], ids=type)
def test_data_is_an_array(value):
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match=f"^data must be .* array, not {type(value).__name__}$"):
        x.data = value
    with pytest.raises(TypeError, match="a Tensor holds numbers"):
        x.data = np.array(["a"])
    with pytest.raises(TypeError, match=r"^only float32, .* require a gradient, not int"):
        x.data = np.array([1, 2])
    assert x.data.tolist() == [1, 2]


def test_data_of_no_axes_stays_an_array():
    x = leaf(3.0).sum().detach()
    x.data = x.data * 2
    assert (type(x.data), x.item()) == (np.ndarray, 6)


@pytest.mark.parametrize("value", ["x", 1, None])
def test_requires_grad_is_true_or_false(value):
    x = leaf(1.0)
    for ask in (x.requires_grad_, lambda v: Tensor([1.0], requires_grad=v)):
        with pytest.raises(TypeError, match=f"^Tensor: requires_grad is {value!r}; give True or"):
            ask(value)
    assert x.requires_grad


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([1.0, 2.0], TypeError, "grad must be a numpy array, not list"),
        (Tensor([1.0, 2.0]), TypeError, "grad must be a numpy array, not Tensor"),
        (np.ones(2, np.float32), TypeError, "grad must be float64, not float32"),
        (np.ones(3), ValueError, r"grad must have the shape \(2,\), not \(3,\)"),
    ],
    ids=["list", "Tensor", "float32", "shape"],
)
def test_a_gradient_is_an_array_like_the_data(value, error, message):
    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=message):
        x.grad = value
    assert x.grad is None
