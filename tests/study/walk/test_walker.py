"""A walk is what ``backward`` does, to the bit; and each mistake gives the numbers that it must."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops
from minialex.autograd import OPS, record_calls
from minialex.errors import MinialexError
from minialex.optim import SGD
from minialex.study.walk import ORDERS, walk
from minialex.study.walk import walker as module
from tests.study.walk.graphs import Drawn

SEEDS = range(60)


def leaf(*numbers):
    return Tensor(np.array(numbers, float), requires_grad=True)


def same_bits(found, tensors):
    """Assert that `found` is what stands in `grad` of the tensors, by name."""
    there = {name: t.grad for name, t in tensors.items() if t.grad is not None}
    assert found.keys() == there.keys()
    for name, g in found.items():
        assert (g.dtype, g.shape) == (there[name].dtype, there[name].shape)
        assert g.tobytes() == there[name].tobytes(), name


@pytest.mark.parametrize("seed", SEEDS)
def test_on_graphs_drawn_at_random_it_is_backward_to_the_bit(seed):
    drawn = Drawn(seed)
    named = {f"value {i}": x for i, x in enumerate((*drawn.leaves, *drawn.retained))}
    before = {name: x.grad if x.grad is None else x.grad.copy() for name, x in named.items()}
    found = walk(drawn.loss, names=named).grads
    for name, g in before.items():
        assert (named[name].grad is None) == (g is None)
        assert g is None or np.array_equal(named[name].grad, g)
    drawn.loss.backward()
    same_bits(found, named)


def test_those_graphs_have_all_that_can_go_wrong():
    ran, hooked, kept, repeated = set(), 0, 0, 0
    for seed in SEEDS:
        with record_calls() as calls:
            drawn = Drawn(seed)
        ran |= {call.op.name for call in calls if call.node is not None}
        nodes = [call.node for call in calls if call.node is not None]
        hooked += sum(bool(node.hooks) for node in nodes)
        hooked += sum(bool(x.hooks) for x in drawn.leaves)
        kept += len(drawn.retained)
        repeated += sum(
            len(set(n.edges) - {None}) < len(n.edges) - n.edges.count(None) for n in nodes
        )
    # a device to go to is not there
    own = {name for name, op in OPS.items() if op._defined_in().startswith("minialex.ops.")}
    assert ran == own - {"to"}
    assert min(hooked, kept) > 100
    assert repeated > 10


def test_leaves_that_an_optimizer_holds_are_not_written_to():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = SGD(model.parameters(), lr=0.1)
    named = dict(model.named_parameters())
    for _ in range(2):
        loss = ops.cross_entropy(model(Tensor(np.ones((5, 3), np.float32))), np.arange(5) % 2)
        buffers = [p.grad_buffer.copy() for p in named.values()]
        found = walk(loss, names=named).grads
        for p, buffer in zip(named.values(), buffers, strict=True):
            assert np.array_equal(p.grad_buffer, buffer)
        loss.backward()
        same_bits(found, named)
        optimizer.step()
        optimizer.zero_grad()


def test_what_was_written_to_since_is_not_walked():
    model = nn.Linear(3, 2)
    optimizer = SGD(model.parameters(), lr=0.1)
    loss = model(Tensor(np.ones((5, 3), np.float32), requires_grad=True)).sum()
    assert walk(loss).steps
    model.weight.grad = np.ones((2, 3), np.float32)
    optimizer.step()
    for back in (walk, lambda loss: loss.backward()):
        with pytest.raises(RuntimeError, match=r"shape \(2, 3\) that linear saved .*written to"):
            back(loss)


def test_a_module_of_two_outputs_with_a_full_backward_hook():
    class Both(nn.Module):
        def forward(self, x, y):
            return x * y, x + y

    both = Both()
    both.register_full_backward_hook(lambda m, gx, gy: (gx[0] * 2, gx[1] + gy[0]))
    x, y = leaf(1, 2), leaf(3, 4)
    product, total = both(x * 1, y * 1)
    loss = (product * total + product).sum() + total.sum()
    found = walk(loss, names={"x": x, "y": y})
    assert {"hook", "view"} <= {step.op for step in found.steps}
    loss.backward()
    same_bits(found.grads, {"x": x, "y": y})


def test_hooks_are_called_in_the_order_of_backward():
    order = []

    def note(name, x):
        x.register_hook(lambda g: order.append(name))
        return x

    a, b = note("a", leaf(1)), note("b", leaf(2))
    z = note("z", a * 2)
    loss = note("w", z * b).sum()
    walk(loss)
    assert order == ["w", "b", "z", "a"]
    loss.backward()
    assert order[4:] == order[:4]


def test_what_each_step_says():
    x = leaf(1, -2)
    with record_calls() as calls:
        y = ops.relu(x)
        loss = (y * y).sum()
    y.register_hook(lambda g: g * 10)
    found = walk(loss, names={"x": x, "y": y, "loss": loss}, calls=calls)
    assert [(s.number, s.op, s.name) for s in found.steps] == [
        (1, "sum", "loss"),
        (2, "multiply", "multiply 1"),
        (3, "relu", "y"),
    ]
    by_sum, by_product, by_relu = found.steps
    assert (found.start, found.gradient.tolist()) == ("loss", 1.0)
    assert by_sum.contributions[0].gradient.tolist() == [1, 1]
    first, second = by_product.contributions
    assert (first.to, first.input, first.before) == ("y", 0, None)
    assert (second.to, second.input, second.before.tolist()) == ("y", 1, [1, 0])
    assert second.after.tolist() == [2, 0]
    assert (by_relu.arrived.tolist(), by_relu.gy.tolist()) == ([2, 0], [20, 0])
    assert by_relu.left["x"].tolist() == [20, 0]
    assert by_relu.call.y is y.data


def test_values_without_a_name_are_numbered():
    x = leaf(1)
    found = walk((ops.relu(x) + ops.relu(x)).sum())
    assert [step.name for step in found.steps] == ["sum 1", "add 1", "relu 2", "relu 1"]
    assert list(found.grads) == ["leaf 1"]


def test_a_leaf_alone_gets_what_it_begins_with():
    x = leaf(1, 2)
    found = walk(x, [3.0, 4.0], names={"x": x})
    assert (found.steps, found.grads["x"].tolist()) == ((), [3, 4])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, 2 * 3 + 1),
        # the shorter way comes first, and what comes by the longer one is lost
        ({"order": "as they come"}, 1),
        # the shorter way counts twice
        ({"order": "recursive"}, 1 + (2 * 3 + 1)),
        ({"accumulate": "="}, 2 * 3),
        ({"replace": {"multiply": lambda node, gy: (gy, None)}}, 1 + 1),
    ],
)
def test_each_mistake_on_a_value_that_is_used_twice(how, expected):
    x = leaf(5)
    h = x + 0.0
    loss = (h + (h * 3.0) * 2.0).sum()
    assert walk(loss, names={"x": x}, **how).grads["x"].tolist() == [expected]


def test_a_chain_has_no_wrong_order():
    x = leaf(1, 2)
    loss = (x * 3.0).tanh().sum()
    passes = [walk(loss, names={"x": x}, order=order) for order in ORDERS]
    assert len({one.grads["x"].tobytes() for one in passes}) == 1


def test_recursion_ends(monkeypatch):
    monkeypatch.setattr(module, "MAX_STEPS", 100)
    y = leaf(1)
    for _ in range(12):
        y = y * 0.5 + y * 0.5
    assert len(walk(y).steps) == 36
    with pytest.raises(MinialexError, match="walk: more than 100 steps"):
        walk(y, order="recursive")


def test_what_it_refuses():
    x = leaf(1, 2)
    loss = (x * 2.0).sum()
    with pytest.raises(MinialexError, match="unknown order 'newest'; known: newest first, "):
        walk(loss, order="newest")
    with pytest.raises(MinialexError, match=r"unknown accumulate '-='"):
        walk(loss, accumulate="-=")
    with pytest.raises(RuntimeError, match="requires no gradient"):
        walk(loss.detach())
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs a gradient"):
        walk(x * 2.0)
    with pytest.raises(ValueError, match=r"the gradient has shape \(3,\), the Tensor \(2,\)"):
        walk(x * 2.0, np.ones(3))
    with pytest.raises(
        RuntimeError, match=r"of shape \(1,\) for input 0, which is of shape \(2,\)"
    ):
        walk(loss, replace={"multiply": lambda node, gy: (gy[:1], None)})
    with pytest.raises(RuntimeError, match="a tuple of 2, a gradient or None for each input"):
        walk(loss, replace={"multiply": lambda node, gy: gy})
    loss.backward()
    with pytest.raises(RuntimeError, match="its saved arrays were freed"):
        walk(loss)
