"""The gradient of an index that repeats elements."""

import sys

import numpy as np
import pytest

from minialex import Tensor, arrays
from minialex.autograd import OPS
from minialex.ops import _scatter
from tests.device_double import make_cupy

pytestmark = pytest.mark.usefixtures("poisoned_memory")

RNG = np.random.default_rng(5)
GETITEM = OPS["getitem"].implementations["plain"]
MASK = np.array([True, False, True, True])

INDICES = {
    "rows": (np.array([3, 0, 3, -1, 3]),),
    "rows, a list": ([1, 1, -4],),
    "a mask": (MASK,),
    "a mask, a list": (MASK.tolist(),),
    "a mask of two axes": (RNG.random((4, 5)) < 0.5,),
    "a mask of the middle axes": (slice(None), RNG.random((5, 6)) < 0.5),
    "a mask between arrays": (np.array([[1], [0], [1]]), np.array([1, 0, 0, 0, 1]) > 0),
    "arrays in pairs": (np.array([1, 1, 2]), np.array([0, 0, 4])),
    "arrays across": (np.array([[1], [3], [1]]), np.array([0, 4, 0, 0])),
    "arrays around a slice": (np.array([1, 1]), slice(None, None, 2), np.array([5, 5])),
    "arrays around a new axis": (np.array([1, 1]), None, np.array([2, 2])),
    "dots between arrays": (np.array([1, 1]), ..., np.array([5, 5])),
    "dots of no axis": (np.array([1, 1]), 0, 2, ...),
    "an array behind a slice": (slice(1, 3), np.array([[4, 4], [0, 4]])),
    "a number of NumPy's": (np.int64(2), np.array([3, 3])),
    "an array of no axis": (np.array(2), np.array([3, 3])),
    "true": (True, np.array([3, 3])),
    "false": (False, np.array([3])),
    "small and unsigned numbers": (np.array([3, 3], np.uint8),),
    "nothing": (np.array([], int),),
    "many of one": (np.zeros(3001, int), 2, 3),
    "many of few": (RNG.integers(0, 4, 2000), RNG.integers(0, 5, 2000)),
}


@pytest.fixture(params=["NumPy", "stand-in for CuPy"])
def put(request, monkeypatch):
    """Return a function that makes NumPy arrays those of a module, and leaves all else."""
    if request.param == "NumPy":
        return lambda value: value
    cupy = make_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return lambda value: cupy.asarray(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", INDICES)
def test_each_element_gets_the_sum_of_all_that_index_it(name, dtype, put):
    index, x = INDICES[name], np.zeros((4, 5, 6), dtype)
    gy = np.random.default_rng(6).standard_normal(x[index].shape).astype(dtype)
    want = np.zeros(x.shape)
    np.add.at(want, index, gy.astype(np.float64))
    (got,) = GETITEM.backward(put(gy), (x.shape,), index=tuple(map(put, index)))
    got = arrays.to_numpy(got)
    assert (got.shape, got.dtype) == (x.shape, x.dtype)
    np.testing.assert_allclose(got, want, rtol=0, atol=2000 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0,), (3, 0, 2)])
def test_arrays_without_elements(shape, put):
    index = np.zeros(2 if shape[0] else 0, int)
    gy = np.ones((len(index), *shape[1:]))
    (got,) = GETITEM.backward(put(gy), (shape,), index=(put(index),))
    assert got.shape == shape


def test_a_gradient_in_any_layout():
    index = (np.array([1, 0, 1]), slice(None), np.array([2, 2, 2]))
    gy = np.arange(15.0).reshape(5, 3).T
    (got,) = GETITEM.backward(gy, ((2, 5, 4),), index=index)
    np.testing.assert_array_equal(got[1, :, 2], gy[0] + gy[2])


def test_rows_are_added_in_pairs_and_not_one_by_one():
    big, rows = np.float32(2**24), np.ones((4, 1), np.float32)
    rows[0] = big
    targets, sums = _scatter.segment_sums(np.array([7, 7, 7, 7]), rows)
    # one by one, each 1 would be lost against 2^24
    assert (targets.tolist(), sums.tolist()) == ([7], [[big + 2]])


def test_the_example_of_the_docstring():
    a, b, c, d, e, f = letters = 10.0 ** np.arange(6)
    targets, sums = _scatter.segment_sums(np.array([7, 2, 7, 7, 2, 7]), letters[:, None])
    assert targets.tolist() == [2, 7]
    assert sums.ravel().tolist() == [b + e, (a + c) + (d + f)]


def test_what_is_given_is_not_written_to():
    index, gy = np.array([1, 1, 0]), np.ones((3, 2))
    GETITEM.backward(gy, ((2, 2),), index=(index,))
    assert index.tolist() == [1, 1, 0]
    assert (gy == 1).all()


def test_through_a_tensor():
    x = Tensor(np.zeros((3, 2)), requires_grad=True)
    x[[2, 0, 2]].sum().backward()
    np.testing.assert_array_equal(x.grad, [[1, 1], [0, 0], [2, 2]])


@pytest.mark.gpu
def test_on_a_gpu_the_same_bits_in_every_run():
    cupy, rng = pytest.importorskip("cupy"), np.random.default_rng(7)
    index = (cupy.asarray(rng.integers(0, 5, 100_000)),)
    gy = cupy.asarray(rng.standard_normal((100_000, 7)).astype(np.float32))
    first, *others = (GETITEM.backward(gy, ((5, 7),), index=index)[0].get() for _ in range(5))
    for other in others:
        np.testing.assert_array_equal(first, other)
