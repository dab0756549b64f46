"""Faults in the kernel that converts numbers to another type."""

import functools

from tests.cuda.bfloat16_runs import types_converted
from tests.cuda.zoo import Fault

fault = functools.partial(
    Fault, file="astype.cu", op="astype", implementation="kernel", check=types_converted
)

FAULTS = [
    fault("cut, not rounded", old="__float2bfloat16_rn(", new="__float2bfloat16_rz("),
    fault("three elements for each thread", old="PER_THREAD = 4;", new="PER_THREAD = 3;"),
    fault(
        "one element too many",
        old="if (first + k * blockDim.x < n) numbers",
        new="if (first + k * blockDim.x <= n) numbers",
        error="out-of-bounds",
    ),
    fault(
        "a thread writes one place",
        old="y[first + k * blockDim.x] =",
        new="y[first] =",
    ),
]
