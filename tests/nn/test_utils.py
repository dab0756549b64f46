"""Gradient clipping: by the formula, by PyTorch's, and in an optimizer's memory."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops, optim
from minialex.nn import utils

NAN, INF = float("nan"), float("inf")


def with_gradients(*gradients, held=False):
    params = [Tensor(np.zeros_like(g), requires_grad=True) for g in gradients]
    if held:
        optim.SGD(params)
    for p, g in zip(params, gradients, strict=True):
        if held:
            (p * g).sum().backward()
        else:
            p.grad = np.array(g)
    return params


@pytest.mark.parametrize("held", [False, True], ids=["", "arena"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_norm_of_all_together(held, dtype):
    a, b = np.array([[3, 0], [0, 4]], dtype), np.array([12], dtype)
    params = with_gradients(a, b, held=held)
    without = Tensor(np.ones(2), requires_grad=True)
    norm = nn.utils.clip_grad_norm_([*params, without], 6.5)
    assert (norm.item(), norm.shape, norm.dtype) == (13, (), np.dtype(dtype))
    for p, g in zip(params, (a, b), strict=True):
        np.testing.assert_allclose(p.grad, g / 2, rtol=1e-6)
        assert (p.grad is p.grad_buffer) is held
    assert without.grad is None
    # below the bound nothing changes, to the last bit
    before = [p.grad.copy() for p in params]
    assert utils.clip_grad_norm_(iter(params), INF).item() == pytest.approx(6.5)
    for p, g in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.grad, g)


def test_one_tensor_none_and_an_empty_one():
    [p] = with_gradients(np.array([3.0, 4.0]))
    assert utils.clip_grad_norm_(p, 0).item() == 5
    assert (p.grad == 0).all()
    assert utils.clip_grad_norm_([], 1).item() == 0
    [empty] = with_gradients(np.zeros((0, 3)))
    assert utils.clip_grad_norm_(empty, 1).item() == 0


def test_squares_that_overflow_float32_and_blocks(monkeypatch, cores):
    monkeypatch.setattr(utils, "BLOCK_BYTES", 80)
    g = np.full(105, 1e25, np.float32)
    norms = []
    for n in 1, 2:
        cores(n)
        params = with_gradients(g)
        norms.append(utils.clip_grad_norm_(params, 1.0).item())
        np.testing.assert_allclose(params[0].grad, 105**-0.5, rtol=1e-6)
    assert norms == [pytest.approx(1e25 * 105**0.5)] * 2
    assert norms[0] == norms[1]


def test_a_deferred_gradient_is_computed_and_clipped():
    def run(clip):
        w = Tensor(np.ones((300, 300), np.float32), requires_grad=True)
        optimizer = optim.SGD([w], lr=1.0)
        ops.linear(Tensor(np.ones((2, 300), np.float32)), w).sum().backward()
        assert w.deferred_grad is not None
        clip([w])
        optimizer.step()
        return w.data

    np.testing.assert_allclose(run(lambda p: utils.clip_grad_norm_(p, 1.0)), 1 - 1 / 300, rtol=1e-6)
    assert (run(lambda p: utils.clip_grad_value_(p, 0.5)) == 0.5).all()


def test_values():
    params = with_gradients(np.array([-3.0, 0.5, NAN, INF]))
    utils.clip_grad_value_(params, 1)
    np.testing.assert_array_equal(params[0].grad, [-1, 0.5, NAN, 1])


@pytest.mark.parametrize(("value", "after"), [(INF, [0, NAN]), (NAN, [NAN, NAN])])
def test_a_norm_that_is_not_finite(value, after):
    params = with_gradients(np.array([2.0, value]))
    with pytest.raises(RuntimeError, match=r"norm of all gradients is (inf|nan), wh"):
        utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(params[0].grad, [2, value])
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(utils.clip_grad_norm_(params, 1.0).item())
    np.testing.assert_array_equal(params[0].grad, after)


@pytest.mark.parametrize("clip", [utils.clip_grad_norm_, utils.clip_grad_value_])
def test_what_is_no_bound_is_refused(clip):
    for value, error in ((-1, ValueError), (NAN, ValueError), ("1", TypeError), (None, TypeError)):
        with pytest.raises(error, match=f"^{clip.__name__}: .* is .*: give a number from 0"):
            clip(with_gradients(np.ones(2)), value)


@pytest.mark.parametrize("bound", [0.5, 100.0, INF])
@pytest.mark.parametrize("odd", [1.0, INF, NAN])
def test_it_agrees_with_pytorch(torch, bound, odd):
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(shape) for shape in ((3, 4), (5,))]
    gradients[1][2] = odd
    ours, theirs = with_gradients(*gradients), [torch.zeros(g.shape).double() for g in gradients]
    for q, g in zip(theirs, gradients, strict=True):
        q.grad = torch.tensor(g)
    with np.errstate(invalid="ignore"):
        norm = utils.clip_grad_norm_(ours, bound).item()
    np.testing.assert_allclose(norm, torch.nn.utils.clip_grad_norm_(theirs, bound).item())
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-12)
    utils.clip_grad_value_(ours, 0.1)
    torch.nn.utils.clip_grad_value_(theirs, 0.1)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-12)
