"""How C++ types lie in memory: what is said of them here, the compiler says too."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest

from minialex.cuda import layouts
from minialex.cuda.cpp_types import Types
from minialex.cuda.cxx import compiler
from minialex.cuda.declarations import declarations
from minialex.cuda.emulator.compiler import _INCLUDE

TEXT = """
typedef unsigned char byte;
using real = double;
const int WIDTH = 3;
constexpr int HEIGHT = WIDTH * 2 + (1 << 2), AREA = WIDTH * HEIGHT / 2;
enum Mode { FIRST, SECOND = 5, THIRD };
enum class Small : unsigned char { A, B };
enum { LEFT = 4, RIGHT };
struct Point { float x, y, z; };
struct Flags { bool on; byte level; real weight; short last; };
struct Nested { Point at[2]; Flags flags; Mode mode; int cells[WIDTH][RIGHT]; };
struct __align__(16) Wide { int n; };
typedef struct { float4 v; int n; } Anonymous;
struct Empty { __device__ int operator()(int a) const { return a; } };
struct Child : Point { float w; };
template <typename T, int N = 2> struct Row {
    typedef T value;
    using pair = Row<T, 2>;
    static constexpr int count = N;
    enum { half = N / 2 };
    T v[N];
  public:
    int used;
    __device__ T sum() const { T s = 0; for (int i = 0; i < N; ++i) s += v[i]; return s; }
};
template <class T> struct Vectors;
template <> struct Vectors<float> { using four = float4; };
template <> struct Vectors<unsigned int> { typedef uint2 four; short own; };
template <class T> struct Holder { typename Row<T, 4>::value first; Row<T> rest; };
typedef struct Opaque Opaque;
struct Linked { Linked* next; };
struct Virtual { virtual int f(); int n; };
struct Bits { int a : 3; };
"""
TYPES = Types(declarations(TEXT))
KNOWN = [
    *("byte", "real", "unsigned", "long unsigned int", "uint8_t", "size_t", "ptrdiff_t", "Mode"),
    *("Small", "Point", "Flags", "Nested", "Wide", "Anonymous", "Empty", "Child", "Row<float>"),
    *("Row<double, 5>", "Holder<short>", "Row<int, 3>::value", "Row<float4>::pair", "float4"),
    *("double2", "char3", "ushort4", "uint1", "longlong4", "float3", "dim3", "half2", "char4"),
    *("Vectors<float>::four", "typename Vectors<unsigned>::four", "Vectors<uint>"),
    *("__nv_bfloat162", "struct Point", "const Row<Point, WIDTH>", "Row<Row<byte, 3>>"),
]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return the size, the alignment and the bytes set of each type, by the compiler."""
    folder = tmp_path_factory.mktemp("layouts")
    rows = "".join(f"    sizeof({one}), alignof({one}),\n" for one in KNOWN)
    text = (
        f'#include "emulator.h"\n{TEXT}\nextern "C" const unsigned long sizes[] = {{\n{rows}}};\n'
    )
    (folder / "sizes.cpp").write_text(text)
    command = [*compiler("tests").command, "-std=c++17", "-shared", "-fPIC", "-w", f"-I{_INCLUDE}"]
    out = folder / "sizes.so"
    subprocess.run(
        [*command, "-Wl,--unresolved-symbols=ignore-all", "-o", out, folder / "sizes.cpp"],
        check=True,
    )
    found = (ctypes.c_ulong * (2 * len(KNOWN))).in_dll(ctypes.CDLL(str(out)), "sizes")
    return {one: tuple(found[2 * i : 2 * i + 2]) for i, one in enumerate(KNOWN)}


@pytest.mark.parametrize("ctype", KNOWN)
def test_sizes_and_alignments_are_the_compilers(compiled, ctype):
    layout = TYPES.layout(ctype)
    assert (layout.dtype.itemsize, layout.alignment) == compiled[ctype]


@pytest.mark.parametrize(
    "ctype",
    [
        "Linked",
        "Virtual",
        "Bits",
        "Opaque",
        "Unknown",
        "Vectors<int>",
        "float5",
        "std::vector<int>",
    ],
)
def test_what_is_not_known_has_no_layout(ctype):
    assert TYPES.layout(ctype) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("WIDTH", 3),
        ("HEIGHT", 10),
        ("AREA", 15),
        ("SECOND + THIRD", 11),
        ("RIGHT * 2u - 0x10", -6),
        ("sizeof(Flags) / sizeof(double)", 3),
        ("N * (N + 1)", 20),
        ("7 / 2 << 1", 6),
        ("1'000 % 7", 6),
        ("true", 1),
        ("unknown", None),
        ("1.5", None),
        ("f(3)", None),
        ("1 / 0", None),
        ("", None),
    ],
)
def test_constant_expressions(text, value):
    assert TYPES.number(text, {"N": "4"}) == value


def test_template_types_stand_for_what_they_are_bound_to():
    bound = TYPES.layout("typename Holder<T>", {"T": "float"})
    assert bound.dtype == TYPES.layout("Holder<float>").dtype
    assert bound.uniform is None
    assert TYPES.layout("Row<T, N>", {"T": "short", "N": "7"}).members[0].shape == (7,)
    assert TYPES.layout("T", {"T": "unsigned"}).ctype == "unsigned int"


@pytest.mark.parametrize(
    ("ctype", "uniform"),
    [
        ("float4", ("float", 4)),
        ("Child", ("float", 4)),
        ("half2", ("__half", 2)),
        ("int", ("int", 1)),
        ("Flags", None),
        ("Empty", None),
    ],
)
def test_what_is_of_one_kind_of_number(ctype, uniform):
    assert TYPES.layout(ctype).uniform == uniform


def test_which_arrays_hold_values_of_a_type():
    takes = TYPES.layout("Point").takes
    other_names = np.dtype([("a", "f4"), ("b", "f4", 2)])
    assert takes(np.dtype("f4"), 6)
    assert takes(other_names, 5)
    assert not takes(np.dtype("f4"), 4)
    assert not takes(np.dtype("f8"), 6)
    assert not takes(np.dtype([("a", "f4"), ("b", "i4"), ("c", "f4")]), 1)
    assert TYPES.layout("float2").takes(np.dtype("c8"), 1)
    assert not TYPES.layout("float4").takes(np.dtype("c8"), 1)


def test_tuples_become_structs():
    value = layouts.cast(
        (
            [(1, 2, 3), (4.5, 5, 6)],
            (True, 255, 0.5, -1),
            5,
            np.arange(15).reshape(3, 5),
        ),
        TYPES.layout("Nested"),
        "k: argument s",
    )
    assert value["at"]["z"].tolist() == [3, 6]
    assert value["flags"].item() == (True, 255, 0.5, -1)
    assert value["mode"] == 5
    assert value["cells"][2, 4] == 14
    for same in (value, np.array(value), np.array([value])):
        again = layouts.cast(same, TYPES.layout("Nested"), "k")
        assert again["cells"].tolist() == value["cells"].tolist()
        assert again["flags"].item() == value["flags"].item()
    assert layouts.cast((), TYPES.layout("Empty"), "k").itemsize == 1
    assert layouts.cast((1, 2, 3, 4), TYPES.layout("float4"), "k").tolist() == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("ctype", "value", "kind", "message"),
    [
        ("Point", (1, 2), TypeError, r"k: argument s is a struct of x, y, z, got \(1, 2\)"),
        ("Point", 7, TypeError, r"got 7 \(int\): pass a tuple of these"),
        ("Point", (1, "2", 3), TypeError, r"argument s\.y is a float"),
        ("Flags", (True, 256, 1, 1), ValueError, r"argument s\.level is an unsigned char"),
        ("Empty", 0, TypeError, r"is an empty struct, got 0 \(int\): pass \(\)"),
        (
            "Row<int, 3>",
            ([1, 2], 0),
            ValueError,
            r"s\.v has shape \(3,\), got \(2,\): pass as many",
        ),
    ],
)
def test_what_is_no_such_struct_is_told(ctype, value, kind, message):
    with pytest.raises(kind, match=message):
        layouts.cast(value, TYPES.layout(ctype), "k: argument s")
