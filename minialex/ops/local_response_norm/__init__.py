"""Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3).

    s[c]  = k + alpha sum_{|j-c| <= size//2} x[j]^2       the plain sum, as in the paper
    y[c]  = x[c] s[c]^-beta
    gx[c] = gy[c] s[c]^-beta - 2 alpha beta x[c] sum_{|j-c| <= size//2} gy[j] x[j] s[j]^(-beta-1)

`size` is odd, so that "j is in the window of c" and "c is in the window of j" are the same.

saved = (x, s).

    plain    the window's sum by adding shifted arrays, a few images at a time
    kernel   kernels/local_response_norm.cu: tiles of pixels and channels in shared memory
"""

from __future__ import annotations

from math import prod

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker
from minialex.ops._arguments import check_images, elementwise_cost, whole_number
from minialex.ops._cuda.launching import check_counts, packed

CACHE = 1 << 20
"""How many bytes of an array a core works on at a time."""


def _window_sum(v: Array, half: int, out: Array) -> Array:
    """Write, for each channel of `v` (N, C, H, W), the sum over channels within `half` to `out`."""
    out[...] = v
    for d in range(1, min(half, v.shape[1] - 1) + 1):
        out[:, d:] += v[:, :-d]
        out[:, :-d] += v[:, d:]
    return out


def _power(s: Array, beta: float) -> Array:
    """Return s^-beta; for the paper's 3/4 by square roots, which cost a tenth of a power."""
    if beta != 0.75:
        return s**-beta
    root = array_module(s).sqrt(s)
    return 1 / (root * array_module(s).sqrt(root))  # type: ignore[no-any-return]


def forward(
    x: Array, *, size: int, alpha: float, beta: float, k: float
) -> tuple[Array, tuple[Array, Array]]:
    """Return `x` divided by (k + alpha times the sum of squares nearby) to the power beta."""
    xp = array_module(x)
    y, s = (memory.empty(xp, x.shape, x.dtype) for _ in range(2))

    def some(blocks: list[slice]) -> None:
        for block in blocks:
            near = _window_sum(x[block] * x[block], size // 2, out=s[block])
            near *= alpha
            near += k
            xp.multiply(x[block], _power(near, beta), out=y[block])

    threads.run(some, _shares(x))
    return y, (x, s)


def backward(
    gy: Array, saved: tuple[Array, Array], *, size: int, alpha: float, beta: float, k: float
) -> Gradients:
    """Return the gradient of each channel: its own term, and one from every window it is in."""
    x, s = saved
    xp = array_module(x)
    gx = memory.empty(xp, x.shape, x.dtype)

    def some(blocks: list[slice]) -> None:
        for block in blocks:
            own, terms = gy[block] * _power(s[block], beta), x[block] / s[block]
            terms *= own
            near = _window_sum(terms, size // 2, out=gx[block])
            near *= x[block]
            near *= 2 * alpha * beta
            xp.subtract(own, near, out=near)

    threads.run(some, _shares(x))
    return (gx,)


def _shares(x: Array) -> list[list[slice]]:
    return blocks_per_worker(array_module(x), len(x), prod(x.shape[1:]) * x.itemsize, CACHE)


_forward = cuda.kernel("local_response_norm.cu", "local_response_norm_forward")
_backward = cuda.kernel("local_response_norm.cu", "local_response_norm_backward")

BLOCK = (32, 8)
CHANNELS = 32
"""The channels of a block, which has 32 pixels; as ``kernels/local_response_norm.cu`` has it."""


def forward_kernel(
    x: Array, *, size: int, alpha: float, beta: float, k: float
) -> tuple[Array, tuple[Array, Array]]:
    """Return `x` divided by the power of what is nearby: a thread for a few channels of a pixel."""
    check_counts("local_response_norm", x=x.size)
    y, s = (array_module(x).empty(x.shape, x.dtype) for _ in range(2))
    sizes = _sizes(x, size)
    _forward(_blocks(*sizes[:3]), BLOCK, packed(x), y, s, *sizes, alpha, beta, k)
    return y, (x, s)


def backward_kernel(
    gy: Array, saved: tuple[Array, Array], *, size: int, alpha: float, beta: float, **_: float
) -> Gradients:
    """Return the gradient of each channel: its own term, and one from every window it is in."""
    x, s = saved
    gx = array_module(x).empty(x.shape, x.dtype)
    sizes = _sizes(x, size)
    arrays = packed(gy), packed(x), packed(s), gx
    _backward(_blocks(*sizes[:3]), BLOCK, *arrays, *sizes, alpha, beta)
    return (gx,)


def _sizes(x: Array, size: int) -> tuple[int, int, int, int]:
    """Return images, channels, pixels, and how many channels a window reaches to each side."""
    N, C, H, W = x.shape
    return N, C, H * W, min(size // 2, C)


def _blocks(N: int, C: int, P: int) -> int:
    return cuda.blocks(N * P, BLOCK[0]) * cuda.blocks(C, CHANNELS)


def cost(shapes: Shapes, *, size: int, **_: float) -> Cost:
    """Count the window's sum, the power and the product."""
    return elementwise_cost(size + 4)(shapes)


OP = Op(
    "local_response_norm",
    {
        "plain": Implementation(forward, backward),
        "kernel": Implementation(forward_kernel, backward_kernel, why_not=cuda.why_not),
    },
    cost,
    kernel="kernel",
)


def local_response_norm(
    x: Tensor, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> Tensor:
    """Divide each activation by a power of the sum of squares in the channels around it.

    The defaults are the paper's constants. Other libraries divide `alpha` by `size`; the paper
    does not, and neither does this.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32 or float64
    size : int
        Channels in the window: odd, at least 1. At the first and last channels it is cut off.
    alpha, beta, k : float
        y = x (k + alpha sum x^2)^-beta.

    Raises
    ------
    ValueError
        If `x` has not four axes or `size` is even.
    TypeError
        If `x` is not of a floating-point type, or `size` no whole number.
    """
    x = as_tensor(x)
    check_images("local_response_norm", x)
    size = whole_number("local_response_norm", "size", size)
    if size < 1 or size % 2 == 0:
        raise ValueError(f"local_response_norm: size must be odd and at least 1, not {size}")
    return OP(x, size=size, alpha=alpha, beta=beta, k=k)
