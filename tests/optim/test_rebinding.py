"""What a parameter shows in `data` and `grad` is what a step works on, however it came there."""

import copy
import pickle

import numpy as np
import pytest

from minialex import Tensor, models, nn, ops, optim
from minialex.philox import Generator

RULES = {
    "SGD": {"lr": 0.5, "momentum": 0.9},
    "RMSprop": {"lr": 0.5, "momentum": 0.9},
    "Adam": {"lr": 0.5},
}


def parameter(*values):
    return Tensor(np.array(values, np.float32), requires_grad=True)


def sgd(*params, lr=1.0):
    return optim.SGD(params, lr=lr)


def slope(p, factor):
    """Run a backward pass that leaves `factor` as the gradient of each element of `p`."""
    (p * factor).sum().backward()


# Gradients ----------------------------------------------------------------------------------------


def test_a_clipped_gradient_is_stepped_with():
    p = parameter(1, 2)
    o = sgd(p)
    slope(p, 5)
    p.grad = np.clip(p.grad, -1, 1)
    o.step()
    assert p.data.tolist() == [0, 1]
    # and the next one is not
    o.zero_grad()
    slope(p, 5)
    o.step()
    assert p.data.tolist() == [-5, -4]


def test_a_gradient_made_by_hand_is_stepped_with():
    p = parameter(1, 2)
    o = sgd(p)
    p.grad = np.array([3, 4], np.float32)
    o.step()
    assert p.data.tolist() == [-2, -2]


def test_a_gradient_from_before_the_optimizer_is_stepped_with():
    p = parameter(1, 2)
    slope(p, 3)
    o = sgd(p)
    o.step()
    assert p.data.tolist() == [-2, -1]


def test_backward_adds_to_an_assigned_gradient():
    p, given = parameter(1, 2), np.array([3, 4], np.float32)
    o = sgd(p)
    p.grad = given
    slope(p, 10)
    assert p.grad.tolist() == [13, 14]
    assert given.tolist() == [3, 4]
    o.step()
    assert p.data.tolist() == [-12, -12]


def test_gradients_that_change_places():
    a, b = parameter(0), parameter(0)
    o = sgd(a, b)
    slope(a, 1)
    slope(b, 2)
    a.grad, b.grad = b.grad, a.grad
    o.step()
    assert (a.data.item(), b.data.item()) == (-2, -1)


def test_an_array_given_to_two_parameters_stays_apart():
    a, b, g = parameter(0), parameter(0), np.ones(1, np.float32)
    a.grad = b.grad = g
    slope(a, 1)
    assert (a.grad.item(), b.grad.item(), g.item()) == (2, 1, 1)


def test_a_deferred_gradient_that_is_replaced_is_not_computed_again(monkeypatch):
    w = Tensor(np.ones((300, 300), np.float32), requires_grad=True)
    o = sgd(w)
    ops.linear(Tensor(np.ones((2, 300), np.float32)), w).sum().backward()
    assert w.deferred_grad is not None
    w.grad = w.grad * np.float32(0.25)
    assert w.deferred_grad is None
    o.step()
    assert (w.data == 0.5).all()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.ones(2), TypeError, r"grad must be float32, not float64: convert it with .astype\(\)"),
        (np.ones(3, np.float32), ValueError, r"grad must have the shape \(2,\), not \(3,\)"),
        ([1.0, 1.0], TypeError, "grad must be a numpy array, not list"),
        (0, TypeError, "grad must be a numpy array, not int"),
        (Tensor([1.0, 1.0]), TypeError, "grad must be a numpy array, not Tensor"),
    ],
    ids=["type", "shape", "list", "number", "Tensor"],
)
def test_what_is_no_gradient_is_refused_and_changes_nothing(value, error, message):
    for p in (parameter(1, 2), sgd(parameter(1, 2)).params[0]):
        slope(p, 3)
        with pytest.raises(error, match=message):
            p.grad = value
        assert p.grad.tolist() == [3, 3]


# Arrays -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_a_rebound_array_trains_as_one_written_in_place(name):
    def run(rebind):
        p, q = parameter(1, 2, 3), parameter(4)
        o = getattr(optim, name)([p, q], **RULES[name])
        for turn in range(3):
            new = np.array([turn, 5, -turn], np.float32)
            if rebind:
                p.data = new
            else:
                p.data[...] = new
            o.zero_grad()
            ((p * p).sum() + (q * 2)).backward()
            o.step()
        return [p.data.tolist(), q.data.tolist()]

    assert run(rebind=True) == run(rebind=False)


def test_arrays_that_change_places():
    a, b = parameter(1, 2), parameter(3, 4)
    o = sgd(a, b)
    a.data, b.data = b.data, a.data
    slope(a, 1)
    o.step()
    assert (a.data.tolist(), b.data.tolist()) == ([2, 3], [1, 2])


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.ones(2), TypeError, "the array assigned to data of out.bias must be float32, not floa"),
        (np.ones(3, np.float32), ValueError, r"data of out.bias must have the shape \(2,\), not"),
    ],
    ids=["type", "shape"],
)
def test_an_array_that_does_not_fit_is_refused_by_name(value, error, message):
    p, q = parameter(1), parameter(1, 2)
    o = optim.SGD([("in", p), ("out.bias", q)], lr=1.0)
    slope(p, 3)
    q.data = value
    with pytest.raises(error, match=message):
        o.step()
    assert (p.data.item(), o.steps) == (1, 0)


def test_without_a_name_it_is_refused_by_number_and_shape():
    p, q = parameter(1), parameter(1, 2)
    o = sgd(p, q)
    q.data = np.ones(2)
    with pytest.raises(TypeError, match=r"data of parameter 1 of shape \(2,\) must be float32"):
        o.step()


def test_parameters_that_share_an_array_are_refused():
    shared = np.ones(2, np.float32)
    a, b = Tensor(shared, requires_grad=True), Tensor(shared, requires_grad=True)
    with pytest.raises(ValueError, match="a and b share memory: to tie weights, use one"):
        optim.SGD([("a", a), ("b", b)])
    b = parameter(1, 1)
    o = optim.SGD([("a", a), ("b", b)])
    b.data = a.data
    with pytest.raises(ValueError, match="a and b share memory"):
        o.step()


def test_parameters_that_share_a_part_are_refused():
    whole = np.ones((2, 4), np.float32)
    left, most = (Tensor(whole[:, part], requires_grad=True) for part in (slice(2), slice(1, 4)))
    with pytest.raises(ValueError, match=r"parameter 0 .* and parameter 1 .* share memory"):
        sgd(left, most)


def test_parameters_that_lie_between_each_other_share_nothing():
    whole = np.ones((2, 4), np.float32)
    even, odd = (Tensor(whole[:, first::2], requires_grad=True) for first in range(2))
    o = sgd(even, odd)
    slope(odd, 3)
    o.step()
    assert (even.data == 1).all()
    assert (odd.data == -2).all()


def test_empty_parameters_share_nothing():
    empty = np.ones(0, np.float32)
    params = [Tensor(empty, requires_grad=True) for _ in range(2)] + [parameter(1)]
    o = sgd(*params)
    slope(params[2], 3)
    o.step()
    assert params[2].data.item() == -2


# Copies and second optimizers ---------------------------------------------------------------------


def test_two_optimizers_over_one_parameter_both_move_it():
    p = parameter(1)
    first, second = sgd(p), sgd(p, lr=10.0)
    slope(p, 1)
    first.step()
    assert p.data.item() == 0
    second.step()
    assert p.data.item() == -10
    p.grad = None
    slope(p, 2)
    first.step()
    assert p.data.item() == -12


def test_a_second_optimizer_takes_over_a_deferred_gradient():
    w = Tensor(np.ones((300, 300), np.float32), requires_grad=True)
    first = sgd(w)
    ops.linear(Tensor(np.ones((2, 300), np.float32)), w).sum().backward()
    assert w.deferred_grad is not None
    second = sgd(w)
    assert (w.grad == 2).all()
    first.step()
    second.step()
    assert (w.data == -3).all()


def network():
    g = Generator(3)
    return nn.Sequential(
        nn.Linear(90, 100, generator=g),
        nn.ReLU(),
        nn.Dropout(0.5, g),
        nn.Linear(100, 3, generator=g),
    )


def train(model, optimizer, steps=2):
    rng = np.random.default_rng(optimizer.steps)
    for _ in range(steps):
        optimizer.zero_grad()
        x = Tensor(rng.standard_normal((2, 90)).astype(np.float32))
        ops.cross_entropy(model(x), np.array([0, 2])).backward()
        optimizer.step()
    return {name: array.copy() for name, array in model.state_dict().items()}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("deferred", [False, True], ids=["", "deferred"])
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_of_both_trains_as_the_original(name, deferred, copied):
    model = network()
    optimizer = getattr(optim, name)(model.named_parameters(), **RULES[name])
    train(model, optimizer)
    if deferred:
        optimizer.zero_grad()
        ops.cross_entropy(model(Tensor(np.ones((2, 90), np.float32))), np.array([1, 1])).backward()
        assert any(p.deferred_grad is not None for p in model.parameters())
    other, its = copied((model, optimizer))
    assert list(map(id, its.param_groups[0]["params"])) == list(map(id, other.parameters()))
    before = {n: array.copy() for n, array in model.state_dict().items()}
    assert all(p.grad is None for p in other.parameters())
    after = train(other, its)
    for n, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[n])
    for n, array in train(model, optimizer).items():
        np.testing.assert_array_equal(array, after[n])
        assert (array != before[n]).any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_model_with_all_that_may_hang_on_it_is_copied(copied):
    """An optimizer, gradients that are deferred or not, hooks of parameters, a running hook."""
    model = network()
    optimizer = optim.SGD(model.named_parameters(), lr=0.5, momentum=0.9)
    model[3].weight.register_hook(lambda g: g / 2)
    model[0].register_forward_hook(unchanged)
    train(model, optimizer)
    optimizer.zero_grad()
    ops.cross_entropy(model(Tensor(np.ones((2, 90), np.float32))), np.array([1, 1])).backward()
    assert model[0].weight.deferred_grad is not None
    other = copied(model)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert not np.shares_memory(p.data, q.data)
        assert (q.grad, q.grad_buffer, q.deferred_grad, q.hooks) == (None,) * 4
    before = other[0].weight.data.copy()
    optimizer.step()
    np.testing.assert_array_equal(other[0].weight.data, before)


def unchanged(module, args, y):
    return y


def test_a_copy_of_a_model_is_held_by_no_optimizer():
    model = network()
    optim.SGD(model.parameters())
    other = copy.deepcopy(model).to(dtype=np.float64)
    assert {p.dtype for p in other.parameters()} == {np.dtype(np.float64)}
    optimizer = optim.SGD(copy.deepcopy(model).parameters(), lr=1.0)
    slope(optimizer.params[0], 1)
    optimizer.step()
    np.testing.assert_array_equal(optimizer.params[0].data, model[0].weight.data - 1)


def test_a_whole_network_survives_pickle_after_a_backward():
    model = models.alexnet("alexnet-mini", num_classes=10, seed=1)
    optimizer = optim.RMSprop(model.parameters())
    x = Tensor(np.ones((2, 3, 64, 64), np.float32))
    ops.cross_entropy(model(x), np.array([1, 2])).backward()
    pickled = pickle.dumps(model)
    assert len(pickled) < 1.1 * sum(p.data.nbytes for p in model.parameters())
    other = pickle.loads(pickled)
    assert all(p.grad is None for p in other.parameters())
    optimizer.step()
    model.eval()
    other.eval()
    assert (model(x).data != other(x).data).any()


def test_a_shallow_copy_has_a_gradient_of_its_own():
    p = parameter(1)
    sgd(p)
    slope(p, 1)
    q = copy.copy(p)
    slope(q, 1)
    assert (p.grad.item(), q.grad.item()) == (1, 1)
    assert np.shares_memory(p.data, q.data)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_graph_is_not_copied(copied):
    with pytest.raises(TypeError, match=r"made by multiply cannot be copied .* use detach\(\)"):
        copied(parameter(1) * 2)


def test_what_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match="an optimizer takes Tensors, not str"):
        optim.SGD(network().state_dict())


@pytest.mark.parametrize("before", [3, 1], ids=["larger", "smaller"])
def test_a_gradient_of_an_array_that_was_replaced_is_not_added_to(before):
    p = parameter(*range(before))
    slope(p, 2)
    p.data = np.ones(4 - before, np.float32)
    with pytest.raises(ValueError, match="added to the gradient of an earlier backward must have"):
        slope(p, 2)
    with pytest.raises(ValueError, match=r"the gradient of w must have the shape"):
        optim.SGD([("w", p)])
    p.grad = None
    slope(p, 2)
    assert p.grad.tolist() == [2] * (4 - before)


def test_whole_numbers_are_not_trained():
    p = parameter(1, 2).requires_grad_(False)
    p.data = np.arange(2)
    with pytest.raises(ValueError, match="float32 or float64"):
        sgd(p)
    t = Tensor(np.arange(2))
    with pytest.raises(TypeError, match="bfloat16 can require a gradient, not int"):
        t.requires_grad = True
    assert not t.requires_grad
