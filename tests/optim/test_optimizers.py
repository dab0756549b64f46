"""The optimizers against their formulas written out element by element, and against PyTorch."""

import importlib.util
import math

import numpy as np
import pytest

from minialex import Tensor, optim, threads
from minialex.optim import optimizer as optimizer_module

STEPS = 20


def rmsprop(lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    def update(p, g, s, t):
        g = g + weight_decay * p
        s["v"] = alpha * s.get("v", 0.0) + (1 - alpha) * g * g
        s["m"] = alpha * s.get("m", 0.0) + (1 - alpha) * g
        d = math.sqrt(s["v"] - s["m"] ** 2 * centered) + eps
        s["b"] = momentum * s.get("b", 0.0) + g / d
        return p - lr * s["b"]

    return update


def sgd(lr, momentum=0.0, weight_decay=0.0):
    def update(p, g, s, t):
        s["b"] = momentum * s.get("b", 0.0) + g + weight_decay * p
        return p - lr * s["b"]

    return update


def adam(lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    def update(p, g, s, t):
        b1, b2 = betas
        g = g + weight_decay * p
        s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g * g
        mean, square = s["m"] / (1 - b1**t), s["v"] / (1 - b2**t)
        return p - lr * mean / (math.sqrt(square) + eps)

    return update


SETTINGS = [
    ("RMSprop", rmsprop, {"lr": 0.01}),
    ("RMSprop", rmsprop, {"lr": 0.001, "momentum": 0.9, "weight_decay": 0.0005}),
    ("RMSprop", rmsprop, {"lr": 0.01, "alpha": 0.8, "eps": 0.1, "centered": True}),
    ("RMSprop", rmsprop, {"lr": 0.02, "momentum": 0.5, "centered": True, "weight_decay": 0.3}),
    ("SGD", sgd, {"lr": 0.1}),
    ("SGD", sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", sgd, {"lr": 0.1, "weight_decay": 0.5}),
    ("Adam", adam, {"lr": 0.01}),
    ("Adam", adam, {"lr": 0.05, "betas": (0.6, 0.9), "eps": 0.01, "weight_decay": 0.2}),
]
IDS = [f"{name}-{'-'.join(map(str, kw))}" for name, _, kw in SETTINGS]
SHAPES = [(3, 5), (1,), (33,), (2, 3, 4)]


def start(rng):
    return [rng.standard_normal(shape) for shape in SHAPES]


@pytest.mark.parametrize(("name", "formula", "kw"), SETTINGS, ids=IDS)
def test_twenty_steps_follow_the_formula(name, formula, kw):
    rng = np.random.default_rng(5)
    values = start(rng)
    params = [Tensor(v.copy(), requires_grad=True) for v in values]
    optimizer = getattr(optim, name)(params, **kw)
    update = formula(**kw)
    states = [[{} for _ in range(v.size)] for v in values]
    for t in range(1, STEPS + 1):
        for p, value, state in zip(params, values, states, strict=True):
            g = rng.standard_normal(value.shape)
            p.grad = None
            (p * g).sum().backward()
            flat = value.reshape(-1)
            for i, s in enumerate(state):
                flat[i] = update(flat[i], g.reshape(-1)[i], s, t)
        optimizer.step()
        for p, value in zip(params, values, strict=True):
            np.testing.assert_allclose(p.data, value, rtol=1e-12, atol=1e-13)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
@pytest.mark.parametrize(("name", "formula", "kw"), SETTINGS, ids=IDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6)])
def test_twenty_steps_agree_with_pytorch(name, formula, kw, dtype, tolerance):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    values = [v.astype(dtype) for v in start(rng)]
    ours = [Tensor(v.copy(), requires_grad=True) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    optimizer = getattr(optim, name)(ours, **kw)
    peer = getattr(torch.optim, name)(theirs, **kw)
    for _ in range(STEPS):
        for p, q in zip(ours, theirs, strict=True):
            g = rng.standard_normal(p.shape).astype(dtype)
            p.grad = None
            (p * g).sum().backward()
            q.grad = torch.tensor(g)
        optimizer.step()
        peer.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_parameters_and_gradients_live_in_the_arena():
    params = [Tensor(np.ones(shape, np.float32), requires_grad=True) for shape in SHAPES]
    optimizer = optim.RMSprop(params, momentum=0.9)
    arena = optimizer.arena
    for p in params:
        assert np.shares_memory(p.data, arena.data)
        (p * 3.0).sum().backward()
        assert np.shares_memory(p.grad, arena.grad)
        assert (p.grad == 3).all()
    assert list(arena.state) == ["square_avg", "momentum_buffer"]
    assert [v.shape for v in arena.views("square_avg")] == SHAPES


def test_a_parameter_without_a_gradient_stays_with_its_state():
    params = [Tensor(np.ones(40), requires_grad=True) for _ in range(4)]
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.5)
    for i in (0, 1, 3):
        (params[i] * 2.0).sum().backward()
    optimizer.step()
    assert [float(p.data[0]) for p in params] == [0.75, 0.75, 1.0, 0.75]
    assert (optimizer.arena.views("momentum_buffer")[2] == 0).all()


def test_blocks_and_threads_change_nothing(monkeypatch):
    def run():
        rng = np.random.default_rng(1)
        p = Tensor(rng.standard_normal(1025).astype(np.float32), requires_grad=True)
        optimizer = optim.RMSprop([p], lr=0.01, momentum=0.9, weight_decay=1e-3)
        for _ in range(3):
            p.grad = None
            (p * rng.standard_normal(1025).astype(np.float32)).sum().backward()
            optimizer.step()
        return p.data.copy()

    whole = run()
    for block, cores in ((7, 1), (64, 3), (1025, 2)):
        monkeypatch.setattr(optimizer_module, "BLOCK", block)
        monkeypatch.setattr(threads, "cores", lambda cores=cores: cores)
        np.testing.assert_array_equal(run(), whole)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (lambda a, b: [], "at least one parameter"),
        (lambda a, b: [a, a], "twice"),
        (lambda a, b: [a, b], "differ in type or device"),
        (lambda a, b: [Tensor([1.0])], "leaf Tensors that require a gradient"),
        (lambda a, b: [a * 2.0], "leaf Tensors that require a gradient"),
    ],
)
def test_what_an_optimizer_refuses(params, message):
    a = Tensor([1.0], requires_grad=True)
    b = Tensor(np.ones(1), requires_grad=True)
    with pytest.raises(ValueError, match=message):
        optim.SGD(params(a, b))


def test_negative_learning_rate_is_refused():
    with pytest.raises(ValueError, match="RMSprop: lr must not be negative"):
        optim.RMSprop([Tensor([1.0], requires_grad=True)], lr=-1.0)
