"""PyTorch's own samples for its operators and optimizers: outputs and gradients, in float64.

Each sample that can be expressed is run in every implementation of the op, forward and backward
with a random cotangent. ``python -m tests.campaigns.torch_opinfo`` lists those that cannot.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minialex import Tensor, ops, optim
from tests.campaigns.campaign import Campaign
from tests.campaigns.second_opinion import (
    Check,
    NotExpressibleError,
    assert_close,
    attempts,
    in_every_implementation,
    print_refused,
    unless_refused,
)

Call = Callable[..., Tensor]


def refuse(reason: str, when: Any = True) -> None:
    if when:
        raise NotExpressibleError(reason)


def four_dimensional(x: Tensor) -> None:
    refuse("images without a batch", x.ndim != 4)


def conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, **kw: Any) -> Tensor:
    four_dimensional(x)
    return ops.conv2d(x, w, b, **kw)


def max_pool2d(x: Tensor, *, dilation: Any = 1, return_indices: bool = False, **kw: Any) -> Tensor:
    four_dimensional(x)
    refuse("dilated pooling", dilation not in (1, (1, 1)))
    refuse("indices of the maxima", return_indices)
    return ops.max_pool2d(x, **kw)


def avg_pool2d(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: Any = None) -> Tensor:  # fmt: skip
    four_dimensional(x)
    refuse("another divisor", divisor_override)
    refuse("one number in a tuple", isinstance(padding, tuple) and len(padding) == 1)
    return ops.avg_pool2d(
        x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )  # fmt: skip


def adaptive_avg_pool2d(x: Tensor, size: Any) -> Tensor:
    four_dimensional(x)
    refuse("a size that is left out", isinstance(size, tuple) and None in size)
    return ops.adaptive_avg_pool2d(x, size)


def local_response_norm(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    four_dimensional(x)
    # PyTorch takes the mean of the squares, the paper their sum
    return ops.local_response_norm(x, size=size, alpha=alpha / size, beta=beta, k=k)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    refuse("weights without an axis of outputs", w.ndim != 2)
    return ops.linear(x, w, b)


def cross_entropy(x: Tensor, targets: Tensor, weight: Any = None, **kw: Any) -> Tensor:
    refuse("logits that are no rows", x.ndim != 2)
    refuse("gradients of targets", targets.requires_grad)
    refuse("negative weights of classes", weight is not None and (weight.data < 0).any())
    return ops.cross_entropy(x, targets, weight, **kw)


def softened(function: Call) -> Call:
    def run(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
        refuse("another type of the result", dtype not in (None, np.dtype("float64")))
        refuse("an axis of a number", x.ndim == 0)
        return function(x, dim)

    return run


def power(x: Tensor, exponent: Any) -> Tensor:
    refuse("a Tensor as exponent of a number", not isinstance(x, Tensor))
    return ops.power(x, exponent)


def reduced(function: Call) -> Call:
    def run(x: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        refuse("another type of the result", dtype)
        refuse("an axis of a number", x.ndim == 0 and dim is not None)
        return function(x, dim, keepdim)

    return run


def clip(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    refuse("bounds that are Tensors", any(isinstance(b, Tensor) for b in (min, max)))
    return ops.clip(x, min, max)


def divide(x: Tensor, y: Any, rounding_mode: str | None = None) -> Tensor:
    refuse("rounded division", rounding_mode)
    return ops.divide(x, y)


def scaled(function: Call) -> Call:
    def run(x: Tensor, y: Any, alpha: float = 1) -> Tensor:
        refuse("a factor of the second operand", alpha != 1)
        return function(x, y)

    return run


def concatenate(xs: list[Tensor], dim: int = 0) -> Tensor:
    refuse("empty vectors that are left out", len({x.ndim for x in xs}) > 1)
    return ops.concatenate(xs, dim)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    refuse("an axis of a number", x.ndim == 0)
    return x.transpose(dim0, dim1)


def getitem(x: Tensor, index: Any) -> Tensor:
    return x[index]


OPERATORS: dict[str, tuple[str, Call]] = {
    "nn.functional.conv2d": ("conv2d", conv2d),
    "nn.functional.max_pool2d": ("max_pool2d", max_pool2d),
    "nn.functional.avg_pool2d": ("avg_pool2d", avg_pool2d),
    "nn.functional.adaptive_avg_pool2d": ("adaptive_avg_pool2d", adaptive_avg_pool2d),
    "nn.functional.local_response_norm": ("local_response_norm", local_response_norm),
    "nn.functional.linear": ("linear", linear),
    "nn.functional.cross_entropy": ("cross_entropy", cross_entropy),
    "nn.functional.relu": ("relu", ops.relu),
    "softmax": ("softmax", softened(ops.softmax)),
    "log_softmax": ("log_softmax", softened(ops.log_softmax)),
    "matmul": ("matmul", ops.matmul),
    "mm": ("matmul", ops.matmul),
    "tanh": ("tanh", ops.tanh),
    "sigmoid": ("sigmoid", ops.sigmoid),
    "exp": ("exp", ops.exp),
    "log": ("log", ops.log),
    "sqrt": ("sqrt", ops.sqrt),
    "abs": ("absolute", ops.absolute),
    "neg": ("negative", ops.negative),
    "add": ("add", scaled(ops.add)),
    "sub": ("subtract", scaled(ops.subtract)),
    "mul": ("multiply", ops.multiply),
    "div": ("divide", divide),
    "pow": ("power", power),
    "maximum": ("maximum", ops.maximum),
    "minimum": ("minimum", ops.minimum),
    "clamp": ("clip", clip),
    "where": ("where", lambda x, condition, y: ops.where(condition, x, y)),
    "sum": ("sum", reduced(ops.sum)),
    "mean": ("sum", reduced(ops.mean)),
    "amax": ("max", reduced(ops.max)),
    "reshape": ("reshape", lambda x, shape: x.reshape(*shape)),
    "permute": ("permute", lambda x, dims: x.permute(*dims)),
    "transpose": ("permute", transpose),
    "flatten": ("reshape", lambda x, **kw: x.flatten(**kw)),
    "cat": ("concatenate", concatenate),
    "__getitem__": ("getitem", getitem),
}


def ours(a: Any, torch: Any) -> Any:
    """Return a sample's argument with Tensors of ours for PyTorch's."""
    if isinstance(a, torch.Tensor):
        wanted = a.requires_grad and a.is_floating_point()
        return Tensor(a.detach().numpy().copy(), requires_grad=wanted)
    if isinstance(a, torch.dtype):
        return np.dtype(str(a).removeprefix("torch."))
    if isinstance(a, list | tuple):
        return type(a)(ours(one, torch) for one in a)
    return a


def leaves(arguments: Any, kind: type) -> Iterator[Any]:
    for a in arguments:
        if isinstance(a, kind):
            if a.requires_grad:
                yield a
        elif isinstance(a, list | tuple):
            yield from leaves(a, kind)


def asked() -> dict[str, Check | NotExpressibleError]:
    """Return, by name, each sample of `OPERATORS`: its check, or why it cannot be expressed."""
    torch = importlib.import_module("torch")
    invocations = importlib.import_module("torch.testing._internal.common_methods_invocations")
    torch.manual_seed(0)
    found: dict[str, Check | NotExpressibleError] = {}
    for info in invocations.op_db:
        if info.name in OPERATORS and info.variant_test_name not in ("binary",):
            samples = info.sample_inputs("cpu", torch.float64, requires_grad=True)
            for i, sample in enumerate(samples):
                name = f"{info.name} {info.variant_test_name} {i}".replace("  ", " ")
                found[name] = expressed(info, sample, torch)
    return found | dict(optimizers(torch))


def expressed(info: Any, sample: Any, torch: Any) -> Check | NotExpressibleError:
    """Return the check of a sample, or why there is none."""
    op, call = OPERATORS[info.name]
    given = [sample.input, *sample.args]

    def run() -> tuple[Tensor, list[Tensor]]:
        arguments = [ours(a, torch) for a in given]
        named = {name: ours(a, torch) for name, a in sample.kwargs.items()}
        return call(*arguments, **named), list(leaves(arguments, Tensor))

    def check() -> None:
        want = info.op(*given, **sample.kwargs)
        gy = torch.from_numpy(np.asarray(np.random.default_rng(7).standard_normal(want.shape)))
        theirs = list(leaves(given, torch.Tensor))
        gradients = torch.autograd.grad(want, theirs, gy) if want.requires_grad else ()
        for name in in_every_implementation(op, np.float64):
            y, wanted = run()
            assert_close(y.data, want.detach().numpy(), name, roundings=1e5)
            if not want.requires_grad:
                continue
            y.backward(gy.numpy())
            for x, g in zip(wanted, gradients, strict=True):
                assert_close(x.grad, g.numpy(), f"{name}, gradient", roundings=1e5)

    return unless_refused(run, check)


# Optimizers ---------------------------------------------------------------------------------------

LACKING = {"maximize", "amsgrad", "dampening", "nesterov", "foreach", "fused", "capturable",
           "differentiable"}  # fmt: skip


def optimizers(torch: Any) -> Iterator[tuple[str, Check | NotExpressibleError]]:
    """Yield PyTorch's configurations of the optimizers that are here as well."""
    database = importlib.import_module("torch.testing._internal.common_optimizers").optim_db
    for info in database:
        name = info.optim_cls.__name__
        if name in ("SGD", "Adam", "RMSprop"):
            for one in info.optim_inputs_func(device="cpu"):
                lacking = LACKING & set(one.kwargs)
                title = f"{name} {one.desc}"
                if lacking:
                    yield title, NotExpressibleError(", ".join(sorted(lacking)))
                else:
                    kw = {k: float(v) for k, v in one.kwargs.items() if k != "centered"}
                    kw |= {k: v for k, v in one.kwargs.items() if k == "centered"}
                    yield title, steps(torch, name, kw)


def steps(torch: Any, name: str, kw: dict[str, Any]) -> Check:
    def check() -> None:
        rng = np.random.default_rng(3)
        values = [rng.standard_normal(shape) for shape in ((4, 3), (5,), ())]
        mine = [Tensor(v.copy(), requires_grad=True) for v in values]
        theirs = [torch.tensor(v, requires_grad=True) for v in values]
        optimizer = getattr(optim, name)(mine, **kw)
        peer = getattr(torch.optim, name)(theirs, **kw)
        for _ in range(10):
            for p, q in zip(mine, theirs, strict=True):
                g = rng.standard_normal(p.shape)
                p.grad = np.asarray(g)
                q.grad = torch.tensor(g)
            optimizer.step()
            peer.step()
        for p, q in zip(mine, theirs, strict=True):
            assert_close(p.data, q.detach().numpy(), name)

    return check


COUNT = 570
CAMPAIGN = Campaign(
    "samples of PyTorch", attempts(asked, COUNT), COUNT, short=50, batch=COUNT, needs="torch"
)

if __name__ == "__main__":
    print_refused(asked())
