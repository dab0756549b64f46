"""A graph whose parameters were changed after its forward pass gives no gradient."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops, optim

WORDS = "changed after the forward pass, by an optimizer's step or by load_state_dict"


def ones(*shape):
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


def two_layers():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def loss_of(model):
    return model(Tensor(np.ones((5, 3), np.float32))).sum()


def test_a_step_between_two_backward_passes_over_one_graph():
    model = two_layers()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss = loss_of(model)
    loss.backward(retain_graph=True)
    before = [p.grad.copy() for p in model.parameters()]
    optimizer.step()
    with pytest.raises(RuntimeError, match=f"linear needs for its gradients was {WORDS}"):
        loss.backward()
    # nothing was added before it was seen
    for p, g in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad, g)


def test_a_step_of_one_loss_before_the_backward_of_another():
    model = two_layers()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    first, second = loss_of(model), loss_of(model)
    first.backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match=WORDS):
        second.backward()
    loss_of(model).backward()


def test_load_state_dict_between_forward_and_backward():
    model = two_layers()
    loss = loss_of(model)
    model.load_state_dict({k: 2 * v for k, v in model.state_dict().items()})
    with pytest.raises(RuntimeError, match=r"parameter of shape \(\d, \d\).*" + WORDS):
        loss.backward()


def test_an_array_that_was_assigned_and_moved_into_the_optimizers_memory():
    w = ones(3, 3)
    optimizer = optim.SGD([w], lr=0.1)
    loss = (w * w).sum()
    w.data = np.zeros((3, 3), np.float32)
    optimizer.step()
    with pytest.raises(RuntimeError, match=WORDS):
        loss.backward()


def test_an_array_of_before_the_optimizer_is_what_it_was():
    w = ones(3)
    loss = (w * w).sum()
    optimizer = optim.SGD([w], lr=0.1)
    w.grad = np.ones(3, np.float32)
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()
    assert w.grad.tolist() == [2, 2, 2]


def test_a_parameter_without_a_gradient_is_not_changed_by_a_step():
    used, spared = ones(3, 3), ones(3, 3)
    optimizer = optim.SGD([used, spared], lr=0.1)
    loss = (spared * spared).sum()
    (used * used).sum().backward()
    optimizer.step()
    loss.backward()
    assert spared.grad.tolist() == (2 * np.ones((3, 3))).tolist()


def test_what_backward_does_not_need_may_change():
    bias = ones(3)
    optimizer = optim.SGD([bias], lr=0.1)
    loss = (Tensor(np.zeros((2, 3), np.float32)) + bias).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()
    assert bias.grad.tolist() == [2, 2, 2]


def test_a_view_of_the_parameter_counts():
    w = ones(3, 3)
    optimizer = optim.SGD([w], lr=0.1)
    x = ones(2, 3)
    loss = ops.linear(x, w.transpose()).sum()
    w.grad = np.ones((3, 3), np.float32)
    optimizer.step()
    with pytest.raises(RuntimeError, match=WORDS):
        loss.backward()


def test_who_writes_to_an_array_can_say_so():
    w = ones(3)
    loss = (w * w).sum()
    w.data *= 2
    w.note_change()
    with pytest.raises(RuntimeError, match=WORDS):
        loss.backward()


def test_what_was_computed_after_the_change_is_right():
    w, bias = ones(3), ones(3)
    optimizer = optim.SGD([w, bias], lr=1)
    early = bias + 1
    w.grad = np.ones(3, np.float32)
    bias.grad = np.ones(3, np.float32)
    optimizer.step()
    optimizer.zero_grad()
    # `early` needs nothing of the bias, and w was used after the step alone
    (early * w).sum().backward()
    assert bias.grad.tolist() == [0, 0, 0]
    assert w.grad.tolist() == [2, 2, 2]
