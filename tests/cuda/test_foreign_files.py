"""Files that keep no house rules: what of them is read, what is compiled, and what is refused."""

from __future__ import annotations

import contextlib
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minialex import cuda
from minialex.cuda import nvrtc, source
from minialex.cuda.emulator.translate import translate
from minialex.cuda.foreign import excerpt
from minialex.cuda.signature import signature, signatures
from minialex.cuda.tokens import tokens_of
from minialex.errors import MinialexError
from tests.cuda.tools import compiles

F32, I32 = np.float32, np.int32


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and returns its path."""

    def written(text, name="theirs.cu"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        source.clear_cache()
        return path

    return written


def run(path, name, *args, how="checked", grid=1, block=32, architecture="sm_90", **options):
    kernel = cuda.kernel(path, name, options=options.pop("options", ()))
    with cuda.emulated(how, architecture=architecture):
        kernel(grid, block, *args, **options)


PROGRAM = """\
    #include <cstdio>
    #include <vector>
    #include <cuda_runtime.h>
    #include "helper_cuda.h"
    #include "parts/scale.h"
    #define CHECK(call)                                              \\
        do {                                                         \\
            if ((call) != cudaSuccess) { fprintf(stderr, "bad"); exit(1); } \\
        } while (0)

    // Doubles, and a little more.
    __global__ void scale(const float* x, float* y, size_t n) {
        const size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
        if (i < n) y[i] = scaled(x[i]);
    }

    template <typename T> void host_only(std::vector<T>& v) { v.push_back(T()); }

    int main(int argc, char** argv) {
        std::vector<float> x(1024);
        float *dx, *dy;
        CHECK(cudaMalloc(&dx, x.size() * sizeof(float)));
        CHECK(cudaMalloc(&dy, x.size() * sizeof(float)));
        host_only(x);
        scale<<<4, 256>>>(dx, dy, x.size());
        printf("%f\\n", x[0]);
        return 0;
    }
"""
SCALE = """\
    #pragma once
    #include <stdexcept>
    constexpr float FACTOR = 2.5f;
    __device__ __forceinline__ float scaled(float x) { return FACTOR * x; }
    inline void check(int n) { if (n < 0) throw std::runtime_error("negative"); }
"""


@pytest.fixture
def program(write):
    write(SCALE, "parts/scale.h")
    return write(PROGRAM)


@pytest.mark.parametrize("mode", ["fast", "checked", "counted"])
def test_a_whole_program_is_launched_as_it_is(program, mode):
    x, y = np.arange(40, dtype=F32), np.zeros(40, F32)
    run(program, "scale", x, y, 40, how=mode, grid=2)
    np.testing.assert_array_equal(y, F32(2.5) * x)


def test_what_a_kernel_does_not_need_is_blank_and_lines_stay(program):
    read = source.read(program)
    text = excerpt(read, ("scale",), 90, emulated=True)
    for gone in ("main", "vector", "check", "CHECK", "<<<", "host_only", "#include"):
        assert gone not in text
    assert "FACTOR * x" in text
    found = signature(read, "scale")
    assert (found.line, found.comment) == (12, "Doubles, and a little more.")
    assert sorted(read.left_out) == [
        "cstdio",
        "cuda_runtime.h",
        "helper_cuda.h",
        "stdexcept",
        "vector",
    ]


def test_a_fault_is_told_at_its_line_of_a_header(write):
    write(
        "#define AT(i) \\\n  p[i]\n__device__ void put(int* p, int i) {\n  AT(i) = 1;\n}\n", "put.h"
    )
    path = write('#include "put.h"\n__global__ void k(int* p) { put(p, threadIdx.x + 1); }\n')
    with pytest.raises(cuda.EmulationError, match=r"p\[4\] is past its end") as info:
        run(path, "k", np.zeros(4, I32), block=4)
    assert (info.value.file, info.value.line) == (str(path.with_name("put.h")), 4)


def test_the_architecture_decides_what_is_compiled(write):
    path = write("""\
        __device__ int which() {
        #if !defined(__CUDA_ARCH__)
            return -1;
        #elif __CUDA_ARCH__ >= 900
            return 90;
        #else
            return __CUDA_ARCH__ / 10;
        #endif
        }
        __global__ void k(int* p) {
        #ifdef __CUDACC__
            p[0] = which();
        #endif
        }
        #if __CUDA_ARCH__ >= 800
        __global__ void later(int* p) { p[0] = 8; }
        #endif
    """)
    p = np.zeros(1, I32)
    for architecture, value in (("sm_90", 90), ("sm_80", 80), ("sm_75", 75)):
        run(path, "k", p, block=1, architecture=architecture)
        assert p[0] == value
    run(path, "later", p, block=1, architecture="sm_80")
    with pytest.raises(MinialexError, match="has no kernel 'later' for sm_75"):
        run(path, "later", p, block=1, architecture="sm_75")


def test_the_architecture_decides_in_files_that_keep_the_house_rules_too(write):
    path = write("""\
        #include "common.cuh"
        __global__ void k(int* p) {
        #if __CUDA_ARCH__ >= 800
            p[0] = 80;
        #elif defined(__CUDACC__)
            p[0] = 75;
        #endif
        }
    """)
    p = np.zeros(1, I32)
    for architecture, value in (("sm_90", 80), ("sm_75", 75), ("sm_80", 80)):
        run(path, "k", p, block=1, architecture=architecture)
        assert p[0] == value


def test_names_in_namespaces(write):
    path = write("""\
        namespace a { namespace deep {
        __device__ int one() { return 1; }
        __global__ void k(int* p) { p[0] = one(); }
        } }
        namespace b {
        using namespace a::deep;
        static __global__ void k(int* p) { p[0] = one() + 1; }
        __global__ void other(int* p) { p[0] = 3; }
        }
        namespace { __global__ void hidden(int* p) { p[0] = 4; } }
        extern "C" { __global__ void plain(int* p) { p[0] = 5; } }
    """)
    p = np.zeros(1, I32)
    for name, value in (("a::deep::k", 1), ("b::k", 2), ("other", 3), ("hidden", 4), ("plain", 5)):
        run(path, name, p, block=1)
        assert p[0] == value
    with pytest.raises(MinialexError, match="several kernels 'k': say a::deep::k or b::k"):
        run(path, "k", p)
    with pytest.raises(MinialexError, match="no kernel 'z': it has a::deep::k, b::k, b::other, h"):
        run(path, "z", p)


def test_a_parameter_that_nobody_understands_refuses_its_own_kernel(write):
    path = write("""\
        struct Linked { Linked* next; };
        __global__ void pointers(float** rows) {}
        __global__ void linked(Linked head) {}
        __global__ void good(int* p) { p[0] = 1; }
        __global__ void broken(int* p) { p[0] = no_such_thing; }
    """)
    p = np.zeros(1, I32)
    run(path, "good", p, block=1)
    assert p[0] == 1
    assert list(signatures(source.read(path))) == ["good", "broken"]
    with pytest.raises(MinialexError, match=r"theirs\.cu:2: pointers: parameter 'float\*\* rows'"):
        run(path, "pointers", p)
    with pytest.raises(MinialexError, match=r":3: linked: parameter head has type 'Linked'"):
        run(path, "linked", p)
    with pytest.raises(cuda.EmulationError, match=r"cu:5:.*no_such_thing") as info:
        run(path, "broken", p)
    assert (info.value.kind, info.value.line) == ("compile", 5)


def test_members_that_are_defined_outside_of_their_classes(write):
    path = write("""\
        #include <curand.h>
        template <typename Real> class Maker { public: Real operator()(); void k(); };
        template <typename Real> Real Maker<Real>::operator()() { curandStatus_t s; return s; }
        template <typename Real> void Maker<Real>::k() { curandDestroy(); }
        template <class T> struct Box {
            T v;
            __device__ T get() const;
            __device__ T operator()(T x) const;
        };
        template <class U> __device__ U Box<U>::get() const { return v + 1; }
        template <class U> __device__ U Box<U>::operator()(U x) const { return x * get(); }
        struct Outer { struct Inner { float v; __device__ float get() const; }; Inner in; };
        __device__ float Outer::Inner::get() const { return v + 1; }
        template <class Real> __global__ void k(Real* a) {
            Box<Real> box{1};
            Outer o;
            o.in.v = 3;
            a[threadIdx.x] = box(3) + o.in.get();
        }
    """)
    a = np.zeros(2, F32)
    run(path, "k", a, block=2)
    assert a.tolist() == [10, 10]


def test_a_name_with_its_namespace_means_no_other(write):
    path = write("""\
        namespace ours { __device__ void load(int* a) { *a = 1; } }
        namespace { __device__ void load(int* a, int) { cuda::memcpy_async(a, a, 4); } }
        namespace theirs { __device__ void load(int* a) { cuda::memcpy_async(a, a, 4); } }
        __global__ void k(int* a) { ours::load(a); }
        __global__ void other(int* a) { load(a, 1); }
    """)
    a = np.zeros(1, I32)
    run(path, "k", a, block=1)
    assert a[0] == 1
    with pytest.raises(MinialexError, match=r"other cannot run: 'memcpy_async' belongs to libcu"):
        run(path, "other", a)


def test_a_header_of_what_is_not_taken_is_no_folder_to_name(write):
    path = write("""\
        #include <cute/tensor.hpp>
        using namespace cute;
        __global__ void k(float* a) { auto t = make_tensor(make_gmem_ptr(a), 32); }
    """)
    with pytest.raises(cuda.EmulationError) as error:
        run(path, "k", np.zeros(1, F32))
    last = str(error.value).splitlines()[-1]
    assert last == "  the emulator does not have what cute/tensor.hpp declares"


def test_any_pointer_may_be_null(write):
    path = write("__global__ void k(int* p, const int* q) { p[0] = q ? q[0] : 7; }\n")
    p = np.zeros(1, I32)
    run(path, "k", p, None, block=1)
    assert p[0] == 7
    with pytest.raises(cuda.EmulationError, match="write through a null pointer"):
        run(path, "k", None, p, block=1)


def test_arrays_down_columns_are_told_of_their_transpose(write):
    path = write("__global__ void k(int* p) {}\n")
    with pytest.raises(ValueError, match=r"pass ascontiguousarray of it, or its \.T if the kernel"):
        run(path, "k", np.zeros((2, 3), I32, order="F"))


@pytest.mark.parametrize("how", ["fast", "checked", "counted"])
def test_dynamic_shared_memory_of_several_axes(write, how):
    path = write("""\
        extern __shared__ float everywhere[][8];
        __global__ void k(const float* x, float* y) {
            extern __shared__ float tile[][8];
            tile[threadIdx.x / 8][threadIdx.x % 8] = x[threadIdx.x];
            __syncthreads();
            y[threadIdx.x] = tile[threadIdx.x % 8][threadIdx.x / 8];
        }
        __global__ void other(const float* x, float* y) {
            everywhere[threadIdx.x / 8][threadIdx.x % 8] = x[threadIdx.x];
            __syncthreads();
            y[threadIdx.x] = everywhere[threadIdx.x % 8][threadIdx.x / 8];
        }
    """)
    x, y = np.arange(64, dtype=F32), np.zeros(64, F32)
    for name in ("k", "other"):
        run(path, name, x, y, block=64, shared=256, how=how)
        np.testing.assert_array_equal(y.reshape(8, 8), x.reshape(8, 8).T)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("typedef cub::BlockReduce<float, 32> Reduce; p[0] = 1;", "'cub' belongs to CUB"),
        ("p[0] = thrust::min(1, 2);", "'thrust' belongs to Thrust"),
        ("curandState s; curand_init(1, 2, 3, &s);", "'curandState' belongs to cuRAND"),
        ("p[0] = tex2D<float>(0, 1, 2);", "'tex2D' belongs to textures"),
        ("surf2Dwrite(1, 2, 3, 4);", "'surf2Dwrite' belongs to surfaces"),
        ("other<<<1, 1>>>(p);", "'<<<' belongs to launches from within a kernel"),
        ("__shared__ cuda::barrier<cuda::thread_scope_block> b;", "'barrier' belongs to libcu"),
        ("__nv_fp8_e4m3 x; p[0] = 1;", "'__nv_fp8_e4m3' belongs to numbers of 8"),
    ],
)
def test_what_is_not_taken_is_named_in_one_line(write, body, what):
    path = write(f"""\
        __global__ void other(int* p) {{}}
        __global__ void k(int* p) {{
            {body}
        }}
    """)
    with pytest.raises(MinialexError) as error:
        run(path, "k", np.zeros(1, I32))
    assert str(error.value).startswith(f"{path}:3: k cannot run: {what}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "member",
    [
        *("union { int i; float f; };", "union { int i; float f; } v;", "struct { int u; } in;"),
        *("struct { int u; } v[2];", "struct In { int u; } v;", "void (*f)(int);", "int (*f)[3];"),
        *("int b : 3;", "alignas(16) float a;", "int& r;"),
    ],
)
def test_a_struct_with_another_member_is_refused_by_its_name(write, member):
    path = write(f"struct P {{ int a; {member} int z; }};\n__global__ void k(int* x, P p) {{}}\n")
    with pytest.raises(MinialexError) as error:
        run(path, "k", np.zeros(1, I32), (1, 2))
    assert "parameter p has type 'P', which cannot be passed, for its member '" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "#pragma pack(push, 1)\nstruct P { char a; int b; };\n#pragma pack(pop)\n",
        "struct P { char a; int b; } __attribute__((packed));\n",
        "struct __attribute__((packed)) P { char a; int b; };\n",
    ],
)
def test_packed_structs_are_not_laid_out_wrongly(write, text):
    path = write(text + "__global__ void k(int* x, P p) { x[0] = p.b; }\n")
    with pytest.raises(MinialexError, match=r"cannot be passed|the compiler has 5: write the type"):
        run(path, "k", np.zeros(1, I32), (1, 7))


def test_a_type_is_the_one_of_the_kernels_namespace(write):
    path = write("""\
        struct P { float q; };
        enum { FIRST = 1 };
        namespace a { struct P { int q, z; }; typedef double real; }
        namespace b {
        struct P { int z, q, r; };
        typedef float real;
        enum { FIRST = 2 };
        __global__ void __launch_bounds__(FIRST) k(real* x, P p, a::P o, ::P g) {
            x[0] = p.r + o.z + g.q;
        }
        }
    """)
    x = np.zeros(1, F32)
    run(path, "k", x, (1, 2, 3), (4, 5), (0.5,), block=1)
    assert x[0] == 8.5
    with pytest.raises(ValueError, match="block has 3 threads, at most 2"):
        run(path, "k", x, (1, 2, 3), (4, 5), (0.5,), block=3)


def test_includes_are_the_preprocessors(write):
    write("OP(1)\nOP(2)\n", "ops.inc")
    write("#pragma once\n#define SCALE 5\n", "flags.h")
    write('#ifndef A_H\n#define A_H\n#include "b.h"\nconstexpr int A = B;\n#endif\n', "a.h")
    write('#ifndef B_H\n#define B_H\n#include "a.h"\nconstexpr int B = 7;\n#endif\n', "b.h")
    path = write("""\
        #include "a.h"
        #ifdef NEVER
        #include "flags.h"
        #endif
        #if __has_include("flags.h")
        #include "flags.h"
        #endif
        #define OP(n) x[0] += n;
        __global__ void k(int* x) {
        #include "ops.inc"
        #undef OP
        #define OP(n) x[1] *= n * SCALE;
        #include "ops.inc"
            x[2] = A;
        }
    """)
    x = np.ones(3, I32)
    run(path, "k", x, block=1)
    assert x.tolist() == [4, 50, 7]


def test_an_edited_file_is_read_anew(write):
    path = write("__global__ void k(int* x) { x[0] = 1; }\n")
    x, kernel = np.zeros(1, I32), cuda.kernel(path, "k")
    for value in (1, 2):
        path.write_text(f"__global__ void k(int* x) {{ x[0] = {value}; }}\n")
        with cuda.emulated():
            kernel(1, 1, x)
        assert x[0] == value


def test_small_things_of_files(write):
    path = write("\ufeff__global__ void k(std::size_t n, int* x) { x[0] = n; }\n")
    x = np.zeros(1, I32)
    run(path, "k", 3, x, block=1)
    assert x[0] == 3
    path = write("void h() { if (1) {\n__global__ void k(int* x) {}\n")
    with pytest.raises(MinialexError, match="has no kernel 'k': it has none: are its braces bal"):
        run(path, "k", x)
    path = write("__global__ void k(float* x) {}\n")
    with pytest.raises(TypeError, match="argument x points to float"):
        run(path, "k", np.zeros(2, np.complex64))
    path = write("__global__ void __cluster_dims__(2, 1, 1) k(int* x) {}\n")
    with pytest.raises(MinialexError, match="'__cluster_dims__' belongs to clusters"):
        run(path, "k", x)


def test_values_of_scoped_enums_and_of_auto(write):
    path = write("""\
        enum class Mode { SLOW, FAST };
        template <Mode M, auto N> __global__ void k(int* x) { x[0] = M == Mode::FAST ? N : 0; }
    """)
    x = np.zeros(1, I32)
    run(path, "k", x, block=1, M="FAST", N=4)
    assert x[0] == 4


def test_options_of_the_build(write):
    write("#define BASE 40\n", "include/base.h")
    path = write("#include <base.h>\n__global__ void k(int* p) { p[0] = BASE + MORE; }\n")
    p, folder = np.zeros(1, I32), f"-I{path.parent / 'include'}"
    run(path, "k", p, block=1, options=(folder, "-DMORE=2"))
    assert p[0] == 42
    run(path, "k", p, block=1, options=[folder, "-DMORE=BASE*2"])
    assert p[0] == 120
    with pytest.raises(cuda.EmulationError) as error:
        run(path, "k", p, options=["-DMORE=2"])
    assert f"headers that were not found: base.h ({path}:1): name their folders" in str(error.value)
    with pytest.raises(ValueError, match=r"option '-O3' is none of -DNAME=VALUE, -UNAME and -IF"):
        run(path, "k", p, options=["-O3"])
    with pytest.raises(ValueError, match=r"relu\.cu keeps the house rules, and takes no options"):
        cuda.kernel("relu.cu", "relu_forward", options=["-DA=1"]).signature.name  # noqa: B018


def test_an_error_of_the_preprocessor_is_told(write):
    path = write("#if 1\n#error this GPU is too old\n#endif\n__global__ void k(int* p) {}\n")
    with pytest.raises(MinialexError, match=r"cannot be preprocessed:\n.*cu:2:.*too old"):
        run(path, "k", np.zeros(1, I32))


def test_a_preprocessor_that_fails_is_not_the_files_fault(write, monkeypatch):
    path = write("__global__ void k(int* p) {}\n")
    failing = path.with_name("failing")
    failing.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo killed >&2; exit 1; }\n')
    failing.chmod(0o755)
    monkeypatch.setenv("CXX", str(failing))
    with pytest.raises(MinialexError, match=r"failing failed, which is no fault of .*cu: killed$"):
        signatures(source.read(path))


def test_without_a_compiler_it_says_what_to_install(write, monkeypatch):
    path = write("__global__ void k(int* p) {}\n")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(path.parent))
    with pytest.raises(MinialexError, match=r"no C\+\+ compiler found, which reading .*theirs\.cu"):
        signatures(source.read(path))


PARAMETERS = """\
    typedef unsigned long long u64;
    using real = double;
    enum Mode { ADD = 3, SUBTRACT };
    struct Pair { int a; real b; };
    template <typename T> struct Plus {
        __device__ T operator()(T a, T b) const { return a + b; }
        Plus() = default;
        void print() const { std::cout << "host"; }
    };
    __global__ void k(u64 big, const real* in, real out[], long n, uint8_t small, Mode mode,
                      float4 v, dim3 d, struct Pair pair, half h, bool flag, unsigned char* = 0) {
        out[0] = big, out[1] = in[n], out[2] = small, out[3] = mode == ADD, out[4] = v.w;
        out[5] = d.z, out[6] = pair.a + pair.b, out[7] = __half2float(h), out[8] = flag;
    }
    template <class T, class Op, const int N, Mode mode>
    __global__ void fold(Op op, const T* x, T* out) {
        T sum = x[0];
        for (int i = 1; i < N; ++i) sum = op(sum, x[i]);
        out[0] = mode == SUBTRACT ? -sum : sum;
    }
    __device__ float twice(float x) { return 2 * x; }
    template <float (*f)(float)> __global__ void mapped(float* x) {
        x[threadIdx.x] = f(x[threadIdx.x]);
    }
    constexpr int NT = 16 * 2;
    __global__ void __launch_bounds__(NT * 2, 1) bounded(int* p) { p[threadIdx.x] = 1; }
    template <int NT2> __global__ __launch_bounds__(NT2 * 4) void bounded_too(int* p) {}
"""


def test_parameters_of_any_type(write):
    path = write(PARAMETERS)
    out, h = np.zeros(9), F32(0.5)
    vector, size, pair = (1, 2, 3, 4), (1, 2, 7), (5, 0.25)
    given = (2**63, np.array([1, 8.5]), out, 1, 250, 3, vector, size, pair, h, True)
    run(path, "k", *given, np.zeros(1, np.uint8), block=1)
    assert out.tolist() == [2.0**63, 8.5, 250, 1, 4, 7, 5.25, 0.5, 1]
    with pytest.raises(ValueError, match=r"argument small is an unsigned char"):
        run(path, "k", *given[:4], 256, *given[5:], np.zeros(1, np.uint8))


def test_template_arguments_of_any_kind(write):
    path = write(PARAMETERS)
    x, out = np.arange(1, 6, dtype=F32), np.zeros(1, F32)
    run(path, "fold", (), x, out, block=1, Op="Plus<float>", N=5, mode="SUBTRACT")
    assert out[0] == -15
    run(path, "fold", (), x, out, block=1, Op="Plus<float>", N=3, mode=3)
    assert out[0] == 6
    run(path, "mapped", x, block=5, f="twice")
    assert x.tolist() == [2, 4, 6, 8, 10]
    with pytest.raises(TypeError, match=r"template argument N is missing"):
        run(path, "fold", (), x, out, Op="Plus<float>", mode=3)
    with pytest.raises(TypeError, match=r"template argument Op is a type, got 'Minus'"):
        run(path, "fold", (), x, out, Op="Minus", N=3, mode=3)


def test_launch_bounds_by_constants_are_held(write):
    path = write(PARAMETERS)
    with pytest.raises(ValueError, match=r"block has 65 threads, at most 64 by __launch_bounds__"):
        run(path, "bounded", np.zeros(65, I32), block=65)
    with pytest.raises(ValueError, match=r"block has 65 threads, at most 64 by __launch_bounds__"):
        run(path, "bounded_too", np.zeros(65, I32), block=65, NT2=16)


@pytest.mark.parametrize("mode", ["fast", "checked", "counted"])
def test_dynamic_shared_memory_declared_at_file_scope(write, mode):
    path = write("""\
        extern __shared__
        float box[];
        struct Reader { __device__ float at(int i) const { return box[i]; } };
        __device__ float first() { return box[0]; }
        __global__ void k(float* x) {
            box[threadIdx.x] = x[threadIdx.x];
            __syncthreads();
            x[threadIdx.x] = first() + Reader().at(31 - threadIdx.x);
        }
    """)
    x = np.arange(1, 33, dtype=F32)
    run(path, "k", x, shared=128, how=mode)
    np.testing.assert_array_equal(x, 1 + np.arange(32, 0, -1))


def test_a_specialised_kernel_and_overloads(write):
    path = write("""\
        template <typename T> __global__ void k(T* p) { p[0] = 1; }
        template <> __global__ void k<float>(float* p) { p[0] = 2; }
        __global__ void over(int* p) { p[0] = 3; }
        __global__ void over(int* p, int n) { p[0] = n; }
    """)
    for dtype, value in ((F32, 2), (I32, 1)):
        p = np.zeros(1, dtype)
        run(path, "k", p, block=1)
        assert p[0] == value
    run(path, "over", p, block=1)
    assert p[0] == 3


def test_text_that_is_not_utf_8_and_lines_of_windows(tmp_path):
    path = tmp_path / "old.cu"
    path.write_bytes(
        "// größer\r\n__global__ void k(int* p) {\r\n  p[1] = 1;\r\n}\r\n".encode("latin-1")
    )
    source.clear_cache()
    with pytest.raises(cuda.EmulationError) as info:
        run(path, "k", np.zeros(1, I32), block=1)
    assert info.value.line == 3


# ---- the same signature, however it is spelled ---------------------------------------------------

BLANKS = st.sampled_from([" ", "  ", "\n", "\t", " /* , ( */ ", " // ) {\n"])
RESTRICT = st.sampled_from(["__restrict__", "__restrict", "RESTRICT"])


@st.composite
def spelled_kernels(draw):
    """Return a kernel's text, spelled in one of many ways; it is always the same kernel."""

    def blank():
        return draw(BLANKS)

    def words(*parts):
        return "".join(part + blank() for part in parts)

    const = ["const"] if draw(st.booleans()) else []
    element = draw(st.permutations(["const", "float"]))
    pointer = words(*element) + words("*", draw(RESTRICT), *const, "x")
    out = words("float", "*", *const, "y") if draw(st.booleans()) else words("float", "y", "[", "]")
    unsigned = draw(st.permutations(["unsigned", "long", "long"]))
    number = words(*draw(st.permutations([*const, *unsigned])), "n")
    size = draw(st.sampled_from(["uint", "unsigned", "unsigned int", "u32", "uint32_t"]))
    more = words(*draw(st.permutations([*const, size])), "step")
    default = words("=", "3") if draw(st.booleans()) else ""
    head = draw(st.permutations(["__global__", "static", "inline"][: draw(st.integers(1, 3))]))
    bounds = words("__launch_bounds__(", "BOUND", ",", "2", ")") if draw(st.booleans()) else ""
    kind, before = ("void", True) if draw(st.booleans()) else ("void", False)
    name = words(bounds, kind, "k") if before else words(kind, bounds, "k")
    parameters = ("," + blank()).join([pointer, out, number, more + default])
    body = "{ y[0] = x[0] + n + step; }"
    defines = "#define RESTRICT __restrict__\n#define BOUND \\\n  128\ntypedef unsigned u32;\n"
    return f"{defines}{words(*head)}{name}({blank()}{parameters}){blank()}{body}\n"


@settings(max_examples=60, deadline=None)
@given(text=spelled_kernels())
def test_a_signature_is_the_same_however_it_is_spelled(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("spelled") / "k.cu"
    path.write_text(text)
    (found,) = signatures(source.read(path)).values()
    assert [(p.name, p.ctype, p.pointer, p.restrict) for p in found.parameters] == [
        ("x", "float", True, True),
        ("y", "float", True, False),
        ("n", "unsigned long long", False, False),
        ("step", "unsigned int", False, False),
    ]
    assert [p.const for p in found.parameters[:2]] == [True, False]
    assert found.most_threads({}) in (None, 128)
    assert ("__launch_bounds__" in text) == (found.most_threads({}) == 128)


FOREIGN = sorted((Path(__file__).parent / "foreign").rglob("*.cu"))


@settings(max_examples=40, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_damaged_text_is_read_or_refused(tmp_path_factory, random):
    """Whatever is missing or put in, nothing but an error of ours comes of it."""
    text = random.choice(FOREIGN).read_text()
    for _ in range(random.randint(1, 4)):
        tokens = tokens_of(text)
        gone, other = random.choice(tokens), random.choice(tokens).text
        new = random.choice(["", other, "(", "<", "}", "template", "::"])
        text = text[: gone.start] + new + text[gone.end :]
    path = tmp_path_factory.mktemp("damaged") / "k.cu"
    path.write_text(text)
    read = source.read(path)
    try:
        names = list(signatures(read))
    except MinialexError:
        return
    for name in names[:3]:
        with contextlib.suppress(MinialexError):
            assert translate(excerpt(read, (name,), 90, True), [name])


# ---- NVRTC ---------------------------------------------------------------------------------------


@compiles
def test_nvrtc_takes_the_same_file(program):
    (usage,) = nvrtc.usage(program, "sm_90")
    assert (usage.kernel, usage.spill_loads) == ("scale", 0)


@compiles
def test_nvrtc_has_what_nvcc_puts_in_front(write):
    path = write("""\
        #include <cuda_fp16.h>
        #include <cstdint>
        #include <algorithm>
        __global__ void k(float* p, uint32_t n, int64_t m, half2* h) {
            float most = -INFINITY, least = FLT_MAX;
            for (uint i = 0; i < n; ++i) most = std::max(most, p[i]), least = std::min(least, p[i]);
            assert(n < INT_MAX);
            p[0] = most * CUDART_PI_F + least / M_PI + std::numeric_limits<float>::max() + m;
            h[0] = __hadd2(h[0], h[1]);
        }
    """)
    for architecture in ("sm_80", "sm_90"):
        assert nvrtc.usage(path, architecture)[0].registers > 0


def test_a_kernel_without_arrays_runs_where_kernels_are_emulated(write):
    path = write("""\
        __device__ int total;
        __global__ void add(int n) { atomicAdd(&total, n); }
    """)
    run(path, "add", 2)
    run(path, "add", 3, how="fast")
    assert cuda.variables(path)["total"] == 32 * 5
    with pytest.raises(TypeError, match="add: no argument is an array, so nothing says where"):
        cuda.kernel(path, "add")(1, 32, 1)
