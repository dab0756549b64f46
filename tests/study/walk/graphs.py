"""Graphs drawn at random over all ops: leaves and values used several times, hooks, retain_grad."""

import numpy as np

from minialex import Tensor, ops


class Drawn:
    """A graph: its leaves, what retains its gradient, and the scalar that it ends in."""

    def __init__(self, seed, count=14):
        self.rng = np.random.default_rng(seed)
        self.dtype = self.rng.choice([np.float32, np.float64])
        self.leaves, self.retained = [], []
        # numbers, then matrices, then images: each op takes what fits it
        self.values = [self.leaf(shape) for shape in ((3,), (2, 3), (2, 3), (3, 3), (2, 4, 5, 5))]
        for _ in range(count):
            # so that all stays finite
            self.values.append(self.watched(ops.tanh(self.draw())))
        self.loss = sum(((value * 0.5).sum() for value in self.values), start=0.0)

    def leaf(self, shape):
        x = Tensor(self.rng.standard_normal(shape).astype(self.dtype), requires_grad=True)
        if self.rng.random() < 0.3:
            x.grad = self.rng.standard_normal(shape).astype(self.dtype)
        self.leaves.append(self.watched(x))
        return x

    def watched(self, x):
        """Register a hook now and then, which scales or only looks, or retain the gradient."""
        chance = self.rng.random()
        if chance < 0.15:
            x.register_hook(lambda g: g * 3)
        elif chance < 0.25:
            x.register_hook(lambda g: None)
        if x.node is not None and self.rng.random() < 0.3:
            x.retain_grad()
            self.retained.append(x)
        return x

    def pick(self, fits):
        there = [value for value in self.values if fits(value)]
        return there[self.rng.integers(len(there))]

    def any(self):
        return self.pick(lambda x: True)

    def alike(self, x):
        return self.pick(lambda y: y.shape == x.shape)

    def broadcast(self, x):
        """Return what goes with `x` in an op, of its shape or of a smaller one."""
        return self.pick(lambda y: y.shape in (x.shape, x.shape[1:], (1,), ()))

    def images(self):
        return self.pick(lambda x: x.ndim == 4 and min(x.shape[2:]) >= 3)

    def matrix(self):
        return self.pick(lambda x: x.ndim == 2)

    def draw(self):
        names = sorted(DRAWS)
        return DRAWS[names[self.rng.integers(len(names))]](self)


def _linear(d):
    x = d.matrix()
    w = d.leaf((3, x.shape[1]))
    return ops.linear(x, w, d.leaf((3,)) if d.rng.random() < 0.5 else None)


def _conv2d(d):
    x = d.images()
    w = d.leaf((4, x.shape[1], 2, 2))
    return ops.conv2d(x, w, d.leaf((4,)), stride=int(d.rng.integers(1, 3)), padding=1)


def _matmul(d):
    x = d.matrix()
    return x.T @ d.alike(x)


def _rows(d):
    x = d.matrix()
    return x.shape[0], x


def _cross_entropy(d):
    n, x = _rows(d)
    return ops.cross_entropy(x, d.rng.integers(x.shape[1], size=n), label_smoothing=0.1)


def _taken_twice(d):
    n, x = _rows(d)
    return ops.getitem(x, (d.rng.integers(n, size=3),))


def _where(d):
    x = d.any()
    return ops.where(x > 0, x, d.broadcast(x))


def _binary(name):
    def run(d):
        x = d.any()
        return getattr(ops, name)(x, d.broadcast(x))

    return run


def _of_positive(name):
    return lambda d: getattr(ops, name)(ops.absolute(d.any()) + 0.5)


def _unary(name, **params):
    return lambda d: getattr(ops, name)(d.any(), **params)


def _there_and_back(d):
    other = {np.float32: np.float64, np.float64: np.float32}[d.dtype]
    return d.any().astype(other).astype(d.dtype)


def _divide(d):
    x = d.any()
    return x / ops.exp(ops.tanh(d.broadcast(x)))


def _power(d):
    x = ops.absolute(d.any()) + 0.5
    return ops.power(x, ops.sigmoid(d.broadcast(x)))


DRAWS = {
    "add": _binary("add"),
    "subtract": _binary("subtract"),
    "multiply": _binary("multiply"),
    "maximum": _binary("maximum"),
    "minimum": _binary("minimum"),
    "divide": _divide,
    "negative": _unary("negative"),
    "power": _power,
    "log": _of_positive("log"),
    "sqrt": _of_positive("sqrt"),
    "sigmoid": _unary("sigmoid"),
    "relu": _unary("relu"),
    "clip": _unary("clip", min=-0.5, max=0.75),
    "where": _where,
    "max": lambda d: ops.max(d.matrix(), 1, keepdim=True),
    "mean": lambda d: ops.mean(d.images(), (2, 3)),
    "softmax": lambda d: ops.softmax(d.matrix()),
    "log_softmax": lambda d: ops.log_softmax(d.matrix()),
    "cross_entropy": _cross_entropy,
    "linear": _linear,
    "matmul": _matmul,
    "conv2d": _conv2d,
    "max_pool2d": lambda d: ops.max_pool2d(d.images(), 3, stride=2),
    "avg_pool2d": lambda d: ops.avg_pool2d(d.images(), 3, stride=1, padding=1),
    "adaptive_avg_pool2d": lambda d: ops.adaptive_avg_pool2d(d.images(), 3),
    "local_response_norm": lambda d: ops.local_response_norm(d.images(), size=3, alpha=0.7),
    "dropout": lambda d: ops.dropout(d.any(), 0.4, seed=3, offset=int(d.rng.integers(99)) * 4),
    "flatten": lambda d: ops.flatten(d.images(), 1),
    "transpose": lambda d: ops.transpose(d.matrix(), 0, 1),
    "getitem": _taken_twice,
    "concatenate": lambda d: ops.concatenate([x := d.matrix(), d.alike(x), x], 0),
    "astype": _there_and_back,
}
