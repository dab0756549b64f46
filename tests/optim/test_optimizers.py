"""The optimizers against their formulas written out element by element, and against PyTorch."""

import numpy as np
import pytest

from minialex import Tensor, emulated, ops, optim, reference, using
from minialex.cpu import threads
from minialex.optim import blocked, cuda

STEPS = 20


def rmsprop(p, g, s, t, *, centered=False, **given):
    numbers = {"alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0} | given
    b = s["b"] if numbers["momentum"] else None
    reference.rmsprop(p, g, s["v"], s["m"] if centered else None, b, **numbers)


def sgd(p, g, s, t, **given):
    numbers = {"momentum": 0.0, "weight_decay": 0.0} | given
    reference.sgd(p, g, s["b"] if numbers["momentum"] else None, **numbers)


def adam(p, g, s, t, *, betas=(0.9, 0.999), **given):
    numbers = {"eps": 1e-8, "weight_decay": 0.0} | given
    reference.adam(p, g, s["m"], s["v"], b1=betas[0], b2=betas[1], t=t, **numbers)


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


@pytest.mark.parametrize("implementation", ["plain", "blocked", "kernel"])
@pytest.mark.parametrize(("name", "formula", "kw"), SETTINGS, ids=IDS)
def test_twenty_steps_follow_the_formula(name, formula, kw, implementation):
    rng = np.random.default_rng(5)
    values = start(rng)
    params = [Tensor(v.copy(), requires_grad=True) for v in values]
    optimizer = getattr(optim, name)(params, **kw)
    states = [{slot: np.zeros(v.size) for slot in "vmb"} for v in values]
    for t in range(1, STEPS + 1):
        for p, value, state in zip(params, values, states, strict=True):
            g = rng.standard_normal(value.shape)
            p.grad = None
            (p * g).sum().backward()
            formula(value.reshape(-1), g.reshape(-1), state, t, **kw)
        with emulated(), using(implementation):
            optimizer.step()
        for p, value in zip(params, values, strict=True):
            np.testing.assert_allclose(p.data, value, rtol=1e-12, atol=1e-13)


ON_AND_OFF = [{"momentum": m} for m in (0.0, 0.9, 0.9, 0.0, 0.5)]
CENTERED = [
    {"centered": c > 0, "momentum": m} for c, m in ((0, 0), (1, 0), (1, 0.9), (0, 0.9), (1, 0))
]


@pytest.mark.parametrize("implementation", ["plain", "blocked", "kernel"])
@pytest.mark.parametrize(
    ("name", "formula", "turns"),
    [("SGD", sgd, ON_AND_OFF), ("RMSprop", rmsprop, ON_AND_OFF), ("RMSprop", rmsprop, CENTERED)],
    ids=["SGD", "RMSprop", "RMSprop-centered"],
)
def test_settings_may_change_between_steps(name, formula, turns, implementation):
    rng = np.random.default_rng(8)
    value = rng.standard_normal(33)
    p = Tensor(value.copy(), requires_grad=True)
    optimizer, state = getattr(optim, name)([p], lr=0.1), {slot: np.zeros(33) for slot in "vmb"}
    for t, turn in enumerate(turns, start=1):
        for setting, number in turn.items():
            optimizer.param_groups[0][setting] = number
        g = rng.standard_normal(33)
        p.grad = None
        (p * g).sum().backward()
        formula(value, g, state, t, lr=0.1, **turn)
        with emulated(), using(implementation):
            optimizer.step()
        np.testing.assert_allclose(p.data, value, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("name", "formula", "kw"), SETTINGS, ids=IDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6)])
def test_twenty_steps_agree_with_pytorch(torch, name, formula, kw, dtype, tolerance):
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


@pytest.mark.parametrize("name", ["RMSprop", "SGD", "Adam"])
def test_defaults_are_those_of_pytorch(torch, name):
    (group,) = getattr(optim, name)([Tensor(np.ones(1), requires_grad=True)]).param_groups
    theirs = getattr(torch.optim, name)([torch.ones(1, requires_grad=True)]).defaults
    ours = {key: value for key, value in group.hyperparameters.items() if key != "initial_lr"}
    assert ours == {key: theirs[key] for key in ours}
    assert group["initial_lr"] == ours["lr"]


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


@pytest.mark.parametrize("implementation", ["plain", "blocked", "kernel"])
def test_a_parameter_without_a_gradient_stays_with_its_state(implementation):
    params = [Tensor(np.ones(40), requires_grad=True) for _ in range(4)]
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.5)
    for i in (0, 1, 3):
        (params[i] * 2.0).sum().backward()
    with emulated("checked"), using(implementation):
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
        monkeypatch.setattr(blocked, "BLOCK_BYTES", 4 * block)
        monkeypatch.setattr(threads, "cores", lambda cores=cores: cores)
        np.testing.assert_array_equal(run(), whole)


def test_kernels_run_where_kernels_run_once_a_stretch():
    params = [Tensor(np.ones(40), requires_grad=True) for _ in range(4)]
    optimizer = optim.SGD(params)
    for i in (0, 1, 3):
        (params[i] * 2.0).sum().backward()
    with emulated() as emulation:
        optimizer.step()
        assert emulation.launches == {"sgd<double>": 2}
        with using(sgd="plain"):
            optimizer.step()
        assert emulation.launches == {"sgd<double>": 2}


@pytest.mark.parametrize("most", [64, 128, 1000])
def test_more_numbers_than_one_launch_takes(most, monkeypatch):
    def run():
        p = Tensor(np.linspace(-1, 1, 300), requires_grad=True)
        optimizer = optim.RMSprop([p], momentum=0.9)
        (p * p).sum().backward()
        with emulated("checked") as emulation:
            optimizer.step()
        return p.data.copy(), emulation.launches["rmsprop<double>"]

    whole, launches = run()
    assert launches == 1
    monkeypatch.setattr(cuda, "MAX_ELEMENTS_PER_LAUNCH", most)
    parts, launches = run()
    assert launches == -(-300 // most)
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("implementation", ["plain", "blocked", "kernel"])
def test_a_gradient_that_stays_the_same_has_no_negative_variance(implementation):
    p = Tensor(np.ones(1000, np.float32), requires_grad=True)
    optimizer = optim.RMSprop([p], lr=1e-9, alpha=0.5, centered=True)
    (p * np.linspace(0.1, 3, 1000).astype(np.float32)).sum().backward()
    with emulated(), using(implementation):
        for _ in range(2000):
            optimizer.step()
    assert np.isfinite(p.data).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (lambda a, b: [], "at least one parameter"),
        (
            lambda a, b: [a, a],
            r"parameter 1 of shape \(1,\) is given to the optimizer twice, first",
        ),
        (lambda a, b: [a, b], "differ in type or device"),
        (lambda a, b: [Tensor([1])], "takes leaf Tensors, float32 or float64"),
        (lambda a, b: [a * 2.0], "takes leaf Tensors, float32 or float64"),
    ],
)
def test_what_an_optimizer_refuses(params, message):
    a = Tensor([1.0], requires_grad=True)
    b = Tensor(np.ones(1), requires_grad=True)
    with pytest.raises(ValueError, match=message):
        optim.SGD(params(a, b))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "formula", "kw"), SETTINGS, ids=IDS)
def test_blocks_have_the_bits_of_the_whole(monkeypatch, cores, name, formula, kw, dtype):
    cores(2)
    monkeypatch.setattr(blocked, "BLOCK_BYTES", 72)

    def run(implementation):
        rng = np.random.default_rng(4)
        p = Tensor(rng.standard_normal(145).astype(dtype), requires_grad=True)
        optimizer = getattr(optim, name)([p], **kw)
        with using(implementation):
            for _ in range(5):
                p.grad = rng.standard_normal(145).astype(dtype)
                optimizer.step()
        return [p.data, *optimizer.arena.state.values()]

    for whole, blocks in zip(run("plain"), run("blocked"), strict=True):
        np.testing.assert_array_equal(blocks, whole)


@pytest.mark.parametrize("name", ["RMSprop", "SGD", "Adam"])
def test_a_plain_step_shares_no_work_out(monkeypatch, name):
    w = Tensor(np.ones((300, 300), np.float32), requires_grad=True)
    optimizer = getattr(optim, name)([w], lr=0.1)
    ops.linear(Tensor(np.ones((2, 300), np.float32)), w).sum().backward()
    assert w.deferred_grad is not None
    assert w.grad is w.grad_buffer

    def refused(*args):
        raise AssertionError("work was shared out")

    monkeypatch.setattr(threads, "run", refused)
    before = w.data.copy()
    with using("plain"):
        optimizer.step()
    assert (w.data < before).all()
    with pytest.raises(AssertionError, match="shared out"):
        optimizer.step()


@pytest.mark.parametrize("name", ["RMSprop", "SGD", "Adam"])
def test_only_the_update_in_blocks_is_given_a_deferred_gradient(name):
    w = Tensor(np.ones((300, 300), np.float32), requires_grad=True)
    optimizer = getattr(optim, name)([w], lr=0.1)
    for implementation, stays in (("blocked", True), ("plain", False)):
        optimizer.zero_grad()
        ops.linear(Tensor(np.ones((2, 300), np.float32)), w).sum().backward()
        with using(**{name.lower(): implementation}):
            optimizer.step()
        assert (w.deferred_grad is not None) is stays
