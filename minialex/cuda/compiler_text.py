"""The text that a compiler is given of a kernel file: whole, or of a foreign one an excerpt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from minialex.cuda.foreign import excerpt
from minialex.cuda.source import Source
from minialex.cuda.tokens import without_comments

_TYPES_OF_HEADERS = {"cuda_fp16.h": "__half", "cuda_bf16.h": "__nv_bfloat16"}
_PRELUDE = Path(__file__).resolve().parent / "nvrtc_prelude.cuh"
# What foreign files include of CUDA and NVRTC takes, where it is installed: by which words a kernel
# needs it. Others of the file may, and each has many thousands of lines.
_HEADERS_OF_DEVICES = {
    "cuda_fp16.h": r"\w*half\w*",
    "cuda_bf16.h": r"\w*bfloat16\w*",
    "mma.h": r"wmma|fragment",
    "cuda_pipeline.h": r"__pipeline_\w+",
    "cuda_pipeline_primitives.h": r"__pipeline_\w+",
    "cooperative_groups.h": "cooperative_groups",
    "cooperative_groups/reduce.h": "cooperative_groups",
    "cooperative_groups/scan.h": "cooperative_groups",
    "cooperative_groups/memcpy_async.h": "cooperative_groups",
}
_OF_REFUSED = re.compile("(?:cute|cutlass|cub|thrust)/|curand")
# Headers of C, C++ and CUDA that need not be there.
_KNOWN = re.compile(
    r"\w+|c?u\w+\.h|(?:sys/\w+|assert|float|limits|math|std\w+|string|time|unistd|omp)\.h|"
    r"(?:device|math|vector|host|driver|builtin|sm)_\w+\.h(?:pp)?|nv\w+\.h"
)


def for_emulator(source: Source, expressions: Sequence[str], capability: int) -> str:
    """Return the text that the emulator translates for some instantiations of kernels.

    Parameters
    ----------
    capability : int
        The compute capability of the emulated GPU, times ten.
    """
    if not source.is_foreign:
        known = f"#define __CUDACC__\n#define __CUDA_ARCH__ {10 * capability}\n"
        return known * source.asks_for_architecture + source.text
    return excerpt(source, tuple(expressions), capability, emulated=True)


def for_nvrtc(source: Source, expressions: Sequence[str], capability: int) -> str:
    """Return the text for NVIDIA's compilers, which know half and bfloat16 from headers only.

    A file need not include them: an array of float16 may make a template's ``T`` a __half.
    """
    text = source.text
    included: set[str] = set()
    if source.is_foreign:
        excerpted = excerpt(source, tuple(expressions), capability, emulated=False)
        text = _PRELUDE.read_text() + excerpted
        included = {
            header
            for header, words in _HEADERS_OF_DEVICES.items()
            if header in source.left_out and re.search(rf"\b(?:{words})\b", excerpted)
        }
    written = "\n".join([without_comments(source.own), *expressions])
    for header, type_name in _TYPES_OF_HEADERS.items():
        if f"<{header}>" not in text and re.search(rf"\b{type_name}2?\b", written):
            included.add(header)
    return "".join(f"#include <{header}>\n" for header in sorted(included)) + text


def left_out(source: Source) -> str:
    """Return a note of the headers that were left out of a foreign file and may be missed."""
    missed = [
        header
        for header in source.left_out
        if header not in _HEADERS_OF_DEVICES and not _KNOWN.fullmatch(header)
    ]
    refused = [header for header in missed if _OF_REFUSED.match(header)]
    if refused:
        return f"the emulator does not have what {', '.join(refused)} declares"
    if not missed:
        return ""
    listed = ", ".join(f"{header} ({source.left_out[header]})" for header in missed)
    return f"headers that were not found: {listed}: name their folders, options=['-IFOLDER']"
