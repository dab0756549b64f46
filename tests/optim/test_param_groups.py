"""Parameter groups with PyTorch's meaning: each has its own hyperparameters."""

import numpy as np
import pytest

from minialex import Tensor, emulated, nn, ops, optim, using
from minialex.optim import make_schedule
from tests.optim.test_optimizers import adam, rmsprop, sgd

FORMULAS = {"RMSprop": rmsprop, "SGD": sgd, "Adam": adam}
OWN = {
    "RMSprop": [{"lr": 0.01, "momentum": 0.9}, {"centered": True, "alpha": 0.8}, {"eps": 0.1}],
    "SGD": [{"lr": 0.01, "momentum": 0.9}, {"weight_decay": 0.0}, {"momentum": 0.5}],
    "Adam": [{"lr": 0.01, "betas": (0.6, 0.9)}, {"weight_decay": 0.0}, {"eps": 0.1}],
}
COMMON = {"lr": 0.1, "weight_decay": 0.3}
SHAPES = [(3, 5), (17,), (2, 3), (4,), (1,)]
MEMBERS = [[0, 1], [2, 3], [4]]
STEPS = 6


def values(dtype="float64"):
    rng = np.random.default_rng(2)
    return [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]


def gradients(step, dtype="float64"):
    """Return gradients, None for a parameter that has none at this step."""
    rng = np.random.default_rng([3, step])
    drawn = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    return [
        None if (step, i) in [(0, 1), (2, 1), (2, 3), (3, 0)] else g for i, g in enumerate(drawn)
    ]


def groups(name, tensors):
    return [
        {"params": [tensors[i] for i in members], **own}
        for members, own in zip(MEMBERS, OWN[name], strict=True)
    ]


def made(name, dtype="float64"):
    params = [Tensor(v, requires_grad=True) for v in values(dtype)]
    return params, getattr(optim, name)(groups(name, params), **COMMON)


def settings_of(step, i):
    """Return what the loops below change: of the second group the rate, half-way."""
    return {"lr": 0.02} if step >= 3 and i in MEMBERS[1] else {}


def change(step, optimizer):
    if step == 3:
        optimizer.param_groups[1]["lr"] = 0.02


@pytest.mark.parametrize("implementation", ["plain", "blocked", "kernel"])
@pytest.mark.parametrize("name", FORMULAS)
def test_each_group_follows_the_formula_with_its_own_numbers(name, implementation):
    params, optimizer = made(name)
    expected = values()
    states = [{slot: np.zeros(v.size) for slot in "vmb"} for v in expected]
    taken = [0] * len(params)
    for step in range(STEPS):
        change(step, optimizer)
        for i, g in enumerate(gradients(step)):
            params[i].grad = g
            if g is not None:
                taken[i] += 1
                own = next(o for m, o in zip(MEMBERS, OWN[name], strict=True) if i in m)
                numbers = {**COMMON, **own, **settings_of(step, i)}
                value = expected[i].reshape(-1)
                FORMULAS[name](value, g.reshape(-1), states[i], taken[i], **numbers)
        with emulated(), using(implementation):
            optimizer.step()
    for p, value in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, value, rtol=1e-12, atol=1e-13)
    assert (optimizer.steps, optimizer.param_steps) == (STEPS, taken)


@pytest.mark.parametrize("name", FORMULAS)
def test_groups_agree_with_pytorch(torch, name):
    params, optimizer = made(name)
    theirs = [torch.tensor(v, requires_grad=True) for v in values()]
    peer = getattr(torch.optim, name)(groups(name, theirs), **COMMON)
    for step in range(STEPS):
        for one in optimizer, peer:
            change(step, one)
        for p, q, g in zip(params, theirs, gradients(step), strict=True):
            p.grad, q.grad = g, None if g is None else torch.tensor(g)
        optimizer.step()
        peer.step()
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-13)
    ours, its = optimizer.state_dict(), peer.state_dict()
    for i, entry in ours["state"].items():
        # PyTorch has none where there is no momentum
        theirs = {slot: x for slot, x in its["state"].get(i, {}).items() if x is not None}
        for slot, expected in theirs.items():
            np.testing.assert_allclose(entry[slot], expected.numpy(), rtol=1e-11, atol=1e-12)
    for group, peers in zip(ours["param_groups"], its["param_groups"], strict=True):
        known = {key: value for key, value in group.items() if key != "initial_lr"}
        assert known == {key: peers[key] for key in known}


def test_the_usual_two_groups_and_their_launches():
    """Layer-wise rates without decay of biases: one launch per run of a group's parameters."""
    w, b, v, c = (Tensor(np.ones(20), requires_grad=True) for _ in range(4))
    optimizer = optim.SGD(
        [
            {"params": [w, v], "lr": 0.1},
            {"params": iter([("bias", b), ("other", c)]), "lr": 0.1, "weight_decay": 0},
        ],
        weight_decay=0.5,
    )
    for p in w, b, v, c:
        (p * 2.0).sum().backward()
    with emulated() as emulation:
        optimizer.step()
        assert emulation.launches == {"sgd<double>": 2}
    assert [p.data[0] for p in (w, v, b, c)] == pytest.approx([0.75, 0.75, 0.8, 0.8])
    assert [p.data[0] for p in optimizer.params] == pytest.approx([0.75, 0.75, 0.8, 0.8])
    assert optimizer.arena.names[2:] == ["bias", "other"]


def test_adam_merges_parameters_that_took_as_many_steps():
    params = [Tensor(np.ones(20), requires_grad=True) for _ in range(4)]
    optimizer = optim.Adam(params)
    with emulated() as emulation:
        for frozen, launches in ((3, 1), (None, 3), (0, 5)):
            optimizer.zero_grad()
            for i, p in enumerate(params):
                if i != frozen:
                    (p * 2.0).sum().backward()
            optimizer.step()
            assert emulation.launches == {"adam<double>": launches}
    assert optimizer.param_steps == [2, 3, 3, 2]


@pytest.mark.parametrize("name", FORMULAS)
def test_deferred_gradients_of_groups(name):
    def run(implementation):
        w, v = (Tensor(np.ones((300, 300), np.float32), requires_grad=True) for _ in range(2))
        optimizer = getattr(optim, name)([{"params": w}, {"params": v, "lr": 0.5}], lr=0.1)
        x = Tensor(np.linspace(-1, 1, 600, dtype=np.float32).reshape(2, 300))
        ops.linear(ops.linear(x, w), v).sum().backward()
        assert v.deferred_grad is not None
        with using(**{name.lower(): implementation}):
            optimizer.step()
        return w.data, v.data

    for blocks, whole in zip(run("blocked"), run("plain"), strict=True):
        np.testing.assert_allclose(blocks, whole, rtol=1e-6)


def test_a_schedule_scales_the_rate_of_each_group():
    p, q = (Tensor(np.ones(1), requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([{"params": p}, {"params": q, "lr": 0.25}], lr=1.0)
    schedule = make_schedule("step", total=4, step_size=1, gamma=0.5)
    rates = []
    for _ in range(3):
        optimizer.scale_lr(schedule(optimizer.steps))
        optimizer.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates == [[1, 0.25], [0.5, 0.125], [0.25, 0.0625]]
    # what they scale may be assigned, as PyTorch's
    optimizer.param_groups[1]["initial_lr"] = 8
    optimizer.scale_lr(schedule(optimizer.steps))
    assert optimizer.param_groups[1]["lr"] == 1


# What is refused ----------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
WRONG = [
    *(("SGD", name, wrong) for name in ("lr", "momentum", "weight_decay") for wrong in (-0.5, NAN)),
    ("SGD", "initial_lr", -1),
    ("SGD", "lr", 10**400),
    *(
        ("RMSprop", name, wrong)
        for name in ("lr", "eps", "momentum")
        for wrong in (-1e-9, NAN, INF)
    ),
    *(("RMSprop", "alpha", wrong) for wrong in (-0.1, 1.0, NAN)),
    ("RMSprop", "weight_decay", INF),
    *(("Adam", "betas", wrong) for wrong in ((1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, NAN))),
    *(("Adam", name, -1) for name in ("lr", "eps", "weight_decay")),
]
NO_NUMBERS = [
    ("SGD", "lr", "0.1"),
    ("SGD", "momentum", None),
    ("SGD", "lr", True),
    ("RMSprop", "centered", 1),
    ("Adam", "betas", 0.9),
    ("Adam", "betas", (0.9, 0.99, 0.999)),
]


@pytest.mark.parametrize(
    ("name", "setting", "value"), WRONG + NO_NUMBERS, ids=lambda x: f"{x!s:.20}"
)
def test_a_wrong_hyperparameter_is_refused_when_given_and_when_assigned(name, setting, value):
    error = TypeError if (name, setting, value) in NO_NUMBERS else ValueError
    p, kind = Tensor([1.0], requires_grad=True), getattr(optim, name)
    with pytest.raises(error, match=f"^{name}: {setting} is .*: give "):
        kind([{"params": p, setting: value}])
    if setting != "initial_lr":
        with pytest.raises(error, match=f"^{name}: {setting} is .*: give "):
            kind([p], **{setting: value})
    # nothing has taken hold of it
    assert p.grad_buffer is None
    optimizer = kind([p])
    [group] = optimizer.param_groups
    before = group[setting]
    with pytest.raises(error, match=f"^{name}: {setting} is .*: give "):
        group[setting] = value
    with pytest.raises(error, match=f"^{name}: {setting} is .*: give "):
        group.update({setting: value})
    assert group[setting] == before


def test_the_usual_values_are_pytorchs():
    p = Tensor([1.0], requires_grad=True)
    for kind, lr in ((optim.SGD, 1e-3), (optim.RMSprop, 1e-2), (optim.Adam, 1e-3)):
        assert kind([p]).param_groups[0]["lr"] == lr


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (lambda p: p, TypeError, r"SGD takes a list of Tensors, not one: write \[tensor\]"),
        (lambda p: [{"params": [p]}, p], TypeError, "element 1 is no group beside others"),
        (lambda p: [{"lr": 1.0}], ValueError, "group 0 has no 'params'"),
        (
            lambda p: [{"params": p, "alpha": 0.5}],
            ValueError,
            "unknown hyperparameter of SGD 'alpha'",
        ),
        (lambda p: [{"params": p}, {"params": [p]}], ValueError, "is given to the optimizer twice"),
        (lambda p: [{"params": []}], ValueError, "at least one parameter"),
        (lambda p: [{"params": "w"}], TypeError, "takes Tensors, not str"),
    ],
)
def test_what_is_no_group_is_refused(params, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(params(Tensor([1.0], requires_grad=True)))


def test_what_a_group_and_an_optimizer_do_not_have():
    optimizer = optim.SGD([Tensor([1.0], requires_grad=True)])
    [group] = optimizer.param_groups
    with pytest.raises(KeyError, match="did you mean 'weight_decay'"):
        group["weight_deacy"] = 0.1
    with pytest.raises(ValueError, match="parameters of a group cannot be assigned"):
        group["params"] = []
    with pytest.raises(TypeError, match="lr of a group cannot be deleted"):
        del group["lr"]
    with pytest.raises(AttributeError, match=r"SGD has its lr in its groups: .* group\['lr'\] = "):
        optimizer.lr = 1.0


# Frozen and tied parameters -----------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMULAS)
def test_a_parameter_frozen_or_unfrozen_later(name):
    a, b = (Tensor(np.ones(3), requires_grad=flag) for flag in (True, False))
    optimizer = getattr(optim, name)([a, b], lr=0.1)

    def step():
        optimizer.zero_grad()
        before = a.data.copy(), b.data.copy()
        ((a + b) * 2.0).sum().backward()
        optimizer.step()
        return [bool((p.data != was).all()) for p, was in zip((a, b), before, strict=True)]

    assert step() == [True, False]
    b.requires_grad = True
    assert step() == [True, True]
    a.requires_grad = False
    assert step() == [False, True]
    assert optimizer.param_steps == [2, 2]


def test_a_tied_weight_is_one_parameter():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].weight.data[...] = [[1, 0], [0, 1]]
    model[1].weight = model[0].weight
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    assert len(optimizer.params) == 3
    ops.sum(model(Tensor([[1.0, 2.0]]))).backward()
    optimizer.step()
    # the gradients of both places, [[1, 2], [1, 2]] twice, are added up
    np.testing.assert_array_equal(model[1].weight.data, [[-1, -4], [-2, -3]])
    with pytest.raises(ValueError, match=r"0.weight is .* twice, first as weight: list it once"):
        optim.SGD([*model[0].named_parameters(), *list(model.named_parameters())[:1]])


def test_an_optimizer_says_what_it_is():
    p, q = (Tensor(np.ones((1000, 2)), requires_grad=True) for _ in range(2))
    rmsprop = optim.RMSprop([p, q], lr=0.001)
    assert repr(rmsprop) == (
        "RMSprop(lr=0.001, alpha=0.99, eps=1e-08, weight_decay=0.0, momentum=0.0, centered=False, "
        "4,000 parameters in 2 tensors)"
    )
    rmsprop.scale_lr(0.5)
    assert repr(rmsprop).startswith("RMSprop(lr=0.0005, ")
    assert "initial_lr=0.001" in repr(rmsprop)
    assert repr(optim.SGD([{"params": p}, {"params": q, "lr": 1}])) == (
        "SGD(\n"
        "  (0) lr=0.001, momentum=0.0, weight_decay=0.0, 2,000 parameters in 1 tensor\n"
        "  (1) lr=1.0, momentum=0.0, weight_decay=0.0, 2,000 parameters in 1 tensor\n"
        ")"
    )
