"""What an optimizer's state holds, and that it goes on as if it had never been put away."""

import copy

import numpy as np
import pytest

from minialex import Tensor, optim

KINDS = {
    "SGD": {"lr": 0.5, "momentum": 0.9},
    "RMSprop": {"lr": 0.5, "momentum": 0.9, "centered": True},
    "Adam": {"lr": 0.5},
}


def made(name, **other):
    rng = np.random.default_rng(1)
    params = [Tensor(rng.standard_normal(n, np.float32), requires_grad=True) for n in (3, 40, 5)]
    groups = [
        {"params": [("a", params[0])], "lr": 0.1},
        {"params": zip("bc", params[1:], strict=True)},
    ]
    return getattr(optim, name)(groups, **{**KINDS[name], **other})


def train(optimizer, first, last):
    for step in range(first, last):
        rng = np.random.default_rng(step)
        for i, p in enumerate(optimizer.params):
            g = rng.standard_normal(p.shape, np.float32)
            p.grad = None if (step + i) % 3 == 0 else g
        optimizer.step()


def everything(optimizer):
    arrays = [optimizer.arena.data, *optimizer.arena.state.values()]
    return [a.tobytes() for a in arrays], optimizer.param_steps, repr(optimizer)


@pytest.mark.parametrize("name", KINDS)
def test_it_goes_on_to_the_last_bit(name):
    whole = made(name)
    train(whole, 0, 4)
    whole.param_groups[1]["lr"] = 0.25
    saved, weights = copy.deepcopy(whole.state_dict()), [p.data.copy() for p in whole.params]
    train(whole, 4, 8)
    other = made(name, lr=7.0)
    train(other, 0, 2)
    for p, value in zip(other.params, weights, strict=True):
        p.data = value
    other.load_state_dict(saved)
    assert other.steps == 4
    again = other.state_dict()
    assert again["param_groups"] == saved["param_groups"]
    for i, entry in saved["state"].items():
        assert again["state"][i].keys() == entry.keys()
        for key, value in entry.items():
            np.testing.assert_array_equal(again["state"][i][key], value)
    train(other, 4, 8)
    assert everything(other) == everything(whole)


def test_it_is_like_pytorchs_and_live():
    optimizer = made("SGD")
    state = optimizer.state_dict()
    assert state["param_groups"][1] == {
        "lr": 0.5, "momentum": 0.9, "weight_decay": 0.0, "initial_lr": 0.5, "params": [1, 2],
    }  # fmt: skip
    assert [entry["step"] for entry in state["state"].values()] == [0, 0, 0]
    train(optimizer, 1, 2)
    assert (state["state"][1]["momentum_buffer"] != 0).all()
    assert (state["state"][2]["momentum_buffer"] == 0).all()


def test_state_that_the_saved_one_does_without_starts_at_zero():
    plain = made("SGD", momentum=0.0)
    train(plain, 0, 2)
    optimizer = made("SGD")
    train(optimizer, 0, 2)
    optimizer.load_state_dict(plain.state_dict())
    assert (optimizer.arena.state["momentum_buffer"] == 0).all()
    assert optimizer.param_groups[0]["momentum"] == 0


def edited(edit):
    def give(state):
        edit(state)
        return state

    return give


WRONG = {
    "another kind": (
        lambda s: made("Adam").state_dict(),
        "group 0 .* SGD's, lacks momentum",
    ),
    "no steps": (edited(lambda s: s.pop("steps")), "the state lacks steps"),
    "too few groups": (edited(lambda s: s["param_groups"].pop()), "has 1 groups, the optimizer 2"),
    "other groups": (
        edited(lambda s: s["param_groups"][0].update(params=[0, 1])),
        "group 0 of the state is of other parameters",
    ),
    "no parameter": (edited(lambda s: s["state"].pop(1)), "the state by parameter lacks 1"),
    "one too many": (edited(lambda s: s["state"].update({3: {}})), "has 3 too many"),
    "no slot": (
        edited(lambda s: s["state"][2].pop("momentum_buffer")),
        "the state of c lacks momentum_buffer",
    ),
    "shape": (
        edited(lambda s: s["state"][1].update(momentum_buffer=np.ones(41, np.float32))),
        r"momentum_buffer of b has shape \(41,\), not \(40,\)",
    ),
    "count": (edited(lambda s: s["state"][1].update(step=-1)), "step of b is -1: give a whole"),
    "range": (edited(lambda s: s["param_groups"][1].update(lr=-1.0)), "SGD: lr is -1.0: give"),
}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda s: None, "the state is NoneType"),
        (lambda s: s | {"param_groups": None}, "param_groups is NoneType"),
        (lambda s: s | {"param_groups": [1, 2]}, "group 0 of the state, .* is int"),
        (lambda s: s | {"state": [1]}, "the state by parameter is list"),
        (lambda s: s | {"state": {**s["state"], 1: 5}}, "the state of b is int"),
    ],
)
def test_what_is_no_state_is_refused(wrong, words):
    optimizer = made("SGD")
    with pytest.raises(TypeError, match=f"^load_state_dict: {words}: give what state_dict"):
        optimizer.load_state_dict(wrong(optimizer.state_dict()))


@pytest.mark.parametrize(("edit", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_and_changes_nothing(edit, message):
    optimizer = made("SGD")
    train(optimizer, 0, 3)
    before = everything(optimizer)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(edit(copy.deepcopy(optimizer.state_dict())))
    assert everything(optimizer) == before
