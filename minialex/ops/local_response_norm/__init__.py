"""Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3).

    s[c]  = k + alpha sum_{|j-c| <= size//2} x[j]^2       the plain sum, as in the paper
    y[c]  = x[c] s[c]^-beta
    gx[c] = gy[c] s[c]^-beta - 2 alpha beta x[c] sum_{|j-c| <= size//2} gy[j] x[j] s[j]^(-beta-1)

`size` is odd, so that "j is in the window of c" and "c is in the window of j" are the same.

saved = (x, s).

    plain    the window's sum as shifted arrays, added up
    blocked  a few images at a time, on all cores
    kernel   kernels/local_response_norm.cu: tiles of pixels and channels in shared memory
"""

from __future__ import annotations

from minialex.autograd import Cost, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._arguments import check_images, elementwise_cost, odd_number, real_number
from minialex.ops.local_response_norm import blocked, plain
from minialex.ops.local_response_norm.cuda import KERNEL


def cost(shapes: Shapes, *, size: int, **_: float) -> Cost:
    """Count the window's sum, the power and the product."""
    return elementwise_cost(size + 4)(shapes)


OP = Op(
    "local_response_norm",
    {
        "plain": Implementation(plain.forward, plain.backward),
        "blocked": Implementation(blocked.forward, blocked.backward),
        "kernel": KERNEL,
    },
    cost,
    kernel="kernel",
    # (32, 96, 55, 55) takes half the time of plain, which makes arrays of its size for each term
    cpu="blocked",
)


def local_response_norm(
    x: Tensor, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> Tensor:
    """Divide each activation by a power of the sum of squares in the channels around it.

    The defaults are the paper's constants. Other libraries divide `alpha` by `size`; the paper
    does not, and neither does this.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32, float64 or bfloat16
    size : int
        Channels in the window: odd, at least 1. At the first and last channels it is cut off.
    alpha, beta, k : float
        y = x (k + alpha sum x^2)^-beta.

    Raises
    ------
    ValueError
        If `x` has not four axes, `size` is even, or another number not finite.
    TypeError
        If `x` is not of a floating-point type, `size` no whole number, or another no number.
    """
    x = as_tensor(x)
    check_images("local_response_norm", x)
    size = odd_number("local_response_norm", "size", size)
    constants = {"alpha": alpha, "beta": beta, "k": k}
    numbers = {name: real_number("local_response_norm", name, n) for name, n in constants.items()}
    return OP(x, size=size, **numbers)
