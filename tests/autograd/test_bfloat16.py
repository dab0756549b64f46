"""bfloat16 Tensors: held in 8 bits, computed in float32."""

import copy
import pickle

import numpy as np
import pytest

import minialex
from minialex import Tensor, ops
from minialex.arrays import BFLOAT16
from minialex.autograd import OPS, Implementation, Op, record_calls
from minialex.check import CASES, GradientError, gradcheck
from minialex.check.case import is_float
from minialex.models import alexnet
from minialex.optim import SGD
from tests.autograd.leaves import leaf
from tests.check.zoo import off_the_lists

# one more bit than bfloat16 has: a tie, which goes to the even neighbour, and a little more
TIES = 1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20
ROUNDED = 1, 1 + 2.0**-6, 1 + 2.0**-7


def narrow(*values):
    return Tensor(np.array(values, np.float32)).astype("bfloat16")


def bits(a):
    """Return what two arrays must share: the bits, any NaN being as good as another."""
    a = np.ascontiguousarray(a)
    found = a.view(f"u{a.itemsize}").copy()
    if a.dtype == BFLOAT16 or a.dtype.kind == "f":
        found[np.isnan(a)] = 0
    return a.dtype, a.shape, found.tolist()


def test_numbers_are_rounded_to_the_nearest():
    x = narrow(*TIES, -0.0, np.inf, np.nan, 2.0**-133)
    assert x.dtype == BFLOAT16
    assert x.data[:3].tolist() == list(ROUNDED)
    assert np.signbit(x.data[3])
    assert x.data[4] == np.inf
    assert np.isnan(x.data[5])
    assert x.data[6] == 2.0**-133
    assert repr(x[:2]).startswith("Tensor([1, 1.01562], bfloat16")
    assert x[0].item() == 1.0


def grid():
    return [
        pytest.param(name, case, id=f"{name}-{case.name}")
        for name in sorted(OPS)
        for case in CASES[name]
        if case.output_dtype is None and case.output_device is None
    ]


@pytest.mark.parametrize(("name", "case"), grid())
def test_every_op_gives_what_float32_gives_rounded_once(name, case):
    """By its default on a CPU, weights staying float32 where it takes them."""
    op, params = OPS[name], dict(case.params)
    drawn = [a.astype(BFLOAT16) if is_float(a) else a for a in case.draw(name)]

    def run(held):
        types = [held if not (op.takes_weights and i) else np.float32 for i in range(len(drawn))]
        inputs = [
            Tensor(a.astype(t) if a.dtype == BFLOAT16 else a) if a is not None else None
            for a, t in zip(drawn, types, strict=True)
        ]
        for i in case.differentiable(case.draw(name)):
            inputs[i].requires_grad_()
        with np.errstate(all="ignore"):
            y = op(*inputs, **params)
            gy = np.random.default_rng(3).standard_normal(y.shape).astype(BFLOAT16)
            if y.requires_grad:
                y.backward(gy.astype(held))
        return y.data, [t if t is None else t.grad for t in inputs]

    (y, grads), (want, wide) = run(BFLOAT16), run(np.dtype(np.float32))
    is_number = want.dtype == np.float32
    with np.errstate(all="ignore"):
        assert bits(y) == bits(want.astype(BFLOAT16) if is_number else want)
        for i, (g, w) in enumerate(zip(grads, wide, strict=True)):
            assert (g is None) == (w is None)
            if g is not None:
                assert bits(g) == bits(w if op.takes_weights and i else w.astype(BFLOAT16))


def test_weights_stay_float32_and_so_do_their_gradients():
    x = narrow(1.0, 2.0).reshape(1, 2).requires_grad_()
    w, b = leaf([1.0, TIES[0]], dtype=np.float32), leaf(0.5, dtype=np.float32)
    y = ops.linear(x, w, b)
    y.sum().backward()
    assert (y.dtype, w.grad.dtype, b.grad.dtype) == (BFLOAT16, np.float32, np.float32)
    # 3.5078125, of which 8 bits are kept once
    assert y.item() == 3.5


def test_weights_may_be_bfloat16_too():
    x, w = narrow(1.0, 2.0).reshape(1, 2), narrow(3.0, 4.0).reshape(1, 2).requires_grad_()
    y = ops.linear(x, w)
    y.sum().backward()
    assert (y.item(), w.grad.dtype, w.grad.tolist()) == (11, BFLOAT16, [[1, 2]])


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: x + y,
        lambda x, y: x @ y,
        lambda x, y: ops.concatenate([x, y]),
        lambda x, y: ops.linear(y.reshape(1, 2), x.reshape(1, 2)),
        lambda x, y: x > y,
    ],
    ids=["add", "matmul", "concatenate", "linear", "greater"],
)
def test_two_types_are_refused_elsewhere(call):
    with pytest.raises(TypeError, match=r"inputs of different types \(bfloat16, float32\)"):
        call(narrow(1.0, 2.0), Tensor(np.ones(2, np.float32)))


def test_numbers_and_whole_numbers_take_the_type_beside_them():
    x = narrow(1.0, 2.0)
    for y in (x + 1, 2.0 * x, x / np.float64(4), x - np.array([1, 2]), x * np.array([True, False])):
        assert y.dtype == BFLOAT16
    assert (x > 1).data.tolist() == [False, True]
    assert x.max().item() == 2


def test_gradients_are_bfloat16_and_add_up():
    x = narrow(1.0, 2.0).requires_grad_()
    for total in (3.0, 6.0):
        (3 * x).sum().backward()
        assert (x.grad.dtype, x.grad.tolist()) == (BFLOAT16, [total] * 2)


def test_gradients_pass_from_one_type_to_another():
    x = leaf(1.0, 2.0, dtype=np.float32)
    (x.astype("bfloat16") * TIES[0]).astype(np.float64).sum().backward()
    # the number takes the type beside it
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [1.0, 1.0])


def test_copies_and_pickles_keep_the_type():
    x = narrow(1.0, 2.0).detach()
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert (y.dtype, y.data.tolist()) == (BFLOAT16, [1, 2])


def test_calls_name_the_implementation_that_the_op_has():
    x = narrow(1.0)
    with record_calls() as calls:
        ops.relu(x)
    assert calls[0].implementation is OPS["relu"].implementations["blocked"]


def test_an_optimizer_wants_its_parameters_in_float32():
    with pytest.raises(ValueError, match="beside activations of bfloat16, parameters stay float32"):
        SGD([narrow(1.0).detach().requires_grad_()], lr=1)


def test_a_network_takes_bfloat16_images():
    model = alexnet("alexnet-mini", 10).eval()
    images = Tensor(np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32))
    want, got = model(images).data, model(images.astype("bfloat16"))
    got.sum().backward()
    assert got.dtype == BFLOAT16
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    assert 0 < np.abs(got.data.astype(np.float32) - want).max() < 0.02 * np.abs(want).max()


def test_whole_numbers_of_any_size_stand_beside_it():
    x = narrow(1.0, 2.0)
    assert (x + 2**63).data.tolist() == [2.0**63] * 2
    assert (x < 2**70).data.all()
    with pytest.raises(ValueError, match="does not fit into bfloat16"):
        x + 10**400


@pytest.mark.parametrize("keep", [True, False])
def test_a_widened_implementation_keeps_what_is_owed(keep):
    """Nothing is saved where no backward follows; a gradient goes where `out` says."""
    one = OPS["linear"].implementations["blocked"].widened
    x, w = narrow(1.0, 2.0).data.reshape(1, 2), np.ones((3, 2), np.float32)
    y, saved = one.forward(x, w, None)
    places = np.empty((1, 2), BFLOAT16), np.empty((3, 2), np.float32), None
    gx, gw, _ = one.backward(np.ones_like(y), saved, needs=(True, True, False), out=places)
    assert gx is places[0]
    assert gw is places[1]
    assert (gx.tolist(), gw.tolist()) == ([[3, 3]], [[1, 2]] * 3)
    relu = OPS["relu"].implementations["blocked"].widened
    assert (relu.forward(x, keep=keep)[1] == ()) == (not keep)


def test_gradcheck_looks_at_it_in_float64():
    x = narrow(1.0, -2.0, 3.5).detach().requires_grad_()
    report = gradcheck(lambda t: ops.exp(t) * t, (x,))
    assert "not checked in bfloat16, whose rounding would hide faults, but in float64" in str(
        report
    )
    wrong = Implementation(lambda t: (2 * t, ()), lambda gy, saved: (2.1 * gy,))
    with off_the_lists("negative"):
        op = Op("negative", {"plain": wrong})
    with pytest.raises(GradientError, match=r"every element is 1\.05 times too large"):
        gradcheck(op, (x,))


def test_a_network_that_is_saved_is_converted_first(tmp_path):
    model = alexnet("alexnet-mini", 2).to(dtype="bfloat16")
    said = r"features.0.weight is bfloat16; first model.to\(dtype='float32'\)"
    with pytest.raises(ValueError, match=said):
        minialex.save(model, tmp_path / "model.safetensors", classes=["a", "b"])
