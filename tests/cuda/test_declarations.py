"""Which declarations a text consists of, and which of them a kernel needs."""

from __future__ import annotations

import pytest

from minialex.cuda.declarations import declarations
from minialex.cuda.needed import reached
from minialex.cuda.tokens import tokens_of


def kinds(text):
    return [(d.kind, d.names) for d in declarations(text)]


def needed(text, name):
    """Return the first names of what a kernel needs, in the order of the text."""
    every = declarations(text)
    (root,) = [d for d in every if d.qualified == name and d.is_defined]
    return [d.names[0] for d in reached(every, [root])]


def test_tokens_leave_out_blanks_comments_and_directives():
    text = '#define A \\\n  { b\na = "// x" + 1\'000; /* } */ c<<<1, 2>>>(); // {\n R"(})" \'"\''
    words = [t.text for t in tokens_of(text)]
    assert words[:6] == ["a", "=", '"// x"', "+", "1'000", ";"]
    assert words[6:] == ["c", "<<<", "1", ",", "2", ">>>", "(", ")", ";", 'R"(})"', "'\"'"]


@pytest.mark.parametrize(
    ("text", "kind", "names"),
    [
        ("__global__ void k(int n) { if (n) { } }", "function", ("k",)),
        ("__global__ void __launch_bounds__(N * (2 + M)) k(int n);", "function", ("k",)),
        (
            "template <int N, class T = A<B<int>>> __device__ T f(T x) { return x; }",
            "function",
            "f",
        ),
        ("template <> __device__ float f<float>(float x) { return x; }", "function", ("f",)),
        (
            "__device__ float4 operator+(float4 a, float4 b) { return a; }",
            "function",
            ("operator",),
        ),
        ("int Timer::stop() { return 0; }", "function", ("Timer",)),
        ("struct S { int a; __device__ int f() { return a; } };", "class", ("S",)),
        ("struct __align__(16) S { int a; } one, *two;", "class", ("S", "one", "two")),
        ("enum Mode { FIRST, SECOND = 4 };", "class", ("Mode", "FIRST", "SECOND")),
        ("typedef struct tag { int a; } Name;", "type", ("tag", "Name")),
        ("typedef float (*Function)(float, int);", "type", ("Function",)),
        ("typedef unsigned int uint, *Pointer;", "type", ("uint", "Pointer")),
        ("using Real = double;", "type", ("Real",)),
        ("namespace cg = cooperative_groups;", "type", ("cg",)),
        ("using namespace a::b;", "using", ("a::b",)),
        ("__constant__ float taps[3] = {1, 2, 3}, more;", "variable", ("taps", "more")),
        ("static const int N{4};", "variable", ("N",)),
        ("std::vector<int> v(3, f(4));", "function", ("v",)),
    ],
)
def test_a_declaration_has_a_kind_and_names(text, kind, names):
    assert kinds(text + " int last;") == [(kind, tuple(names)), ("variable", ("last",))]


def test_namespaces_are_gone_into():
    found = declarations(
        "namespace a::b { namespace { __global__ void k() {} } int n; }\n"
        'extern "C" { __global__ void c() {} }\nextern "C" __global__ void d() {}'
    )
    assert [d.qualified for d in found] == ["a::b::k", "a::b::n", "c", "d"]
    assert [d.is_kernel for d in found] == [True, False, True, True]


def test_what_a_kernel_does_not_mention_is_not_needed():
    text = (
        "constexpr int N = 4; constexpr int M = 5; int host = 3; __device__ int count;\n"
        "struct Used { Inner i; }; struct Inner { int a; }; struct Unused { std::string s; };\n"
        "__device__ int g(int n) { return n * N; } __device__ int f(Used u) { return g(1); }\n"
        "void run() { k<<<1, 1>>>({}); } int main() { run(); }\n"
        "__global__ void k(Used u) { count = f(u) + host; }\n"
        "__global__ void other() { k; }"
    )
    assert needed(text, "k") == ["N", "count", "Used", "Inner", "g", "f", "k"]
    # a kernel is no part of another
    assert needed(text, "other") == ["other"]


def test_a_function_without_a_mark_is_needed_where_it_is_called_and_no_other_has_its_name():
    text = (
        "int twice(int n) { return 2 * n; } int blocks(int n) { return n; }\n"
        "int both(int n) { return n; } __device__ int both(float n) { return 1; }\n"
        "__host__ int only(int n) { return n; }\n"
        "__global__ void k(int blocks) { twice(blocks); both(3); only(1); }"
    )
    assert needed(text, "k") == ["twice", "both", "k"]


def test_operators_are_needed_by_what_mentions_their_operands():
    text = (
        "__device__ float4 operator+(float4 a, float4 b) { return a; }\n"
        "__device__ int2 operator-(int2 v) { return v; }\n"
        "std::ostream& operator<<(std::ostream& o, float4 a) { return o; }\n"
        "__global__ void k(float4* x) { *x = *x + *x; }"
    )
    assert needed(text, "k") == ["operator", "k"]
