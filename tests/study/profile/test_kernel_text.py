"""The parts of a kernel's text that a page shows."""

from __future__ import annotations

from minialex.cuda import source
from minialex.cuda.signature import signatures
from minialex.study.profile.kernel_text import definitions, parts_of

HEADER = """// header.cuh
#pragma once
#define F(x) {x

constexpr int N = 4;  // a "brace {"

namespace inner {
// The helper:
// two lines.
template <int K>
__device__ int helper(int x) { return x + '{' + K; }
}  // namespace inner

struct Pair {
    int a, b;
    int sum() const { return a + b; }
};

__device__ int unused() { return 0; }
"""
KERNEL = """#include "header.cuh"
/* a { comment */
// The idea.
extern "C" __global__ void __launch_bounds__(64)
made(const float* x) {
    if (x) {
        inner::helper<3>(1);
    }
}
__global__ void made_too() {}
"""
FILES = {"header.cuh": HEADER, "made.cu": KERNEL}


def test_definitions_with_the_comment_above_them():
    assert definitions(HEADER) == [(5, 5), (8, 11), (14, 17), (19, 19)]
    assert definitions(KERNEL) == [(3, 9), (10, 10)]


def test_the_kernel_comes_first_then_what_was_reached():
    lines = [("header.cuh", 11), ("made.cu", 7), ("header.cuh", 16), ("elsewhere.h", 2)]
    parts = parts_of(FILES, lines, "made")
    assert [(part.file, part.first) for part in parts] == [
        *[("made.cu", 3), ("header.cuh", 8), ("header.cuh", 14)],
    ]
    assert parts[0].lines[0] == "// The idea."
    assert parts[0].lines[-1] == "}"


def test_a_kernel_is_shown_though_nothing_was_reached_in_it():
    (part,) = parts_of(FILES, [], "made_too")
    assert part.lines == ("__global__ void made_too() {}",)


def test_every_kernel_of_the_library_is_found_with_its_end():
    for file in source.kernel_files():
        there = source.read(file)
        for name in signatures(there):
            part = parts_of(there.files, [], name)[0]
            text = "\n".join(part.lines)
            assert f"{name}(" in text
            assert text.count("{") == text.count("}"), name
            assert part.lines[-1].endswith("}")
