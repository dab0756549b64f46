"""Hooks of modules: before and after forward, and at both ends of the backward pass."""

import copy
import pickle

import numpy as np
import pytest

from minialex import Tensor, check, nn, no_grad, optim
from tests.autograd.leaves import close, leaf


class Pair(nn.Module):
    """Takes several inputs, and returns several outputs."""

    def forward(self, x, y, scale=1):
        return x * 2, y * 3 * scale, x + y


class Double(nn.Module):
    def forward(self, x):
        return x * 2


def values(gradients):
    return tuple(None if g is None else np.asarray(g).tolist() for g in gradients)


def note(seen):
    def hook(module, gx, gy):
        seen.append((values(gx), values(gy)))

    return hook


# Forward ------------------------------------------------------------------------------------------


def test_hooks_see_inputs_and_output_until_they_are_removed():
    layer, seen = nn.ReLU(), []
    x = leaf(-1, 2)
    with layer.register_forward_hook(lambda *told: seen.append(told)):
        y = layer(x)
    layer(x)
    assert seen == [(layer, (x,), y)]


def test_hooks_replace_inputs_and_output_in_order():
    layer, order = Double(), []
    layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    layer.register_forward_pre_hook(lambda module, args: order.append(args[0].item()))
    layer.register_forward_pre_hook(lambda module, args: args[0] * 10)
    layer.register_forward_hook(lambda module, args, y: y + 100)
    layer.register_forward_hook(lambda module, args, y: order.append((args[0].item(), y.item())))
    assert layer(leaf(1)).item() == 140
    assert order == [2, (20, 140)]


def test_several_inputs_and_outputs():
    layer, seen = Pair(), []
    layer.register_forward_pre_hook(lambda module, args: seen.append(len(args)))
    layer.register_forward_hook(lambda module, args, y: y[::-1])
    x, y = leaf(1), leaf(2)
    assert [t.item() for t in layer(x, y, scale=2)] == [3, 12, 2]
    assert [t.item() for t in layer(x, y, 2)] == [3, 12, 2]
    assert seen == [2, 3]


# Backward -----------------------------------------------------------------------------------------


def test_a_gradient_of_an_input_is_the_part_that_comes_through_the_module():
    layer, seen = Double(), []
    layer.register_full_backward_hook(note(seen))
    x = leaf(1)
    z = x * 2
    (layer(z) * 3 + z * 5).backward(np.ones(1))
    assert seen == [(([6],), ([3],))]
    close(x.grad, [22])


def test_what_a_hook_returns_flows_on_and_parameters_get_theirs():
    layer, seen = nn.Linear(1, 1), []
    optimizer = optim.SGD(layer.parameters(), lr=1.0)
    layer.weight.data[...] = 2
    layer.register_full_backward_hook(lambda module, gx, gy: (gx[0] * 7,))
    layer.register_full_backward_hook(note(seen))
    x = Tensor([[3.0]], requires_grad=True)
    layer(x).sum().backward()
    assert seen == [(([[14]],), ([[1]],))]
    assert (x.grad.item(), layer.weight.grad.item()) == (14, 3)
    optimizer.step()
    assert layer.weight.data.item() == -1


def test_outputs_that_are_not_used_and_inputs_that_need_none_have_no_gradient():
    layer, seen = Pair(), []
    layer.register_full_backward_hook(note(seen))
    x, y = leaf(1), leaf(1)
    layer(x, y, 2)[0].sum().backward()
    assert seen.pop() == (([2], None, None), ([1], None, None))
    assert y.grad is None
    first, _, third = layer(x, Tensor(np.ones(1)))
    (first + third).sum().backward()
    assert seen.pop() == (([3], None), ([1], None, [1]))
    first, second, _ = layer(x, y=y)
    (first + second).sum().backward()
    assert seen.pop() == (([2],), ([1], [1], None))


def test_where_no_input_requires_one_it_is_called_with_those_of_the_outputs():
    layer, seen = nn.Linear(1, 1), []
    layer.register_full_backward_hook(note(seen))
    layer(Tensor([[1.0]])).sum().backward()
    assert seen == [((None,), ([[1]],))]
    assert layer.weight.grad.item() == 1


def test_a_graph_that_is_kept_calls_it_again():
    layer, seen = Double(), []
    layer.register_full_backward_hook(note(seen))
    y = layer(leaf(1))
    y.backward(np.ones(1), retain_graph=True)
    y.backward(np.ones(1))
    assert len(seen) == 2


def test_without_a_gradient_there_is_no_hook():
    layer, seen = Double(), []
    layer.register_full_backward_hook(note(seen))
    x = leaf(1)
    with no_grad():
        assert layer(x).node is None
    assert layer(Tensor([1.0])).node is None
    layer.forward(x).sum().backward()
    assert not seen


@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        (lambda gx: gx * 2, TypeError, "a tuple of 1, a gradient for each .* of forward, not 2"),
        (lambda gx: gx[0], TypeError, "a tuple of 1, .*, not ndarray"),
        (lambda gx: (gx[0][:1],), ValueError, r"must have the shape \(2,\), not \(1,\)"),
        (lambda gx: (1.0,), TypeError, "must be a numpy array, not float"),
    ],
)
def test_what_is_no_gradient_is_refused(returned, error, words):
    layer = Double()
    layer.register_full_backward_hook(lambda module, gx, gy: returned(gx))
    with pytest.raises(error, match=words):
        layer(leaf(1, 2)).sum().backward()


def test_a_gradient_for_what_has_none_is_refused():
    layer = Pair()
    layer.register_full_backward_hook(lambda module, gx, gy: (gx[0], gx[0]))
    y = layer(leaf(1), Tensor(np.ones(1)))[0]
    with pytest.raises(ValueError, match=r"Pair: .* a gradient for input 1, which has none"):
        y.sum().backward()


def test_none_in_place_of_a_gradient_stops_it():
    layer, x = nn.Linear(1, 1), Tensor([[1.0]], requires_grad=True)
    layer.register_full_backward_hook(lambda module, gx, gy: (None,))
    layer(x).sum().backward()
    assert (x.grad, layer.weight.grad.item()) == (None, 1)


@pytest.mark.parametrize("y", [{"a": leaf(1)}, [leaf(1)]], ids=["dict", "list"])
def test_outputs_that_are_no_tuple_are_refused(y):
    layer = nn.Module()
    layer.forward = lambda x: y
    layer.register_full_backward_hook(note([]))
    with pytest.raises(TypeError, match=r"Module: a module with a full backward hook returns a"):
        layer(leaf(1))


# Elsewhere ----------------------------------------------------------------------------------------


def twice(module, args, y):
    return y * 2


def test_they_are_copied_and_pickled_with_the_module():
    layer, x = Double(), leaf(1)
    handle = layer.register_forward_hook(twice)
    layer.register_full_backward_hook(halved)
    copies = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    handle.remove()
    assert layer(x).item() == 2
    for one in copies:
        x.grad = None
        y = one(x)
        y.sum().backward()
        assert (y.item(), x.grad.item()) == (4, 2)
    layer.register_forward_hook(lambda module, args, y: None)
    copy.deepcopy(layer)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(layer)


def halved(module, gx, gy):
    return (gx[0] / 2,)


def test_a_hook_that_is_a_module_is_no_child():
    layer = nn.ReLU()
    layer.register_forward_pre_hook(nn.Linear(1, 1))
    assert list(layer.modules()) == [layer]


def test_whether_there_are_any():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    assert not model.has_hooks()
    for register in (
        model[1].register_forward_pre_hook,
        model.register_forward_hook,
        model[0].register_full_backward_hook,
        model[0].weight.register_hook,
    ):
        with register(print):
            assert model.has_hooks()
        assert not model.has_hooks()


def test_gradcheck_runs_them():
    layer, seen = nn.Linear(2, 3), []
    layer.register_full_backward_hook(note(seen))
    layer.weight.register_hook(lambda g: seen.append(g))
    x = Tensor(np.random.default_rng(0).standard_normal((4, 2)), requires_grad=True)
    assert check.gradcheck(layer.to(dtype=np.float64), x)
    assert len(seen) > 1
    layer.register_full_backward_hook(lambda module, gx, gy: (gx[0] * 2,))
    assert not check.gradcheck(layer, x, raise_exception=False)


@pytest.mark.torch
def test_they_are_called_as_pytorch_calls_them(torch):

    def told(module_class, tensor):
        class Inner(module_class):
            def forward(self, x, y):
                return x * y, x + y

        class Outer(module_class):
            def __init__(self):
                super().__init__()
                self.inner = Inner()

            def forward(self, x, y, k):
                a, b = self.inner(x * k, y)
                return a * b + x, b

        seen = []

        def backward(name, factor=None):
            def hook(module, gx, gy):
                seen.append((name, values(gx), values(gy)))
                return factor and tuple(None if g is None else g * factor for g in gx)

            return hook

        def forward(module, args, y):
            seen.append(("forward", *(values(t.detach() for t in ts) for ts in (args, y))))
            return tuple(t * 2 for t in y)

        outer, x, y = Outer(), tensor([1.0, 2.0]), tensor([3.0, -4.0])
        outer.inner.register_forward_hook(forward)
        outer.inner.register_forward_pre_hook(lambda module, args: (args[0] + 1, args[1]))
        for name, module in (("outer", outer), ("inner", outer.inner)):
            module.register_full_backward_hook(backward(name, 3))
            module.register_full_backward_hook(backward(name + " again"))
        first, second = outer(x, y, 5)
        (first + second).sum().backward()
        outer(x * y, y, 2)[0].sum().backward()
        return seen, values([x.grad, y.grad])

    ours = told(nn.Module, lambda v: leaf(*v))
    theirs = told(
        torch.nn.Module, lambda v: torch.tensor(v, dtype=torch.float64, requires_grad=True)
    )
    assert len(ours[0]) == 10
    assert ours == theirs
