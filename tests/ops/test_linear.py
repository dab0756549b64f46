"""What the conformance suite does not ask of linear layers."""

import numpy as np
import pytest

from minialex import ops
from minialex.ops.linear.blocked import backward, forward


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_layer_large_enough_to_be_shared_out(cores, normal, number):
    cores(number)
    x, w, b, gy = normal(2, 3, 301), normal(307, 301), normal(307), normal(2, 3, 307)
    y, saved = forward(x, w, b)
    np.testing.assert_allclose(y, np.einsum("abi,oi->abo", x, w) + b)
    gx, gw, gb = backward(gy, saved)
    np.testing.assert_allclose(gx, np.einsum("abo,oi->abi", gy, w))
    np.testing.assert_allclose(gw, np.einsum("abo,abi->oi", gy, x))
    np.testing.assert_allclose(gb, gy.sum((0, 1)))


@pytest.mark.parametrize("rows", [1, 2, 32, 33])
@pytest.mark.parametrize(("I", "O"), [(512, 384), (1000, 250), (64, 1024)])
def test_few_rows_multiply_the_weights_tile_by_tile(cores, normal, rows, I, O):
    cores(2)
    x, w, b, gy = normal(rows, I), normal(O, I), normal(O), normal(rows, O)
    y, saved = forward(x, w, b)
    np.testing.assert_allclose(y, x @ w.T + b, rtol=1e-10, atol=1e-10)
    gx, _, _ = backward(gy, saved)
    np.testing.assert_allclose(gx, gy @ w, rtol=1e-10, atol=1e-10)


@pytest.mark.equal_bits
def test_the_same_from_run_to_run(cores, normal):
    cores(2)
    x, w, gy = (normal(*s, dtype="float32") for s in [(32, 512), (300, 512), (32, 300)])

    def run():
        y, saved = forward(x, w)
        return [a.tobytes() for a in (y, *backward(gy, saved))]

    first = run()
    assert all(run() == first for _ in range(5))


@pytest.mark.parametrize(
    ("x", "w", "b", "words"),
    [
        ((2, 5), (3, 4), None, r"x of shape \(2, 5\) must end in the 4 features .* flatten x"),
        ((), (3, 4), None, "must end in the 4 features"),
        ((2, 4), (3, 4, 1), None, r"w must have the shape \(O, I\)"),
        ((2, 4), (3, 4), (4,), r"b must have the shape \(3,\)"),
    ],
)
def test_wrong_shapes(x, w, b, words):
    arrays = [None if shape is None else np.zeros(shape, np.float32) for shape in (x, w, b)]
    with pytest.raises(ValueError, match=f"^linear: .*{words}"):
        ops.linear(*arrays)


def test_whole_numbers_are_no_features():
    with pytest.raises(TypeError, match=r"^linear: x is int64; convert it to float32"):
        ops.linear(np.zeros((2, 4), np.int64), np.zeros((3, 4), np.float32))
