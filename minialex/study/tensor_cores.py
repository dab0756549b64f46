"""Write ``docs/tensor-cores.md``: what a tensor core computes, and what that does to long sums.

From the root of a source tree,

    python -m minialex.study.tensor_cores           writes the page and its picture
    python -m minialex.study.tensor_cores --check   changes nothing; exit status 1 where the page
                                                    is stale

The errors are computed, not measured on a GPU: by a model of an H100's tensor core that gives the
bits of the emulator's, which gives those of the hardware's records (``tests/cuda``).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from minialex.arrays import Array
from minialex.cuda.architectures import ARCHITECTURES, TensorCoreArithmetic
from minialex.cuda.scalars import bfloat16_bits
from minialex.weights.safetensors import bfloat16_to_float32

PAGE, PICTURE = "docs/tensor-cores.md", "docs/tensor-cores.png"
TERMS_PER_STEP = 8
"""Terms of a step of ``kernels/panel_product.cuh``, and of one instruction with TF32 operands."""
TERMS_PER_STAGE = 32
"""Terms of a stage of ``kernels/multistage_product.cuh`` with bfloat16 operands."""

LENGTHS = {
    8: "one step",
    64: "",
    363: "conv1, forward",
    1600: "conv2, forward",
    3456: "conv4, forward",
    9216: "fc6, forward",
    43264: "conv3 to conv5, weight gradient at batch 256",
}
"""Lengths of sums, and which of AlexNet's products have them."""

SUMS_PER_LENGTH = 512
"""How many sums of each length errors are averaged over."""

_MASK = np.uint32(0xFFFFE000)


def truncated_sum(a: Array, b: Array, c: Array, cores: TensorCoreArithmetic) -> Array:
    """Return c + the inner products of `a` and `b`, as one group of a tensor core adds them.

    Parameters
    ----------
    a, b : float32 array of shape (..., k)
        TF32 numbers, finite; bits beyond their ten bits of fraction are ignored.
    c : float32 array of shape (...)
    cores : TensorCoreArithmetic
        How the tensor core adds; `k` must be the number of products in a group.
    """
    (p, p_exponent), (q, q_exponent) = (_parts(_truncated(x)) for x in (a, b))
    r, r_exponent = _parts(c)
    terms = np.concatenate([p * q, r[..., None]], -1)
    exponents = np.concatenate([p_exponent + q_exponent, r_exponent[..., None]], -1)
    top = np.where(terms == 0, cores.least_exponent, exponents).max(-1, keepdims=True)
    top = np.maximum(top, cores.least_exponent)
    kept = np.trunc(np.ldexp(terms, 23 + cores.extra_bits + np.maximum(exponents - top, -64)))
    # whole numbers below 2^33, whose sum is exact
    fraction, exponent = np.frexp(kept.sum(-1))
    whole = np.trunc(np.ldexp(fraction, 24))
    unit = top[..., 0] - 23 - cores.extra_bits
    return np.asarray(np.ldexp(whole, exponent - 24 + unit).astype(np.float32))


def _parts(x: Array) -> tuple[Array, Array]:
    """Return significands in [1, 2), less for subnormal numbers, and exponents."""
    exponent = np.frexp(x)[1]
    exponent = np.maximum(exponent - 1, -126)
    return np.ldexp(x.astype(np.float64), -exponent), exponent


def _truncated(x: Array) -> Array:
    return np.asarray((x.view(np.uint32) & _MASK).view(np.float32))


def round_to_tf32(x: Array) -> Array:
    """Return the nearest TF32 numbers, halves away from zero."""
    return np.asarray(((x.view(np.uint32) + np.uint32(0x1000)) & _MASK).view(np.float32))


def round_to_bfloat16(x: Array) -> Array:
    """Return the nearest bfloat16 numbers, of two at the same distance the even one."""
    return bfloat16_to_float32(bfloat16_bits(x))


Operands = Callable[[Array, Array], list[tuple[Array, Array]]]
"""Returns the pairs of operands whose products replace a b, in the order of their additions."""


def three_tf32(a: Array, b: Array) -> list[tuple[Array, Array]]:
    """Return the operands of 3xTF32, of the smallest products first."""
    big_a, big_b = round_to_tf32(a), round_to_tf32(b)
    small_a, small_b = a - big_a, b - big_b
    return [(small_a, big_b), (big_a, small_b), (big_a, big_b)]


def tf32(a: Array, b: Array) -> list[tuple[Array, Array]]:
    """Return those of plain TF32."""
    return [(round_to_tf32(a), round_to_tf32(b))]


def bfloat16(a: Array, b: Array) -> list[tuple[Array, Array]]:
    """Return those of bfloat16."""
    return [(round_to_bfloat16(a), round_to_bfloat16(b))]


def _steps(x: Array, terms: int = TERMS_PER_STEP) -> Array:
    """Return terms (n, K) as steps (n, steps, terms), zero-padded."""
    n, K = x.shape
    padded = np.zeros((n, -(-K // terms) * terms), np.float32)
    padded[:, :K] = x
    return padded.reshape(n, -1, terms)


# Summation methods. Each returns the running sums (n, steps) in float32 after every step.


def promoted(
    a: Array,
    b: Array,
    cores: TensorCoreArithmetic,
    operands: Operands = three_tf32,
    step: int = TERMS_PER_STEP,
    group: int = TERMS_PER_STEP,
) -> Array:
    """Sum up each step in a tensor core, from zero, and the steps by ordinary additions.

    The terms of a `group` are added in one go.
    """
    a, b = _steps(a, step), _steps(b, step)
    sums = np.zeros(a.shape[:2], np.float32)
    for first in range(0, step, group):
        part = np.s_[:, :, first : first + group]
        for x, y in operands(a[part].copy(), b[part].copy()):
            sums = truncated_sum(x, y, sums, cores)
    # one after another, each rounded
    return np.asarray(np.add.accumulate(sums, axis=1, dtype=np.float32))


def kept_inside(
    a: Array, b: Array, cores: TensorCoreArithmetic, operands: Operands = three_tf32
) -> Array:
    """Sum up everything in the tensor core."""
    pairs = operands(_steps(a), _steps(b))
    steps = _steps(a).shape[1]
    running = np.zeros((len(a), steps), np.float32)
    total = np.zeros(len(a), np.float32)
    for i in range(steps):
        for x, y in pairs:
            total = truncated_sum(x[:, i], y[:, i], total, cores)
        running[:, i] = total
    return running


def multiply_add(a: Array, b: Array, cores: TensorCoreArithmetic) -> Array:
    """Sum up by one fused multiply-add after another, as FFMA does."""
    exact = _steps(a).astype(np.float64) * _steps(b)
    running = np.zeros(exact.shape[:2], np.float32)
    total = np.zeros(len(a), np.float32)
    for i in range(exact.shape[1]):
        for k in range(TERMS_PER_STEP):
            total = (total + exact[:, i, k]).astype(np.float32)
        running[:, i] = total
    return running


@dataclass(frozen=True)
class Summation:
    """A summation method.

    Attributes
    ----------
    sums : function
        Returns the running sums of the products of two arrays (n, K) after every step.
    step : int
        How many terms a step has.
    """

    sums: Callable[[Array, Array, TensorCoreArithmetic], Array]
    step: int = TERMS_PER_STEP


SUMMATIONS = {
    "FFMA": Summation(multiply_add),
    "3xTF32 kept inside": Summation(kept_inside),
    "3xTF32 promoted": Summation(promoted),
    "TF32 kept inside": Summation(functools.partial(kept_inside, operands=tf32)),
    "TF32 promoted": Summation(functools.partial(promoted, operands=tf32)),
    "bfloat16 promoted": Summation(
        functools.partial(
            promoted, operands=bfloat16, step=TERMS_PER_STAGE, group=2 * TERMS_PER_STEP
        ),
        TERMS_PER_STAGE,
    ),
}


@dataclass(frozen=True)
class Error:
    """The error of sums of one length, as a share of the root of the sum of the squared terms.

    Attributes
    ----------
    rms : float
        Root mean square.
    bias : float
        Mean of the error in the direction of the sum: below zero where sums are too small.
    """

    rms: float
    bias: float


def errors(way: Summation, lengths: Sequence[int], sums: int = SUMS_PER_LENGTH) -> list[Error]:
    """Return the error of `way` for sums of these lengths, of products of normal numbers."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, sums, max(lengths)), np.float32)
    running = way.sums(a, b, _hopper())
    exact = a.astype(np.float64) * b
    found = []
    for K in lengths:
        truth, size = exact[:, :K].sum(1), np.sqrt((exact[:, :K] ** 2).sum(1))
        # a length that is no multiple of a step has a sum of its own
        got = (
            running[:, K // way.step - 1]
            if K % way.step == 0
            else way.sums(a[:, :K], b[:, :K], _hopper())[:, -1]
        )
        error = (got - truth) / size
        bias = float((error * np.sign(truth)).mean())
        found.append(Error(float(np.sqrt((error**2).mean())), bias))
    return found


def _hopper() -> TensorCoreArithmetic:
    cores = ARCHITECTURES["sm_90"].tensor_cores
    assert cores is not None
    return cores


# The page -----------------------------------------------------------------------------------------


def main(arguments: Sequence[str], root: Path) -> int:
    """Write or check the page; return the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m minialex.study.tensor_cores [--check]", file=sys.stderr)
        return 2
    if not (root / "docs").is_dir():
        print(f"{root} has no folder docs: run it from the root of a source tree", file=sys.stderr)
        return 2
    found = {name: errors(way, list(LENGTHS)) for name, way in SUMMATIONS.items()}
    text, path = page(found), root / PAGE
    if arguments:
        if path.is_file() and path.read_text() == text:
            return 0
        print(f"{PAGE} is stale: python -m minialex.study.tensor_cores", file=sys.stderr)
        return 1
    path.write_text(text)
    picture(found).savefig(root / PICTURE, dpi=150)
    return 0


def page(found: dict[str, list[Error]]) -> str:
    """Return the page as Markdown, for the errors of each summation."""
    return _TEXT.format(table=_table(found), sums=SUMS_PER_LENGTH)


def _table(found: dict[str, list[Error]]) -> str:
    heads = ["terms", "in AlexNet", *found]
    lines = [heads, ["---:", "---", *(["---:"] * len(found))]]
    for i, (K, where) in enumerate(LENGTHS.items()):
        cells = [f"{of[i].rms:.1e} ({of[i].bias:+.0e})" for of in found.values()]
        lines.append([f"{K:,}", where, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


_COLOURS = "#222222", "#D55E00", "#0072B2", "#E69F00", "#56B4E9", "#009E73"


def picture(found: dict[str, list[Error]]) -> Figure:
    """Draw error and bias against the length of the sum."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    lengths = list(LENGTHS)
    for (name, of), colour in zip(found.items(), _COLOURS, strict=True):
        left.plot(lengths, [e.rms for e in of], "o-", color=colour, label=name, markersize=4)
        right.plot(lengths, [abs(e.bias) for e in of], "o-", color=colour, markersize=4)
    left.set_title("root mean square")
    right.set_title("mean along the sum")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="terms of the sum")
        axes.set_xticks(lengths, [f"{K:,}" for K in lengths], fontsize=8)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    left.set_ylim(bottom=1e-8)
    left.set_ylabel("error / root of the sum of squared terms")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


_TEXT = """\
# What a tensor core computes

<!-- written by python -m minialex.study.tensor_cores: change that instead -->

`mma.sync` multiplies small matrices: D = C + A B. The products are exact, as an operand has at most
11 significant bits. The sum is not what IEEE 754 would have of it, nor what a loop of FFMA gives.
Of each group of products (8 of TF32 numbers on an H100, 4 on an A100; of 16-bit ones twice as
many), together with the sum so far,

1. the largest exponent is found;
2. every term is aligned to it and *truncated*: bits below 2^-25 of it (A100: 2^-24) are dropped,
   not rounded;
3. the rest is added exactly, and the sum is truncated to the 24 bits of a float.

Truncation is rounding towards zero. One such error is up to twice as large as one of rounding to
nearest, and all have the same sign: each biases the sum towards zero. Over a long sum they do not
cancel as errors of rounding to nearest do, whose size grows with the square root of their number.

NVIDIA does not document this. Ootomo and Yokota (2022) found the rounding towards zero; Khattak and
Mikaitis, "Accurate Models of NVIDIA Tensor Cores" (2025, arXiv 2512.07004), found all of the above
and published records of real GPUs. minialex's emulator computes so
([tensor_core.h](../minialex/cuda/emulator/include/emu/tensor_core.h) says what is known and what is
assumed), and its tests ask for the hardware's bits in 4,608 of these records.

## What it does to 3xTF32

3xTF32 (`tf32x3` here, `OpMultiplyAddFastF32` in CUTLASS) splits each float into a big and a small
TF32 number and replaces one product by three, which are about as accurate as one of floats. Whether
the *sum* is depends on where it is accumulated:

- **kept inside**: C is the accumulator, as in most code. Every instruction truncates it.
- **promoted**: the three products of 8 terms begin at zero; an ordinary addition, which rounds to
  nearest, adds them to an accumulator in registers. minialex's kernels do this
  ([tensor_core_product.cuh](../kernels/tensor_core_product.cuh)).

Error of sums of products of normal numbers, as a share of the root of the sum of the squared terms:
root mean square, and in brackets the mean along the sum's own direction (bias), below zero where
sums are too small. H100, {sums} sums each, computed by the model; not measured on a GPU. A mean
below a twentieth of the root mean square is the noise of so many sums.

{table}

![Error against the length of the sum](tensor-cores.png)

Kept inside, 3xTF32 is less accurate than FFMA at all of these lengths, and its error grows as fast
as the sum is long. Promoted, it is more accurate than FFMA for all of AlexNet's sums: it does an
eighth of the roundings. The remaining truncation error is half a unit roundoff, 3e-8, at every
length, which only a sum of one or two steps shows. Plain TF32 (`tf32`) is limited by its operands,
rounded to 11 bits; kept inside, a long sum has a bias of a fifth of that, which promotion removes.
So is `bf16`, eight times as much, by operands of 8 bits; its steps are of 32 terms.
"""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path.cwd()))
