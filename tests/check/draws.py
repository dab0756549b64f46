"""Right ops on random shapes and parameters, drawn without end."""

from collections.abc import Iterator

import numpy as np

from minialex.check.case import Case
from minialex.check.cases import elementwise, layers, windows
from minialex.check.cases.inputs import between, normal


def draw(seed: int) -> Iterator[tuple[str, Case]]:
    """Yield the name of an op and a case of it, over and over."""
    rng = np.random.default_rng(seed)
    while True:
        name = str(rng.choice(list(DRAWS)))
        yield name, DRAWS[name](rng, f"draw {rng.integers(2**62)}")


def size(rng, high, low=1):
    return int(rng.integers(low, high + 1))


def wide(rng, usual, rare):
    """Return a size that is beyond the tiles of kernels, up to `rare`, once in a while."""
    return size(rng, usual if rng.integers(8) else rare)


def pair(rng, high, low=1):
    return size(rng, high, low), size(rng, high, low)


def shape(rng, axes, high):
    return tuple(size(rng, high) for _ in range(rng.integers(0, axes + 1)))


def conv2d(rng, name):
    groups, kernel, padding, dilation = size(rng, 3), pair(rng, 4), pair(rng, 2, 0), pair(rng, 2)
    C, O = wide(rng, 3, 20), wide(rng, 3, 50)
    # references take long where there are many filters
    largest = 9 if O <= 3 else 1
    image = tuple(
        size(rng, max(least, largest), least)
        for least in (
            max(1, d * (k - 1) + 1 - 2 * p)
            for k, p, d in zip(kernel, padding, dilation, strict=True)
        )
    )
    return windows.conv(
        name,
        (size(rng, 3), groups * C, *image),
        groups * O,
        kernel,
        stride=pair(rng, 3),
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bool(rng.integers(2)),
    )


def pool(rng, name, **more):
    kernel = pair(rng, 4)
    padding = tuple(size(rng, k // 2, 0) for k in kernel)
    image = tuple(size(rng, 10, max(1, k)) for k in kernel)
    x = (size(rng, 2), size(rng, 3), *image)
    more["draw"] = normal
    return windows.pool(name, x, kernel, stride=pair(rng, 3), padding=padding, **more)


def avg_pool2d(rng, name):
    return pool(rng, name, count_include_pad=bool(rng.integers(2)))


def adaptive_avg_pool2d(rng, name):
    return windows.adaptive(name, (size(rng, 2), size(rng, 2), *pair(rng, 9)), pair(rng, 6))


def linear(rng, name):
    x = *shape(rng, 2, 4), wide(rng, 70, 300)
    return layers.linear(name, x, wide(rng, 9, 150), size(rng, 2) > 1)


def local_response_norm(rng, name):
    x = (size(rng, 2), wide(rng, 12, 80), *pair(rng, 4))
    constants = float(rng.uniform(0, 2)), float(rng.uniform(0.2, 2)), float(rng.uniform(0.3, 3))
    return layers.lrn(name, x, 2 * size(rng, 4) - 1, *constants)


def dropout(rng, name):
    p = float(rng.choice([0.0, 0.1, 0.5, 0.9]))
    return layers.dropout(
        name, (size(rng, 40), size(rng, 9)), p, size(rng, 2**62), size(rng, 2**62)
    )


def softmax(rng, name):
    scale = float(rng.choice([0.1, 1.0, 10.0, 100.0]))
    x = tuple(size(rng, 12) for _ in range(size(rng, 3)))
    return Case(name, between(-scale, scale, x), {"dim": size(rng, len(x)) - 1})


def cross_entropy(rng, name):
    N, C = size(rng, 6), size(rng, 12)
    targets = rng.integers(0, C, N)
    if rng.integers(2):
        targets[rng.random(N) < 0.3] = -100
    weights = rng.uniform(0.1, 2, C) if rng.integers(2) else None
    smoothing = float(rng.choice([0.0, 0.1, 0.5]))
    reduction = str(rng.choice(["mean", "sum", "none"]))
    scale = float(rng.choice([1.0, 5.0, 30.0]))
    logits, more = between(-scale, scale, (N, C)), {"smoothing": smoothing, "reduction": reduction}
    if rng.integers(3):
        return layers.cross_entropy(name, logits, targets, weights, **more)
    return layers.soft_cross_entropy(name, logits, (N, C), weights, **more)


def arithmetic(op):
    def case(rng, name):
        whole = shape(rng, 4, 5)
        a, b = (broadcastable(rng, whole) for _ in range(2))
        return elementwise.binary(op, a, b, name)

    return case


def broadcastable(rng, whole):
    start = int(rng.integers(0, len(whole) + 1))
    return tuple(n if rng.integers(3) else 1 for n in whole[start:])


def unary(rng, name):
    return Case(name, normal(shape(rng, 4, 6)))


def astype(rng, name):
    wanted = np.dtype(rng.choice(["float32", "float64"]))
    return Case(name, normal(shape(rng, 4, 6)), {"dtype": wanted}, output_dtype=wanted)


def positive(rng, name):
    return Case(name, between(0.01, 10, shape(rng, 4, 6)))


def matmul(rng, name):
    M, K, N = size(rng, 9), size(rng, 40), size(rng, 9)
    stack = shape(rng, 2, 3)
    return layers.product(
        name, (*broadcastable(rng, stack), M, K), (*broadcastable(rng, stack), K, N)
    )


def reduction(rng, name):
    x = shape(rng, 4, 6)
    dims = tuple(d for d in range(len(x)) if rng.integers(2)) or tuple(range(len(x)))
    return Case(name, normal(x), {"dims": dims, "keepdim": bool(rng.integers(2))})


def getitem(rng, name):
    n = size(rng, 30)
    return Case(name, normal((n, size(rng, 3))), {"index": (rng.integers(0, n, size(rng, 40)),)})


DRAWS = {
    "conv2d": conv2d,
    "max_pool2d": pool,
    "avg_pool2d": avg_pool2d,
    "adaptive_avg_pool2d": adaptive_avg_pool2d,
    "linear": linear,
    "local_response_norm": local_response_norm,
    "dropout": dropout,
    "softmax": softmax,
    "log_softmax": softmax,
    "cross_entropy": cross_entropy,
    "add": arithmetic("add"),
    "subtract": arithmetic("subtract"),
    "multiply": arithmetic("multiply"),
    "divide": arithmetic("divide"),
    "relu": unary,
    "tanh": unary,
    "exp": unary,
    "absolute": unary,
    "negative": unary,
    "log": positive,
    "sqrt": positive,
    "matmul": matmul,
    "sum": reduction,
    "max": reduction,
    "getitem": getitem,
    "astype": astype,
}
