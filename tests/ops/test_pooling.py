"""What the conformance suite does not ask of pooling."""

import numpy as np
import pytest

from minialex import emulated, ops, reference
from minialex.autograd import OPS, Cost
from minialex.ops.max_pool2d import blocked, plain

BOTH_RUNGS = pytest.mark.parametrize("one", [plain, blocked], ids=["plain", "blocked"])
ALEXNET = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (0, 0), "ceil_mode": False}


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("block_bytes", [1, 400, 1 << 30])
def test_images_in_blocks_of_any_size_on_any_number_of_cores(
    cores, normal, monkeypatch, block_bytes, number
):
    cores(number)
    monkeypatch.setattr(blocked, "BLOCK_BYTES", block_bytes)
    params = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "ceil_mode": False}
    x = normal(7, 2, 6, 5)
    y, saved = blocked.forward(x, **params)
    np.testing.assert_array_equal(y, reference.max_pool2d(x, **params))
    # a maximum is as large as what it was taken from: <y, gy> = <x, gx>
    gy = normal(*y.shape)
    (gx,) = blocked.backward(gy, saved, **params)
    np.testing.assert_allclose((gx * x).sum(), (gy * y).sum())


@pytest.mark.parametrize("seed", range(40))
def test_maxima_without_an_index_are_the_same(cores, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    draw = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    cores(draw(1, 3))
    monkeypatch.setattr(blocked, "BLOCK_BYTES", draw(1, 2000))
    kernel = draw(1, 4), draw(1, 4)
    params = {
        "kernel_size": kernel,
        "stride": (draw(1, 4), draw(1, 4)),
        "padding": tuple(draw(0, k // 2) for k in kernel),
        "ceil_mode": bool(draw(0, 1)),
    }
    x = rng.standard_normal((draw(1, 5), draw(1, 3), draw(4, 9), draw(4, 9)))
    for value in (np.nan, np.inf, -np.inf):
        x[rng.random(x.shape) < 0.1 * draw(0, 1)] = value
    if draw(0, 1):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y, saved = blocked.forward(x, **params, keep=False)
    assert saved == ()
    np.testing.assert_array_equal(y, reference.max_pool2d(x, **params))
    np.testing.assert_array_equal(y, blocked.forward(x, **params)[0])


@BOTH_RUNGS
def test_the_argmax_is_of_the_smallest_type(one, normal):
    for kernel, expected in [((3, 3), "uint8"), ((16, 16), "uint8"), ((16, 17), "uint16")]:
        x = normal(1, 2, 40, 40)
        params = {"kernel_size": kernel, "stride": (3, 3), "padding": (0, 0), "ceil_mode": False}
        y, (argmax, shape) = one.forward(x, **params)
        assert argmax.dtype == expected
        assert shape == x.shape
        kh, kw = np.divmod(argmax.astype(int), kernel[1])
        rows = np.arange(y.shape[2])[:, None] * 3 + kh
        columns = np.arange(y.shape[3]) * 3 + kw
        np.testing.assert_array_equal(
            np.take_along_axis(
                x.reshape(1, 2, -1), (rows * 40 + columns).reshape(1, 2, -1), 2
            ).reshape(y.shape),
            y,
        )
        (gx,) = one.backward(np.ones_like(y), (argmax, shape), **params)
        assert gx.sum() == y.size


@BOTH_RUNGS
def test_equals_go_to_the_first(one):
    _, (argmax, _) = one.forward(np.zeros((1, 1, 7, 7)), **ALEXNET)
    assert not argmax.any()


@BOTH_RUNGS
def test_a_window_of_minus_infinity_goes_to_its_first_pixel_not_to_the_padding(one):
    x = np.full((1, 1, 3, 3), -np.inf)
    params = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil_mode": False}
    y, saved = one.forward(x, **params)
    assert (y == -np.inf).all()
    (gx,) = one.backward(np.array([[[[1.0, 2], [4, 8]]]]), saved, **params)
    np.testing.assert_array_equal(gx[0, 0], [[1, 2, 0], [4, 8, 0], [0, 0, 0]])


@pytest.mark.parametrize("kernel", [(15, 17), (16, 16), (16, 17)])
def test_indices_of_large_windows_of_minus_infinity_do_not_overflow(kernel):
    params = {"kernel_size": kernel, "stride": (2, 3), "padding": (7, 8), "ceil_mode": True}
    x = np.full((1, 2, 19, 23), -np.inf)
    x[0, 1] = np.random.default_rng(0).standard_normal((19, 23))
    _, (expected, _) = plain.forward(x, **params)
    _, (argmax, _) = blocked.forward(x, **params)
    np.testing.assert_array_equal(argmax, expected)


@BOTH_RUNGS
def test_nan_is_larger_than_all_and_the_gradient_goes_to_the_last_of_them(one):
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 0, 1] = x[0, 0, 1, 2] = np.nan
    x[0, 0, 2, 2] = np.inf
    y, saved = one.forward(x, **ALEXNET)
    assert np.isnan(y).all()
    (gx,) = one.backward(np.full((1, 1, 1, 1), 5.0), saved, **ALEXNET)
    np.testing.assert_array_equal(gx[0, 0], [[0, 0, 0], [0, 0, 5], [0, 0, 0]])


@BOTH_RUNGS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_gradient_that_is_not_finite_goes_to_the_maximum_alone(one, normal, dtype, value):
    x = normal(2, 3, 7, 7, dtype=dtype)
    y, saved = one.forward(x, **ALEXNET)
    gy = np.full_like(y, value)
    (gx,) = one.backward(gy, saved, **ALEXNET)
    assert gx.dtype == dtype
    won = np.zeros(x.shape, bool)
    (ones,) = one.backward(np.ones_like(y), saved, **ALEXNET)
    won = ones > 0
    assert (gx[~won] == 0).all()
    np.testing.assert_array_equal(gx[won], value)


@pytest.mark.equal_bits
def test_the_same_from_run_to_run_and_for_any_number_of_cores(cores, normal):
    x, gy = normal(5, 6, 13, 13, dtype="float32"), normal(5, 6, 6, 6, dtype="float32")

    def run(number):
        cores(number)
        y, saved = blocked.forward(x, **ALEXNET)
        return [a.tobytes() for a in (y, saved[0], *blocked.backward(gy, saved, **ALEXNET))]

    first = run(1)
    assert all(run(number) == first for number in (1, 2, 2, 2, 3))


@pytest.mark.parametrize("name", OPS["adaptive_avg_pool2d"].implementations)
@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
def test_an_adaptive_average_of_single_pixels_is_a_view(name, size, normal):
    one = OPS["adaptive_avg_pool2d"].implementations[name]
    x, gy = normal(2, 3, *size).transpose(1, 0, 2, 3), normal(3, 2, *size)
    with emulated() as emulation:
        y, saved = one.forward(x, output_size=size)
        (gx,) = one.backward(gy, saved, output_size=size)
    for view, whole in ((y, x), (gx, gy)):
        assert view is not whole
        assert view.base is whole or view.base is whole.base
        np.testing.assert_array_equal(view, whole)
    assert not emulation.launches


def test_an_adaptive_average_of_single_pixels_costs_nothing():
    cost = OPS["adaptive_avg_pool2d"].cost
    assert cost([(2, 3, 4, 5)], output_size=(4, 5)) == Cost(0, 0)
    assert cost([(2, 3, 4, 5)], output_size=(4, 4)).flops == 2 * 3 * 4 * (5 + 3)


POOLS = [ops.max_pool2d, ops.avg_pool2d]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    ("shape", "params", "error", "words"),
    [
        ((4, 6, 6), {"kernel_size": 2}, ValueError, "x must have the shape .* give x.reshape"),
        ((1, 2, 6, 6), {"kernel_size": 0}, ValueError, "kernel_size is 0; it must be 1 or more"),
        ((1, 2, 6, 6), {"kernel_size": 2.0}, TypeError, "kernel_size is 2.0; give a whole"),
        ((1, 2, 6, 6), {"kernel_size": 2, "stride": (1, 0)}, ValueError, r"stride is \(1, 0\)"),
        ((1, 2, 6, 6), {"kernel_size": 3, "padding": 2}, ValueError, "at most half of kernel_size"),
        ((1, 2, 6, 6), {"kernel_size": 3, "padding": -1}, ValueError, "padding is -1"),
        ((1, 2, 6, 6), {"kernel_size": (7, 2)}, ValueError, r"\(7, 2\) does not fit .* \(6, 6\)"),
    ],
)
def test_wrong_arguments(pool, shape, params, error, words):
    with pytest.raises(error, match=f"^{pool.__name__}: .*{words}"):
        pool(np.zeros(shape, np.float32), **params)


@pytest.mark.parametrize(
    ("shape", "size", "error", "words"),
    [
        ((4, 6, 6), 2, ValueError, "x must have the shape"),
        ((1, 2, 0, 6), 2, ValueError, "holds no pixels"),
        ((1, 2, 6, 6), 0, ValueError, "output_size is 0; it must be 1 or more"),
        ((1, 2, 6, 6), (2, None), TypeError, r"output_size is \(2, None\); give a whole"),
    ],
)
def test_wrong_arguments_of_adaptive_pooling(shape, size, error, words):
    with pytest.raises(error, match=f"^adaptive_avg_pool2d: .*{words}"):
        ops.adaptive_avg_pool2d(np.zeros(shape, np.float32), size)


@pytest.mark.parametrize("pool", [*POOLS, ops.adaptive_avg_pool2d])
def test_whole_numbers_are_no_images(pool):
    size = {"output_size": 2} if pool is ops.adaptive_avg_pool2d else {"kernel_size": 2}
    with pytest.raises(TypeError, match=f"^{pool.__name__}: x is uint8; convert it"):
        pool(np.zeros((1, 2, 6, 6), np.uint8), **size)
