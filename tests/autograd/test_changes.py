"""A graph gives no gradient where what it has saved was written to after its forward pass."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops, optim

WORDS = "written to after the forward pass, by an optimizer's step or by load_state_dict"


def ones(*shape):
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


def two_layers():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def step(optimizer, p):
    """Have the optimizer change `p`, whatever a backward would say."""
    p.grad = np.ones(p.shape, np.float32)
    optimizer.step()


def assert_refused(loss):
    with pytest.raises(RuntimeError, match=WORDS):
        loss.backward()


def loss_of(model):
    return model(Tensor(np.ones((5, 3), np.float32))).sum()


def test_a_step_between_two_backward_passes_over_one_graph():
    model = two_layers()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss = loss_of(model)
    loss.backward(retain_graph=True)
    before = [p.grad.copy() for p in model.parameters()]
    optimizer.step()
    with pytest.raises(RuntimeError, match=f"linear saved for its gradients was {WORDS}"):
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
    assert_refused(second)
    loss_of(model).backward()


def test_load_state_dict_between_forward_and_backward():
    model = two_layers()
    loss = loss_of(model)
    model.load_state_dict({k: 2 * v for k, v in model.state_dict().items()})
    with pytest.raises(RuntimeError, match=r"array of shape \(\d, \d\).*" + WORDS):
        loss.backward()


def test_an_array_that_was_assigned_and_moved_into_the_optimizers_memory():
    w = ones(3, 3)
    optimizer = optim.SGD([w], lr=0.1)
    loss = (w * w).sum()
    w.data = np.zeros((3, 3), np.float32)
    optimizer.step()
    assert_refused(loss)


def test_an_array_of_before_the_optimizer_is_what_it_was():
    w = ones(3)
    loss = (w * w).sum()
    optimizer = optim.SGD([w], lr=0.1)
    step(optimizer, w)
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
    loss = ops.linear(x, w.T).sum()
    step(optimizer, w)
    assert_refused(loss)


def test_who_writes_to_an_array_can_say_so():
    w = ones(3)
    loss = (w * w).sum()
    w.data *= 2
    w.note_change()
    assert_refused(loss)


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


def test_a_layer_that_was_frozen_in_the_forward_pass():
    actor, critic = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    optimizer = optim.SGD(critic.parameters(), lr=0.1)
    x = Tensor(np.ones((2, 3), np.float32))
    for p in critic.parameters():
        p.requires_grad = False
    loss = critic(actor(x)).mean()
    for p in critic.parameters():
        p.requires_grad = True
    (critic(x) * critic(x)).mean().backward()
    optimizer.step()
    assert_refused(loss)


@pytest.mark.parametrize("alias", [lambda p: p.detach(), lambda p: Tensor(p.data.reshape(1, 3))])
def test_another_tensor_of_the_same_memory(alias):
    p, z = ones(3), ones(3)
    optimizer = optim.SGD([p], lr=2)
    loss = (alias(p) * z).sum()
    step(optimizer, p)
    with pytest.raises(RuntimeError, match=WORDS):
        loss.backward()


def step_of_another(p):
    optim.SGD([p], lr=1).step()


def move(p):
    p.data = np.zeros(3, np.float32)


@pytest.mark.parametrize("after", [step_of_another, move])
def test_an_array_that_was_moved_after_the_step(after):
    p, z = ones(3), ones(3)
    optimizer = optim.SGD([p], lr=2)
    loss = (p * z).sum()
    step(optimizer, p)
    after(p)
    assert_refused(loss)


def test_who_says_so_of_what_is_no_leaf_that_wants_a_gradient():
    x, z = Tensor(np.ones(3, np.float32)), ones(3)
    loss = (x * z).sum()
    x.data *= 2
    x.note_change()
    assert_refused(loss)


def test_memory_that_went_to_somebody_else_is_not_what_was_written_to():
    for _ in range(20):
        model = two_layers()
        optimizer = optim.Adam(model.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(model).backward()
            assert all(p.grad is not None for p in model.parameters())
            optimizer.step()


def test_gradients_add_up_over_graphs_that_were_made_before_any_step():
    model = two_layers()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    losses = [loss_of(model) for _ in range(3)]
    losses[0].backward()
    once = [p.grad.copy() for p in model.parameters()]
    for loss in losses[1:]:
        loss.backward()
    for p, g in zip(model.parameters(), once, strict=True):
        np.testing.assert_allclose(p.grad, 3 * g, rtol=1e-6)
    optimizer.step()


def test_ops_that_save_more_than_arrays():
    model = two_layers()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, t = Tensor(np.ones((5, 3), np.float32)), np.zeros(5, np.int64)
    z = ones(5, 2)
    early = ops.cross_entropy(z[1:], t[1:])
    ops.cross_entropy(model(x), t).backward()
    optimizer.step()
    # which needs nothing of the model
    early.backward()
    assert z.grad.any()
