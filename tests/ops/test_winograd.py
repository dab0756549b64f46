"""conv2d with fewer multiplications: when it is taken, that it agrees, and how far it rounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minialex.autograd import OPS
from minialex.ops.conv2d import winograd
from minialex.ops.conv2d.shape import ConvShape
from minialex.ops.conv2d.tiles import POINTS, interpolation, powers
from minialex.ops.conv2d.winograd import best_tile, saves_a_third

BLOCKED = OPS["conv2d"].implementations["blocked"]
WINOGRAD = OPS["conv2d"].implementations["winograd"]
AUTO = OPS["conv2d"].implementations["auto"]
ONE = {"stride": (1, 1), "dilation": (1, 1)}


def shape(H, W, KH, KW, padding=(0, 0), stride=(1, 1), dilation=(1, 1), N=32, C=256, O=256):
    x, w = (np.broadcast_to(np.float32(0), s) for s in ((N, C, H, W), (O, C, KH, KW)))
    return ConvShape.of(x, w, stride=stride, padding=padding, dilation=dilation, groups=1)


def everything(implementation, x, w, b, gy, **params):
    y, saved = implementation.forward(x, w, b, **params)
    return y, *implementation.backward(gy, saved, **params)


@pytest.mark.parametrize("T", POINTS)
def test_interpolation_undoes_evaluation(T):
    points = POINTS[T]
    np.testing.assert_allclose(interpolation(points) @ powers(points, T), np.eye(T), atol=1e-13)
    np.testing.assert_array_equal(powers(points, 3)[1], [1, points[1], points[1] ** 2])
    np.testing.assert_array_equal(powers(points, 3)[-1], [0, 0, 1])


@pytest.mark.parametrize(("T", "taps"), [(T, taps) for T in POINTS for taps in range(2, T)])
def test_a_tile_along_one_axis(normal, T, taps):
    points, x, w = POINTS[T], normal(T), normal(taps)
    y = powers(points, T + 1 - taps).T @ (
        (powers(points, taps) @ w) * (interpolation(points).T @ x)
    )
    np.testing.assert_allclose(y, np.correlate(x, w), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("case", "T"),
    [
        # 2 x 2 tiles of either size: of 4 x 4 outputs, which take fewer multiplications, or 5 x 5
        (shape(7, 7, 3, 3, (1, 1)), 6),
        # 4 x 4 tiles of 4 x 4 outputs, or 3 x 3 of 5 x 5
        (shape(13, 13, 3, 3, (1, 1)), 7),
        (shape(27, 27, 5, 5, (2, 2)), 7),
    ],
)
def test_the_size_of_a_tile_goes_by_the_multiplications(case, T):
    assert best_tile(case) == T


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (shape(13, 13, 3, 3, (1, 1)), True),
        (shape(27, 27, 5, 5, (2, 2)), True),
        (shape(13, 13, 3, 3, (1, 1), stride=(1, 2)), False),
        (shape(13, 13, 3, 3, (1, 1), dilation=(2, 1)), False),
        (shape(13, 13, 1, 1), False),
        (shape(13, 13, 7, 7, (3, 3)), False),
        (shape(13, 13, 11, 11, (5, 5)), False),
        # a tile of 49 multiplications for the 4 outputs of 9 that there are
        (shape(4, 4, 3, 3), False),
        (shape(5, 5, 3, 3), False),
        (shape(7, 7, 3, 3), True),
        # filters are transformed once, however few images there are
        (shape(13, 13, 3, 3, (1, 1), N=1), False),
        (shape(13, 13, 3, 3, (1, 1), N=8), True),
        # transforms take as long for few channels as for many
        (shape(13, 13, 3, 3, (1, 1), C=16), False),
        (shape(13, 13, 3, 3, (1, 1), O=16), False),
        (shape(13, 13, 3, 3, (1, 1), N=0), False),
    ],
)
def test_auto_takes_it_where_it_saves_a_third(case, expected):
    assert saves_a_third(case) is expected


@pytest.mark.equal_bits
@pytest.mark.parametrize(("C", "taken"), [(256, WINOGRAD), (4, BLOCKED)])
def test_auto_does_as_the_one_it_takes(normal, C, taken):
    arrays = normal(8, C, 13, 13), normal(C, C, 3, 3), normal(C), normal(8, C, 13, 13)
    params = ONE | {"padding": (1, 1), "groups": 1}
    others = {BLOCKED, WINOGRAD} - {taken}
    tried, same, other = (everything(one, *arrays, **params) for one in (AUTO, taken, *others))
    assert [a.tobytes() for a in tried] == [a.tobytes() for a in same]
    assert tried[0].tobytes() != other[0].tobytes()


@pytest.mark.equal_bits
def test_what_cannot_be_done_by_tiles_is_computed_as_blocked_does(normal):
    arrays = normal(2, 3, 9, 9), normal(4, 3, 3, 3), normal(4), normal(2, 4, 5, 5)
    params = {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    for a, b in zip(
        everything(WINOGRAD, *arrays, **params), everything(BLOCKED, *arrays, **params), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@given(data=st.data())
@settings(max_examples=50)
def test_it_agrees_with_blocked(data):
    def draw(low, high):
        return data.draw(st.integers(low, high))

    groups, KH, KW = draw(1, 2), draw(2, 6), draw(2, 6)
    N, C, O = draw(0, 3), draw(1, 3), draw(1, 3)
    padding = draw(0, 3), draw(0, 3)
    H = draw(max(1, KH - 2 * padding[0]), 17)
    W = draw(max(1, KW - 2 * padding[1]), 17)
    rng = np.random.default_rng(draw(0, 99))
    x, w = rng.standard_normal((N, groups * C, H, W)), rng.standard_normal((groups * O, C, KH, KW))
    params = ONE | {"padding": padding, "groups": groups}
    b = rng.standard_normal(groups * O)
    gy = rng.standard_normal(BLOCKED.forward(x, w, **params)[0].shape)
    tried = everything(WINOGRAD, x, w, b, gy, **params)
    for a, c in zip(tried, everything(BLOCKED, x, w, b, gy, **params), strict=True):
        np.testing.assert_allclose(a, c, rtol=0, atol=1e-11 * max(1, np.abs(c).max(initial=0)))


def test_parts_that_lie_in_the_padding_alone(normal):
    arrays = normal(2, 3, 4, 4), normal(2, 3, 3, 3), normal(2), normal(2, 2, 82, 6)
    params = ONE | {"padding": (40, 2), "groups": 1}
    for a, b in zip(
        everything(WINOGRAD, *arrays, **params), everything(BLOCKED, *arrays, **params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max())


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("block_bytes", [1, 40_000, 1 << 30])
def test_images_in_blocks_of_any_size_on_any_number_of_cores(
    cores, normal, monkeypatch, block_bytes, number
):
    cores(number)
    # blocks of one image, of one or two, and of all that a worker has
    monkeypatch.setattr(winograd, "MIN_BLOCK_BYTES", block_bytes)
    arrays = normal(7, 4, 9, 10), normal(6, 2, 3, 3), normal(6), normal(7, 6, 9, 10)
    params = ONE | {"padding": (1, 1), "groups": 2}
    for a, b in zip(
        everything(WINOGRAD, *arrays, **params), everything(BLOCKED, *arrays, **params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max())


@pytest.mark.parametrize("number", [1, 2, 3, 9])
def test_sections_of_one_image_are_shared_between_workers(cores, normal, number):
    cores(number)
    arrays = normal(1, 4, 40, 30), normal(6, 2, 3, 3), normal(6), normal(1, 6, 40, 30)
    params = ONE | {"padding": (1, 1), "groups": 2}
    for a, b in zip(
        everything(WINOGRAD, *arrays, **params), everything(BLOCKED, *arrays, **params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max())


@pytest.mark.equal_bits
def test_the_same_from_run_to_run(cores, normal):
    cores(2)
    shapes = [(5, 16, 13, 13), (24, 16, 3, 3), (24,), (5, 24, 13, 13)]
    arrays = [normal(*shape, dtype="float32") for shape in shapes]
    params = ONE | {"padding": (1, 1), "groups": 1}
    first = [a.tobytes() for a in everything(WINOGRAD, *arrays, **params)]
    for _ in range(5):
        assert [a.tobytes() for a in everything(WINOGRAD, *arrays, **params)] == first


@pytest.mark.parametrize(("C", "O", "size", "taps"), [(192, 96, 13, 3), (64, 48, 27, 5)])
def test_it_rounds_as_little_as_its_docstring_says(normal, C, O, size, taps):
    x = np.maximum(normal(4, C, size, size), 0)
    w, b = normal(O, C, taps, taps), normal(O)
    gy = normal(4, O, size, size)
    params = ONE | {"padding": (taps // 2, taps // 2), "groups": 1}
    exact = everything(BLOCKED, x, w, b, gy, **params)
    single = [a.astype("float32") for a in (x, w, b, gy)]
    for a, c in zip(everything(WINOGRAD, *single, **params)[:3], exact, strict=False):
        error = np.sqrt(((a - c) ** 2).mean() / (c**2).mean())
        assert error < 5e-6


def rounding_of_tiles(points):
    """Return the root mean square error of a 3 x 3 filter in float32, beside the output's."""
    T, rng = len(points) + 1, np.random.default_rng(0)
    filters, tiles = rng.standard_normal((9, 2000)), rng.standard_normal((T * T, 2000))
    along_one_axis = powers(points, T - 2), powers(points, 3), interpolation(points)
    A, G, B = (np.kron(one, one) for one in along_one_axis)

    def outputs(kind):
        a, g, b, w, x = (m.astype(kind) for m in (A, G, B, filters, tiles))
        return a.T @ ((g @ w) * (b.T @ x))

    exact = outputs("float64")
    return np.sqrt(((outputs("float32") - exact) ** 2).mean() / (exact**2).mean())


@pytest.mark.parametrize(("T", "moved"), [(T, i) for T in POINTS for i in range(T - 1)])
@pytest.mark.parametrize("by", [-0.125, 0.125])
def test_no_point_nearby_rounds_less(T, moved, by):
    others = POINTS[T].copy()
    others[moved] += by
    here, there = map(rounding_of_tiles, (POINTS[T], others))
    assert here < 0.98 * there


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_spoils_its_part_of_the_image_and_no_more(normal, bad):
    x, w, b, gy = normal(9, 3, 30, 17), normal(4, 3, 3, 3), normal(4), normal(9, 4, 30, 17)
    params = ONE | {"padding": (1, 1), "groups": 1}
    x[2, 1, 3, 8] = bad
    with np.errstate(invalid="ignore"):
        (y, gx, *_), (right, right_gx, *_) = (
            everything(one, x, w, b, gy, **params) for one in (WINOGRAD, BLOCKED)
        )
    assert not np.isfinite(y[~np.isfinite(right)]).any()
    # 6 tiles of 5 rows of outputs are two parts, and the other sees no pixel above row 14
    near = np.zeros(y.shape, bool)
    near[2, :, :15] = True
    np.testing.assert_array_equal(np.isfinite(y), ~near)
    np.testing.assert_allclose(y[~near], right[~near], rtol=0, atol=1e-11)
    np.testing.assert_allclose(gx, right_gx, rtol=0, atol=1e-11)


@pytest.mark.equal_bits
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_frozen_layer_gets_no_gradient(normal, dtype):
    shapes = (9, 3, 10, 10), (4, 3, 3, 3), (4,), (9, 4, 10, 10)
    x, w, b, gy = (normal(*shape, dtype=dtype) for shape in shapes)
    params = ONE | {"padding": (1, 1), "groups": 1}
    _, saved = WINOGRAD.forward(x, w, b, **params)
    whole = WINOGRAD.backward(gy, saved, **params)
    for i in range(3):
        needs = tuple(j == i for j in range(3))
        some = WINOGRAD.backward(gy, saved, needs=needs, **params)
        assert [g is not None for g in some] == list(needs)
        np.testing.assert_array_equal(some[i], whole[i])
