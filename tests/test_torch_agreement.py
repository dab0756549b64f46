"""PyTorch, a second opinion: the same outputs and gradients, in float64."""

import numpy as np
import pytest

from minialex import Tensor, ops
from minialex.autograd import OPS
from minialex.check.case import generator
from minialex.check.cases import CASES
from minialex.check.suite import as_given
from minialex.reference import dropout as kept

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional


def indexed(x, index):
    return x[tuple(torch.from_numpy(i) if isinstance(i, np.ndarray) else i for i in index)]


def lrn(x, size, alpha, beta, k):
    # PyTorch takes the mean of the squares, the paper their sum
    return F.local_response_norm(x, size, alpha * size, beta, k)


def dropped(x, **params):
    # PyTorch draws another mask: only what is done with it can be compared
    return x * torch.from_numpy(kept(np.ones(x.shape), **params))


def total(x, dims, keepdim):
    return x.sum(dims, keepdim) if dims else x * 1


def cast(x, dtype):
    return x.to(getattr(torch, dtype.name))


THEIRS = {
    "absolute": torch.abs,
    "adaptive_avg_pool2d": F.adaptive_avg_pool2d,
    "add": torch.add,
    "astype": cast,
    "avg_pool2d": F.avg_pool2d,
    "clip": torch.clip,
    "concatenate": lambda *xs, dim: torch.cat(xs, dim),
    "conv2d": F.conv2d,
    "cross_entropy": F.cross_entropy,
    "divide": torch.div,
    "dropout": dropped,
    "exp": torch.exp,
    "getitem": indexed,
    "linear": F.linear,
    "local_response_norm": lrn,
    "log": torch.log,
    "log_softmax": F.log_softmax,
    "matmul": torch.matmul,
    "max": lambda x, dims, keepdim: torch.amax(x, dims, keepdim) if dims else x * 1,
    "max_pool2d": F.max_pool2d,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "multiply": torch.mul,
    "negative": torch.neg,
    "permute": torch.permute,
    "power": torch.pow,
    "relu": F.relu,
    "reshape": torch.reshape,
    "sigmoid": torch.sigmoid,
    "softmax": F.softmax,
    "sqrt": torch.sqrt,
    "subtract": torch.sub,
    "sum": total,
    "tanh": torch.tanh,
    "to": lambda x, device: x * 1,
    "where": torch.where,
}

DIFFER = {
    ("cross_entropy", "no row counts"): "PyTorch gives NaN, the mean of nothing",
    ("cross_entropy", "empty batch"): "PyTorch gives NaN, the mean of nothing",
    **{
        ("cross_entropy", f"rows that do not count are not finite, {reduction}"): "PyTorch gives "
        "such rows a gradient of NaN"
        for reduction in ("mean", "none")
    },
    ("cross_entropy", "no probabilities"): "PyTorch gives NaN, the mean of nothing",
    ("cross_entropy", "probability 0 of what is out of the question"): "PyTorch gives NaN, 0 times "
    "infinity",
    ("dropout", "not finite"): "the mask is multiplied with here, and NaN times 0 is NaN",
    ("getitem", "every second, backwards"): "PyTorch takes no negative steps",
}


def cases():
    for name in sorted(OPS):
        for case in CASES.get(name, ()):
            reason = DIFFER.get((name, case.name))
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            yield pytest.param(name, case, id=f"{name}-{case.name}", marks=marks)


def theirs(a, wanted=True):
    """Return a copy of an array as a tensor of PyTorch, whose gradient is wanted or not."""
    return None if a is None else torch.from_numpy(a.copy()).requires_grad_(wanted)


def compare(ours, tensor):
    want = tensor.detach().numpy().astype(np.float64)
    scale = max(1.0, float(np.abs(want).max(initial=0, where=np.isfinite(want))))
    eps = max(np.finfo(ours.dtype).eps, np.finfo(np.float64).eps)
    assert ours.shape == want.shape
    np.testing.assert_allclose(ours, want, rtol=0, atol=1000 * eps * scale)


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_is_compared(name):
    assert name in THEIRS


@pytest.mark.parametrize(("name", "case"), list(cases()))
def test_outputs_and_gradients(name, case):
    inputs = case.draw(name)
    wanted = case.differentiable(inputs)
    ours = [
        None if a is None else Tensor(a, requires_grad=i in wanted) for i, a in enumerate(inputs)
    ]
    with as_given(*inputs):
        y = OPS[name](*ours, **case.params)
        gy = generator(name, case.name, "peer").standard_normal(y.shape)
        y.backward(gy)
    peers = [theirs(a, i in wanted) for i, a in enumerate(inputs)]
    expected = THEIRS[name](*peers, **case.params)
    compare(y.data, expected)
    expected.backward(torch.from_numpy(np.asarray(gy)).to(expected.dtype))
    for i in wanted:
        compare(ours[i].grad, peers[i].grad)


def network(f, x, weights, targets):
    """Return the loss of a small network of AlexNet's shape, in the functions `f`."""
    w1, b1, w2, b2, w3, b3, w4, b4 = weights
    h = f["conv2d"](x, w1, b1, stride=2, padding=1)
    h = f["lrn"](f["relu"](h))
    h = f["max_pool2d"](h)
    h = f["relu"](f["conv2d"](h, w2, b2, stride=1, padding=2, groups=2))
    h = f["adaptive"](h).reshape(h.shape[0], -1)
    h = f["relu"](f["linear"](h, w3, b3))
    return f["cross_entropy"](f["linear"](h, w4, b4), targets)


OURS = {
    "conv2d": ops.conv2d,
    "lrn": lambda h: ops.local_response_norm(h, size=5, alpha=0.1, beta=0.75, k=2.0),
    "relu": ops.relu,
    "max_pool2d": lambda h: ops.max_pool2d(h, kernel_size=3, stride=2),
    "adaptive": lambda h: ops.adaptive_avg_pool2d(h, (2, 3)),
    "linear": ops.linear,
    "cross_entropy": lambda x, t: ops.cross_entropy(x, t, label_smoothing=0.1),
}
PEERS = {
    "conv2d": F.conv2d,
    "lrn": lambda h: lrn(h, 5, 0.1, 0.75, 2.0),
    "relu": F.relu,
    "max_pool2d": lambda h: F.max_pool2d(h, 3, 2),
    "adaptive": lambda h: F.adaptive_avg_pool2d(h, (2, 3)),
    "linear": F.linear,
    "cross_entropy": lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
}
SHAPES = [(6, 3, 5, 5), (6,), (8, 3, 5, 5), (8,), (16, 48), (16,), (10, 16), (10,)]


def test_a_small_network():
    rng = np.random.default_rng(0)
    x, targets = rng.standard_normal((4, 3, 32, 29)), rng.integers(0, 10, 4)
    arrays = [rng.standard_normal(s) / np.sqrt(np.prod(s[1:])) for s in SHAPES]
    weights = [Tensor(a, requires_grad=True) for a in arrays]
    peers = [theirs(a) for a in arrays]
    image, peer_image = Tensor(x, requires_grad=True), theirs(x)
    loss = network(OURS, image, weights, targets)
    expected = network(PEERS, peer_image, peers, torch.from_numpy(targets))
    compare(loss.data, expected)
    loss.backward()
    expected.backward()
    for ours, peer in zip([image, *weights], [peer_image, *peers], strict=True):
        compare(ours.grad, peer.grad)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 2), 1), ((4, 3), (1, 2)), ((2, 2), 3)])
def test_same_padding(kernel, dilation):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in ((2, 3, 6, 5), (4, 3, *kernel), (4,))]
    ours, peers = [Tensor(a, requires_grad=True) for a in arrays], [theirs(a) for a in arrays]
    y = ops.conv2d(*ours, padding="same", dilation=dilation)
    expected = F.conv2d(*peers, padding="same", dilation=dilation)
    compare(y.data, expected)
    gy = rng.standard_normal(y.shape)
    y.backward(gy)
    expected.backward(torch.from_numpy(gy))
    for one, peer in zip(ours, peers, strict=True):
        compare(one.grad, peer.grad)


COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name):
    a, b = np.array([[0.0, 1, np.nan, np.inf]]), np.array([[1.0], [np.nan], [np.inf]])
    function = {"equal": "eq", "not_equal": "ne"}.get(name, name)
    for left, right in ((a, b), (a, np.float64(1))):
        y = getattr(ops, name)(Tensor(left), right)
        want = getattr(torch, function)(torch.from_numpy(left), torch.as_tensor(right))
        assert (y.dtype, y.data.tolist()) == (bool, want.tolist())
