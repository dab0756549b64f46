"""The bfloat16 shadow of parameters: current after each step, and gone where it might not be."""

import copy

import numpy as np
import pytest

from minialex import Tensor, cuda, ops, optim
from minialex.arrays import BFLOAT16

KINDS = {
    "RMSprop": {"momentum": 0.9, "centered": True},
    "SGD": {"momentum": 0.9},
    "Adam": {},
}
SIZES = (7,), (16, 3), (5,)


def parameters(dtype=np.float32):
    rng = np.random.default_rng(1)
    return [Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in SIZES]


def set_gradients(params):
    rng = np.random.default_rng(2)
    for p in params:
        p.grad = rng.standard_normal(p.shape).astype(p.dtype)


def assert_current(params):
    for p in params:
        assert p.shadow.tobytes() == p.array.astype(BFLOAT16).tobytes()
        assert p.shadow.shape == p.shape


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_write_it_with_the_step(kind, dtype):
    """The vectors of a parameter of 48, the numbers of one of 5; one without a gradient stays."""
    params = parameters(dtype)
    with cuda.emulated("checked"):
        optimizer = getattr(optim, kind)(params, lr=0.5, **KINDS[kind])
        optimizer.refresh_shadow()
        before = [p.shadow.copy() for p in params]
        for _ in range(2):
            set_gradients(params[:2])
            optimizer.step()
            assert_current(params)
        changed = [(p.shadow != one).any() for p, one in zip(params, before, strict=True)]
    assert changed == [True, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_without_one_a_step_changes_the_parameters_as_with_it(kind):
    def stepped(*, shadow):
        params = parameters()
        with cuda.emulated():
            optimizer = getattr(optim, kind)(params, lr=0.5, **KINDS[kind])
            if shadow:
                optimizer.refresh_shadow()
            set_gradients(params)
            optimizer.step()
        return [p.data.tobytes() for p in params]

    assert stepped(shadow=True) == stepped(shadow=False)


def held():
    params = parameters()
    with cuda.emulated():
        optimizer = optim.SGD(params, lr=1)
        optimizer.refresh_shadow()
    return params, optimizer


def noted(p):
    p.array.fill(3)
    p.note_change()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.data.fill(3),
        lambda p: setattr(p, "data", np.full(p.shape, 3, np.float32)),
        noted,
    ],
    ids=["written to", "assigned", "noted"],
)
def test_it_is_gone_where_numbers_may_have_changed(change):
    params, optimizer = held()
    change(params[1])
    assert params[1].shadow is None
    assert_current([params[0], params[2]])
    with cuda.emulated():
        optimizer.refresh_shadow()
    # what others may still write to has none
    assert (params[1].shadow is None) == params[1].is_exposed == (change is not noted)
    with cuda.emulated():
        optim.SGD(params, lr=1).refresh_shadow()
    assert_current(params)
    assert (params[1].shadow == 3).all()


def test_looking_at_a_parameter_keeps_it():
    (p, *_), _ = held()
    assert (p.shape, p.ndim, p.size, p.dtype, p.device.kind) == ((7,), 1, 7, np.float32, "cpu")
    (p * 2).sum().backward()
    repr(p.grad)
    assert_current([p])


def test_where_no_kernels_run_there_is_none():
    params = parameters()
    optimizer = optim.SGD(params, lr=1)
    optimizer.refresh_shadow()
    assert [p.shadow for p in params] == [None] * 3
    params, optimizer = held()
    set_gradients(params[:1])
    # an update that does not write it
    optimizer.step()
    assert params[0].shadow is None
    assert_current(params[1:])


def test_copies_have_none_of_their_own_till_it_is_asked_for():
    _, optimizer = held()
    twin = copy.deepcopy(optimizer)
    assert [p.shadow for p in twin.params] == [None] * 3
    with cuda.emulated():
        twin.refresh_shadow()
    assert_current(twin.params)
    assert not np.shares_memory(twin.params[0].shadow, optimizer.params[0].shadow)


def test_a_graph_of_before_the_step_gives_no_gradients():
    """What it has saved may be the shadow, which the step has written to."""
    params, optimizer = held()
    shadow = params[1].shadow
    x = Tensor(np.ones((2, 3), np.float32)).astype("bfloat16")
    y = ops.linear(x, params[1])
    y.node.saved = (shadow, *y.node.saved)
    set_gradients(params)
    with cuda.emulated():
        optimizer.step()
    y.node.saved = y.node.saved[:1]
    with pytest.raises(RuntimeError, match="was written to after the forward pass"):
        y.sum().backward()


# What was given away ------------------------------------------------------------------------------

GIVEN_AWAY = {
    "data": lambda p: p.data,
    "detach": lambda p: p.detach().data,
    "numpy": lambda p: p.numpy(),
    "a copy of the Tensor": lambda p: copy.copy(p).data,
    "DLPack": lambda p: np.from_dlpack(p.detach()),
}


@pytest.mark.parametrize("way", GIVEN_AWAY)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_given_away_may_be_written_to_at_any_time(way, when):
    params, optimizer = held()
    if when == "before":
        optimizer = optim.SGD(params, lr=1)
        array = GIVEN_AWAY[way](params[1])
    with cuda.emulated():
        optimizer.refresh_shadow()
        if when == "after":
            array = GIVEN_AWAY[way](params[1])
        optimizer.refresh_shadow()
        assert params[1].shadow is None
        set_gradients(params)
        optimizer.step()
        array[...] = 3
        assert params[1].shadow is None
        assert (params[1].array == 3).all()
        assert_current([params[0], params[2]])
        # new memory, which was not given away
        optim.SGD(params, lr=1).refresh_shadow()
    assert_current(params)


def test_looking_at_the_weights_does_not_take_the_shadow_from_saved_arrays():
    """The shadow that forward has saved is written to by the step, though data was looked at."""
    p = Tensor(np.ones((16, 16), np.float32), requires_grad=True)
    x = Tensor(np.ones((2, 16), np.float32)).astype("bfloat16").requires_grad_()
    with cuda.emulated():
        optimizer = optim.SGD([p], lr=0.5)
        optimizer.refresh_shadow()
        y = ops.linear(x, p)
        assert any(saved is p.shadow for saved in y.node.saved)
        assert p.data.sum() == 256
        p.grad = np.ones_like(p.array)
        optimizer.step()
        with pytest.raises(RuntimeError, match="was written to after the forward pass"):
            y.sum().backward()
        y = ops.linear(x, p)
        twin = optim.SGD([p], lr=0.5)
        twin.refresh_shadow()
        y = ops.linear(x, p)
        p.note_change()
        twin.refresh_shadow()
        with pytest.raises(RuntimeError, match="was written to after the forward pass"):
            y.sum().backward()


def test_a_step_that_fails_leaves_no_shadow_of_before(monkeypatch):
    params, optimizer = held()
    set_gradients(params)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(optimizer.arena, "add_state", fail)
    with cuda.emulated(), pytest.raises(MemoryError):
        optimizer.step()
    assert [p.shadow for p in params] == [None] * 3
