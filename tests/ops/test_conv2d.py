"""What the conformance suite does not ask of convolution."""

import tracemalloc

import numpy as np
import pytest

from minialex import Tensor, nn, ops, reference
from minialex.autograd import OPS
from minialex.cpu import memory, threads
from minialex.ops.conv2d import patches as patches_module
from minialex.ops.conv2d.blocked import (
    backward,
    data_gradient_by_rows,
    data_gradient_col2im,
    forward,
)
from minialex.ops.conv2d.shape import ConvShape

SAME = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


def everything(x, w, b, gy, **params):
    y, saved = forward(x, w, b, **params)
    return y, *backward(gy, saved, **params)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [(2, 1), (1, 2)])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("block_bytes", [1, 3000, 1 << 30])
def test_images_in_blocks_of_any_size_on_any_number_of_cores(
    cores, normal, monkeypatch, block_bytes, number, stride, groups
):
    cores(number)
    monkeypatch.setattr(patches_module, "BLOCK_BYTES", block_bytes)
    params = {"stride": stride, "padding": (1, 2), "dilation": (1, 2), "groups": groups}
    x, w, b = normal(7, 4, 6, 5), normal(6, 4 // groups, 3, 2), normal(6)
    y, saved = forward(x, w, b, **params)
    np.testing.assert_allclose(y, reference.conv2d(x, w, b, **params), rtol=1e-12, atol=1e-12)
    # y is linear in each argument: <y(u), gy> = <u, gradient>
    gy = normal(*y.shape)
    gx, gw, gb = backward(gy, saved, **params)
    without_bias = forward(x, w, **params)[0]
    np.testing.assert_allclose((gx * x).sum(), (without_bias * gy).sum())
    np.testing.assert_allclose((gw * w).sum(), (without_bias * gy).sum())
    np.testing.assert_allclose((gb * b).sum(), ((y - without_bias) * gy).sum())


@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (4, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
@pytest.mark.parametrize(("C", "O"), [(4, 4), (6, 2)])
def test_both_ways_to_the_data_gradient_agree(normal, stride, padding, dilation, C, O):
    x, w = normal(3, C, 9, 10), normal(O, C // 2, 3, 4)
    s = ConvShape.of(x, w, stride=stride, padding=padding, dilation=dilation, groups=2)
    gy = normal(3, O, s.OH, s.OW)
    rows, patches = np.full_like(x, np.nan), np.full_like(x, np.nan)
    data_gradient_by_rows(gy, w, s, rows)
    data_gradient_col2im(gy, w, s, patches)
    np.testing.assert_allclose(rows, patches, rtol=1e-11, atol=1e-11)


@pytest.mark.equal_bits
@pytest.mark.parametrize("number", [1, 2])
def test_the_same_from_run_to_run(cores, normal, number):
    cores(number)
    x, w, b, gy = (
        normal(*shape, dtype="float32")
        for shape in [(5, 16, 13, 13), (24, 16, 3, 3), (24,), (5, 24, 13, 13)]
    )
    first = [a.tobytes() for a in everything(x, w, b, gy, **SAME)]
    for _ in range(5):
        assert [a.tobytes() for a in everything(x, w, b, gy, **SAME)] == first


def test_one_core_and_two_agree(cores, normal):
    shapes = [(5, 16, 13, 13), (24, 16, 3, 3), (24,), (5, 24, 13, 13)]
    arrays = [normal(*shape) for shape in shapes]
    cores(1)
    one = everything(*arrays, **SAME)
    cores(2)
    for a, b in zip(one, everything(*arrays, **SAME), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_temporary_memory_is_far_below_the_patches_of_a_batch(cores, normal, monkeypatch):
    cores(2)
    # the tracer does not see arrays of the pool
    monkeypatch.setattr(memory, "MIN_POOLED_BYTES", float("inf"))
    x, w = normal(24, 64, 27, 27, dtype="float32"), normal(8, 64, 5, 5, dtype="float32")
    params = SAME | {"padding": (2, 2)}
    gy = normal(24, 8, 27, 27, dtype="float32")
    gw = np.empty_like(w)
    whole = gy[:, 0].size * w[0].nbytes
    assert whole > 100 << 20
    for pass_ in (
        lambda: forward(x, w, **params),
        lambda: backward(gy, (x, w), needs=(True, False, False), **params),
        lambda: backward(gy, (x, w), needs=(False, True, False), out=(None, gw, None), **params),
    ):
        tracemalloc.start()
        pass_()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < whole / 4


@pytest.mark.equal_bits
def test_a_gradient_may_be_written_to_any_kind_of_array(normal):
    x, w, b, gy = normal(2, 3, 5, 5), normal(4, 3, 3, 3), normal(4), normal(2, 4, 5, 5)
    buffers = [np.full((*a.shape, 2), np.nan)[..., 0] for a in (x, w, b)]
    alone = backward(gy, (x, w), **SAME)
    given = backward(gy, (x, w), **SAME, out=tuple(buffers))
    for buffer, a, c in zip(buffers, given, alone, strict=True):
        assert a is buffer
        np.testing.assert_array_equal(a, c)


@pytest.mark.equal_bits
@pytest.mark.parametrize("name", ["blocked", "winograd"])
@pytest.mark.parametrize("size", [3, 6])
def test_images_have_their_channels_last_in_memory(normal, name, size):
    x, w, one = normal(1, 3, size, size), normal(50, 3, 3, 3), OPS["conv2d"].implementations[name]
    y, saved = one.forward(x, w, **SAME)
    gx = one.backward(normal(*y.shape), saved, **SAME)[0]
    for images in (y, gx):
        assert images.transpose(0, 2, 3, 1).flags.c_contiguous


X, W = (2, 4, 6, 6), (6, 4, 3, 3)


@pytest.mark.parametrize(
    ("x", "w", "b", "params", "error", "words"),
    [
        ((4, 6, 6), W, None, {}, ValueError, "x must have the shape .* give x.reshape"),
        ((2, 24), W, None, {}, ValueError, r"x must have the shape \(N, C, H, W\), not \(2, 24\)$"),
        (X, (6, 4, 3), None, {}, ValueError, r"w must have the shape \(O, C / groups, KH, KW\)"),
        (X, (0, 4, 3, 3), None, {}, ValueError, "w must have the shape"),
        (X, (6, 3, 3, 3), None, {}, ValueError, "has 4 channels, but w .* takes 3"),
        (X, (6, 4, 3, 3), None, {"groups": 2}, ValueError, "with groups=2 takes 8"),
        (X, W, None, {"groups": 3}, ValueError, "groups is 3; it must divide the 4 channels"),
        (X, W, None, {"groups": 0}, ValueError, "groups is 0"),
        (X, W, None, {"groups": 1.0}, TypeError, "groups is 1.0; give a whole number"),
        (X, W, (5,), {}, ValueError, r"b must have the shape \(6,\)"),
        (X, W, None, {"stride": 0}, ValueError, "stride is 0; it must be 1 or more"),
        (X, W, None, {"stride": (1, 2, 3)}, TypeError, r"stride is \(1, 2, 3\); give a whole"),
        (X, W, None, {"stride": 1.5}, TypeError, "stride is 1.5; give a whole number"),
        (X, W, None, {"padding": -1}, ValueError, "padding is -1; it must be 0 or more"),
        (X, W, None, {"padding": "full"}, TypeError, "padding is 'full'; give a whole number"),
        (X, W, None, {"dilation": (1, 0)}, ValueError, r"dilation is \(1, 0\); it must be 1"),
        (X, (6, 4, 9, 3), None, {"padding": 1}, ValueError, r"\(9, 3\) does not fit .* \(8, 8\)"),
        (X, W, None, {"dilation": 3}, ValueError, r"window of \(7, 7\) does not fit"),
    ],
)
def test_wrong_arguments(x, w, b, params, error, words):
    arrays = [None if shape is None else np.zeros(shape, np.float32) for shape in (x, w, b)]
    with pytest.raises(error, match=f"^conv2d: .*{words}"):
        ops.conv2d(*arrays, **params)


def test_whole_numbers_are_no_images():
    with pytest.raises(TypeError, match=r"^conv2d: x is uint8; convert it to float32"):
        ops.conv2d(np.zeros(X, np.uint8), np.zeros(W, np.float32))


@pytest.mark.parametrize("kernel", [(3, 3), (2, 3), (4, 1)])
@pytest.mark.parametrize("dilation", [(1, 1), (3, 2)])
def test_same_padding_gives_outputs_of_the_size_of_the_images(normal, kernel, dilation):
    x, w = normal(2, 4, 7, 5), normal(2, 2, *kernel)
    zeros = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    padded = np.pad(x, ((0, 0), (0, 0), *((n // 2, n - n // 2) for n in zeros)))
    params = {"dilation": dilation, "groups": 2}
    want = reference.conv2d(padded, w, stride=(1, 1), padding=(0, 0), **params)
    y = ops.conv2d(x, w, None, 1, "same", dilation, 2)
    assert y.shape[2:] == x.shape[2:]
    np.testing.assert_allclose(y.data, want, rtol=1e-12, atol=1e-12)
    layer = nn.Conv2d(4, 2, kernel, padding="same", dilation=dilation, groups=2)
    assert layer(Tensor(x.astype(np.float32))).shape == want.shape
    assert "padding=same" in repr(layer)


def test_valid_padding_is_none(normal):
    x, w = normal(2, 3, 7, 5), normal(2, 3, 3, 2)
    y, want = ops.conv2d(x, w, stride=2, padding="valid"), ops.conv2d(x, w, stride=2)
    np.testing.assert_array_equal(y.data, want.data)


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"padding": "same", "stride": (1, 2)}, ValueError, r"stride of 1 alone, not \(1, 2\)"),
        ({"padding": "full"}, TypeError, "is 'full'; give a whole number.*, or \"same\" or"),
    ],
)
def test_wrong_words_for_padding(normal, params, error, words):
    with pytest.raises(error, match=f"^conv2d: padding.*{words}"):
        ops.conv2d(normal(1, 3, 4, 4), normal(2, 3, 2, 2), **params)
    with pytest.raises(error, match=f"^Conv2d: padding.*{words}"):
        nn.Conv2d(3, 2, 2, **params)


def test_types_must_be_the_same():
    with pytest.raises(TypeError, match=r"^conv2d: inputs of different types"):
        ops.conv2d(np.zeros(X, np.float32), np.zeros(W, np.float64))


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "N"),
    [
        ((1, 1), (1, 1), (1, 1), 1, 1),
        ((2, 3), (2, 0), (1, 2), 2, 2),
        ((1, 2), (0, 3), (3, 1), 1, 1),
    ],
)
def test_few_output_positions_are_convolved_as_many(
    cores, normal, number, stride, padding, dilation, groups, N
):
    cores(number)
    params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w, b = normal(N, 2 * groups, 7, 8), normal(90 * groups, 2, 3, 2), normal(90 * groups)
    for bias in (b, None):
        y, _ = forward(x, w, bias, **params)
        assert y[:, 0].size < 90
        np.testing.assert_allclose(y, reference.conv2d(x, w, bias, **params), rtol=0, atol=1e-13)


def test_rows_of_one_image_are_shared_between_workers(cores, normal):
    x, w, b = normal(1, 2, 40, 9), normal(3, 2, 3, 3), normal(3)
    params = SAME | {"padding": (1, 2)}
    for number in (1, 2, 7):
        cores(number)
        y, _ = forward(x, w, b, **params)
        np.testing.assert_allclose(y, reference.conv2d(x, w, b, **params), rtol=0, atol=1e-13)


@pytest.mark.equal_bits
@pytest.mark.parametrize("name", ["blocked", "winograd"])
def test_gradients_of_one_image_are_computed_on_a_core_each(cores, normal, monkeypatch, name):
    shared = []
    run = threads.run
    monkeypatch.setattr(
        threads, "run", lambda function, items: shared.append(list(items)) or run(function, items)
    )
    one = OPS["conv2d"].implementations[name]
    x, w, b, gy = normal(1, 4, 9, 9), normal(6, 4, 3, 3), normal(6), normal(1, 6, 9, 9)
    _, saved = one.forward(x, w, b, **SAME)
    cores(1)
    expected = one.backward(gy, saved, **SAME)
    cores(2)
    gx, _, _ = one.backward(gy, saved, **SAME, needs=(True, False, False))
    _, gw, _ = one.backward(gy, saved, **SAME, needs=(False, True, False))
    shared.clear()
    beside = one.backward(gy, saved, **SAME)
    assert [[g is None for g in wanted] for wanted in shared[0]] == [[False, True], [True, False]]
    np.testing.assert_array_equal(beside[0], gx)
    np.testing.assert_array_equal(beside[1], gw)
    for a, b in zip(expected, beside, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)
