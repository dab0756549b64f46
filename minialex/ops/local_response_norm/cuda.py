"""local_response_norm as CUDA kernels: kernels/local_response_norm.cu.

s is saved as it was computed: of bfloat16 arrays in float32, and not rounded.
"""

from __future__ import annotations

from minialex import cuda
from minialex.arrays import BFLOAT16, Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import check_counts, contiguous

_forward = cuda.kernel("local_response_norm.cu", "local_response_norm_forward")
_backward = cuda.kernel("local_response_norm.cu", "local_response_norm_backward")

BLOCK_SHAPE = PIXELS_PER_BLOCK, _ = 32, 8
CHANNELS_PER_BLOCK = 32
"""As ``kernels/local_response_norm.cu`` has it: four channels of a pixel per thread."""


def forward(
    x: Array, *, size: int, alpha: float, beta: float, k: float
) -> tuple[Array, tuple[Array, Array]]:
    """Return y: one thread per four channels of a pixel."""
    check_counts("local_response_norm", x=x.size)
    xp = array_module(x)
    y = xp.empty(x.shape, x.dtype)
    s = xp.empty(x.shape, "float32" if x.dtype == BFLOAT16 else x.dtype)
    sizes = _sizes(x, size)
    _forward(_blocks(*sizes[:3]), BLOCK_SHAPE, contiguous(x), y, s, *sizes, alpha, beta, k)
    return y, (x, s)


def backward(
    gy: Array, saved: tuple[Array, Array], *, size: int, alpha: float, beta: float, **_: float
) -> Gradients:
    """Return the gradient of each channel: its own term, and one from every window it is in."""
    x, s = saved
    gx = array_module(x).empty(x.shape, x.dtype)
    sizes = _sizes(x, size)
    arrays = contiguous(gy), contiguous(x), contiguous(s), gx
    _backward(_blocks(*sizes[:3]), BLOCK_SHAPE, *arrays, *sizes, alpha, beta)
    return (gx,)


def _sizes(x: Array, size: int) -> tuple[int, int, int, int]:
    """Return images, channels, pixels, and how many channels a window reaches to each side."""
    N, C, H, W = x.shape
    return N, C, H * W, min(size // 2, C)


def _blocks(N: int, C: int, P: int) -> int:
    return cuda.blocks(N * P, PIXELS_PER_BLOCK) * cuda.blocks(C, CHANNELS_PER_BLOCK)


KERNEL = Implementation(
    forward, backward, why_not=cuda.why_not, dtypes=("float32", "float64", "bfloat16")
)
