"""Mistakes of the kinds that people make in kernels, as edits of the convolution's text.

Each stands exactly once in its file. `implementation` is one that the mistake is in.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A mistake: `old` text in `file` becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    implementation: str


FAULTS = [
    Fault(
        "window off by one",
        "conv2d.cuh",
        "const int h = i * sh - ph + k * dh, w = j * sw - pw + l * dw;",
        "const int h = i * sh - ph + k * dh, w = j * sw - pw + l * dw + 1;",
        "naive",
    ),
    Fault(
        "wrong stride",
        "conv2d.cuh",
        "w = j * sw - pw + l * dw;",
        "w = j * sh - pw + l * dw;",
        "im2col",
    ),
    Fault(
        "border taken for a neighbour row",
        "conv2d.cuh",
        "h >= 0 && h < H && w >= 0 && w < W ?",
        "h >= 0 && h < H && w >= 0 && w <= W ?",
        "tiled",
    ),
    Fault(
        "not only whole strides reach",
        "conv2d.cuh",
        "i % sh == 0 && j % sw == 0",
        "i % sh == 0",
        "naive",
    ),
    Fault(
        "group forgotten",
        "conv2d.cu",
        "const int first = o / at.group_filters() * at.group_channels();",
        "const int first = 0;",
        "naive",
    ),
    Fault(
        "image forgotten after a carry",
        "conv2d.cu",
        "if (p >= P) p -= P, ++n;",
        "if (p >= P) p -= P;",
        "naive",
    ),
    Fault(
        "assigned instead of added",
        "conv2d_im2col.cu",
        "if (from >= 0) sum += patches[row + from];",
        "if (from >= 0) sum = patches[row + from];",
        "im2col",
    ),
    Fault(
        "no barrier after a fetch",
        "tile_product.cuh",
        "fetched.\n        __syncthreads();",
        "fetched.",
        "tiled",
    ),
    Fault(
        "no barrier before the next fetch",
        "tile_product.cuh",
        "the next.\n        __syncthreads();",
        "the next.",
        "tiled",
    ),
    Fault(
        "tile transposed",
        "tile_product.cuh",
        "if (RIGHT_ALONG) rights[tx][ty] = right(ty, k + tx);",
        "if (RIGHT_ALONG) rights[ty][tx] = right(ty, k + tx);",
        "tiled",
    ),
    Fault(
        "swapped kh and kw",
        "conv2d_panels.cuh",
        "const Triple tap = split(q, at.KH, at.KW);",
        "const Triple tap = split(q, at.KW, at.KH);",
        "implicit_gemm",
    ),
    Fault(
        "image skipped in the place of a pixel",
        "conv2d_panels.cuh",
        "return {pixel.a * at.C * at.H * at.W + h * at.W + w, h, w,",
        "return {pixel.a * at.C * at.H + h * at.W + w, h, w,",
        "implicit_gemm",
    ),
    Fault(
        "one row too many",
        "conv2d_panels.cuh",
        "if (place >= 0 && row < rows)",
        "if (place >= 0 && row <= rows)",
        "implicit_gemm",
    ),
    Fault(
        "block edge: one column too many",
        "conv2d_panels.cuh",
        "if (first_row + i < rows && column < count)",
        "if (first_row + i < rows && column <= count)",
        "implicit_gemm",
    ),
    Fault(
        "last element skipped",
        "panel_product.cuh",
        "ALONG_K ? down < lines && k + across < last\n",
        "ALONG_K ? down < lines && k + across < last - 1\n",
        "implicit_gemm",
    ),
    Fault(
        "last step skipped",
        "panel_product.cuh",
        "for (int k = first; k < last; k += DEPTH, now ^= 1)",
        "for (int k = first; k + DEPTH < last; k += DEPTH, now ^= 1)",
        "im2col",
    ),
    Fault(
        "no barrier after a step",
        "panel_product.cuh",
        "before anyone fetches by them.\n        __syncthreads();",
        "before anyone fetches by them.",
        "implicit_gemm",
    ),
    Fault(
        "shared memory not initialised",
        "panel_product.cuh",
        "if (t < RING) table[t]",
        "if (t < WARP) table[t]",
        "implicit_gemm",
    ),
    Fault(
        "spots overwritten too early",
        "panel_product.cuh",
        "table[(done + WARP) % RING + t] =",
        "table[done % RING + t] =",
        "implicit_gemm",
    ),
    Fault(
        "padding left as it was",
        "conv2d_im2col.cu",
        "if (column >= lead) return;",
        "if (column >= at.pixels()) return;",
        "im2col",
    ),
    Fault(
        "the buffer that is being read",
        "panel_product.cuh",
        "if (more) left.lay(lefts[now ^ 1])",
        "if (more) left.lay(lefts[now])",
        "implicit_gemm",
    ),
    Fault(
        "halves of a block overlap",
        "register_product.cuh",
        "return i / WIDTH<T> * (lines / 2) +",
        "return i / WIDTH<T> * (lines / 4) +",
        "implicit_gemm",
    ),
    Fault(
        "phase known to one warp only",
        "conv2d_implicit_gemm.cuh",
        "belongs to it.\n    __syncthreads();",
        "belongs to it.",
        "implicit_gemm",
    ),
    Fault(
        "a window element too many in a phase",
        "conv2d_implicit_gemm.cuh",
        "(window - 1 - tap) / step + 1 : 0",
        "(window - tap) / step + 1 : 0",
        "implicit_gemm",
    ),
    Fault(
        "lanes bring different k",
        "tensor_core_product.cuh",
        "b[j].set(half, right[k + half][column + 8 * j]);",
        "b[j].set(half, right[k / 2 + 4 * half][column + 8 * j]);",
        "tf32x3",
    ),
    Fault(
        "small part forgotten",
        "tensor_core_product.cuh",
        "    mma_tf32(sum, a.small, b.big);\n",
        "",
        "tf32x3",
    ),
    Fault(
        "parts written over each other",
        "conv2d_implicit_gemm.cuh",
        "T* const part = gw + size_t(blockIdx.y) * at.O * taps;",
        "T* const part = gw;",
        "implicit_gemm",
    ),
    Fault(
        "last part skipped",
        "sum_parts.cu",
        "for (int s = 0; s < S; ++s)",
        "for (int s = 0; s < S - 1; ++s)",
        "implicit_gemm",
    ),
]
