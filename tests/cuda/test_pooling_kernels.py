"""Kernels of pooling and local response normalisation, beyond what is asked of every op."""

import numpy as np
import pytest

from minialex import cuda
from minialex.autograd import OPS
from minialex.ops._cuda import pooling
from minialex.ops.avg_pool2d import cuda as avg_pool2d
from minialex.ops.max_pool2d import cuda as max_pool2d

POOLING = ("max_pool2d", "avg_pool2d")


def run(name, x, gy=None, **params):
    """Return y, what was saved and the gradient of the sum of y gy."""
    kernel = OPS[name].implementations["kernel"]
    with cuda.emulated("checked"):
        y, saved = kernel.forward(x, **params)
        gy = np.ones_like(y) if gy is None else gy
        return y, saved, *kernel.backward(gy, saved, **params)


def test_windows_of_more_elements_than_16_bits_number():
    x = np.random.default_rng(1).permutation(70_003).astype(float).reshape(1, 1, 1, -1)
    params = {"kernel_size": (1, 70_000), "stride": (1, 2), "padding": (0, 0), "ceil_mode": False}
    y, (argmax, _), gx = run("max_pool2d", x, gy=np.array([[[[1.0, 2.0]]]]), **params)
    views = [x[0, 0, 0, :70_000], x[0, 0, 0, 2:70_002]]
    assert argmax.dtype == np.uint32
    assert argmax.ravel().tolist() == [v.argmax() for v in views]
    assert y.ravel().tolist() == [v.max() for v in views]
    want = np.zeros(x.size)
    want[views[0].argmax()] += 1
    want[2 + views[1].argmax()] += 2
    np.testing.assert_array_equal(gx.ravel(), want)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("H", "W"), [(3, 5), (6, 14), (14, 3), (15, 8), (16, 7), (29, 4), (30, 9)])
def test_what_the_compiler_knows_of_windows_changes_no_bit(H, W, ceil_mode, monkeypatch):
    """Strips of 14 pixels or 3 outputs: images end before, with, and after one or two."""
    params = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (0, 0), "ceil_mode": ceil_mode}
    rng = np.random.default_rng(7)
    x = rng.choice([-np.inf, -1.0, 0.0, 1.0, np.nan], (2, 3, H, W), p=[0.3, 0.2, 0.2, 0.28, 0.02])
    x = x.astype(np.float32)
    sizes = pooling.PoolShape.of("max_pool2d", x.shape, **params)
    whole = H % 2 == W % 2 == 1 or not ceil_mode
    assert max_pool2d._known_window(sizes) == (3 if whole else 0)
    gy = rng.standard_normal((2, 3, sizes.OH, sizes.OW), np.float32)
    known = run("max_pool2d", x, gy=gy, **params)
    monkeypatch.setattr(max_pool2d, "_known_window", lambda s: 0)
    other = run("max_pool2d", x, gy=gy, **params)
    for a, b in ((known[0], other[0]), (known[1][0], other[1][0]), (known[2], other[2])):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("rows", [1, 3, 8, 100])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 7])
def test_any_number_of_pixels_per_thread_meets_every_window(kernel, stride, rows, monkeypatch):
    for module in (pooling, avg_pool2d):
        monkeypatch.setattr(module, "PIXELS_PER_THREAD", rows)
    params = {
        "kernel_size": (kernel, 1),
        "stride": (stride, 1),
        "padding": (kernel // 2, 0),
        "ceil_mode": False,
    }
    _, _, gx = run("avg_pool2d", np.zeros((1, 2, 23, 3)), **params, count_include_pad=True)
    windows = range(-(kernel // 2), 23 + kernel // 2 - kernel + 1, stride)
    held = [sum(start <= h < start + kernel for start in windows) for h in range(23)]
    np.testing.assert_allclose(gx * kernel, np.broadcast_to(np.array(held)[:, None], gx.shape))


def test_a_large_activation_leaves_nothing_behind_in_later_windows():
    """As it would in a sum to which channels are added, and from which they are taken off."""
    x = np.full((1, 40, 1, 1), 0.1, np.float32)
    x[0, 3] = 1e5
    constants = {"size": 5, "alpha": 1.0, "beta": 0.75, "k": 1.0}
    _, (_, s), _ = run("local_response_norm", x, **constants)
    np.testing.assert_allclose(s[0, 8:-2, 0, 0], 1.05, rtol=1e-6)


class Large:
    """Images of a shape that no memory here would hold."""

    dtype = np.dtype(np.float32)

    def __init__(self, *shape):
        self.shape, self.size = shape, int(np.prod(shape, dtype=object))


WINDOW = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil_mode": False}
CONSTANTS = {"size": 5, "alpha": 1.0, "beta": 0.75, "k": 1.0}


@pytest.mark.parametrize(
    ("name", "shape", "params", "words"),
    [
        ("max_pool2d", (2**11, 2**10, 2**5, 2**5), WINDOW, "x has 2147483648 elements"),
        ("avg_pool2d", (2**11, 2**10, 2**5, 2**5), WINDOW, "x has 2147483648 elements"),
        ("max_pool2d", (1, 1, 2, 2), WINDOW | {"stride": (1, 2**29)}, "spans 536870912 pixels"),
        ("avg_pool2d", (1, 1, 2**29, 2), WINDOW, "spans 536870912 pixels"),
        (
            "max_pool2d",
            (1, 1, 2, 2),
            {
                "kernel_size": (2**16, 2**16),
                "stride": (1, 1),
                "padding": (2**15, 2**15),
                "ceil_mode": False,
            },
            "window has 4294967296 elements",
        ),
        ("adaptive_avg_pool2d", (1, 1, 1, 2**28), {"output_size": (1, 8)}, "columns x cells has"),
        ("local_response_norm", (2**11, 2**10, 2**5, 2**5), CONSTANTS, "x has 2147483648 elements"),
    ],
)
def test_what_32_bits_cannot_index_is_refused(name, shape, params, words):
    if name == "avg_pool2d":
        params = params | {"count_include_pad": True}
    with pytest.raises(ValueError, match=rf"^{name}: .*{words}.* use .*the 'plain' implementation"):
        OPS[name].implementations["kernel"].forward(Large(*shape), **params)


def test_a_thread_of_backward_has_a_few_pixels_of_a_column():
    sizes = pooling.PoolShape.of("max_pool2d", (2, 3, 17, 5), (3, 3), (2, 2), (0, 0), False)
    assert sizes.backward_threads == 2 * 3 * 3 * 5
