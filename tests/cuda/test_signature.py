"""What is read from the text of a kernel."""

from __future__ import annotations

import pytest

from minialex.cuda import source
from minialex.cuda.layouts import Member, number, struct
from minialex.cuda.signature import KernelParameter, TemplateParameter, signatures
from minialex.cuda.tokens import split, without_comments
from minialex.errors import MinialexError
from tests.cuda.tools import KERNELS


@pytest.fixture
def parse(tmp_path):
    """Return a function from a file's text to its signatures."""

    def parsed(text):
        path = tmp_path / "some.cu"
        # it keeps the house rules
        path.write_text(text + '\n#include "common.cuh"\n')
        source.clear_cache()
        return signatures(source.read(path))

    return parsed


def test_parameters_types_and_qualifiers(parse):
    (k,) = parse(
        "template <typename T>\n__global__ void k(const T* __restrict__ x, T *y, float* const z,\n"
        "    const unsigned n, unsigned char*m, const long long  int big, size_t s, double d,\n"
        "    const void* __restrict__ v) {\n}"
    ).values()
    assert k.parameters == (
        KernelParameter("x", "T", pointer=True, const=True, restrict=True),
        KernelParameter("y", "T", pointer=True),
        KernelParameter("z", "float", pointer=True),
        KernelParameter("n", "unsigned int", const=True),
        KernelParameter("m", "unsigned char", pointer=True),
        KernelParameter("big", "long long", const=True),
        KernelParameter("s", "size_t"),
        KernelParameter("d", "double"),
        KernelParameter("v", "void", pointer=True, const=True, restrict=True),
    )
    assert k.line == 2


@pytest.mark.parametrize(
    ("one", "other", "ruled_out"),
    [
        ("float* a", "float* b", False),
        ("float* __restrict__ a", "float* b", True),
        ("const float* __restrict__ a", "float* b", True),
        ("float* __restrict__ a", "const float* b", True),
        ("float* __restrict__ a", "float* __restrict__ b", True),
        ("const float* a", "float* b", False),
        ("const float* __restrict__ a", "const float* b", False),
        ("const float* __restrict__ a", "const float* __restrict__ b", False),
    ],
)
def test_which_arrays_may_not_overlap(parse, one, other, ruled_out):
    """What is reached through a restricted pointer and written is reached through no other."""
    (k,) = parse(f"__global__ void k({one}, {other}) {{}}").values()
    a, b = k.parameters
    assert a.rules_out(b) is b.rules_out(a) is ruled_out


def test_a_struct_of_numbers_is_read_with_its_members(parse):
    (k,) = parse(
        "struct Size { // a size\n  int H, W;  /* float no; */\n  unsigned n;\n"
        "  int area() const { if (H > 0) { return H * W; } return 0; }\n  bool flat;\n};\n"
        "__global__ void k(const Size s, int n) {}\n"
    ).values()
    assert k.parameters[0] == KernelParameter(
        "s",
        "Size",
        const=True,
        layout=struct(
            "Size",
            [
                Member("H", number("int")),
                Member("W", number("int")),
                Member("n", number("unsigned int")),
                Member("flat", number("bool")),
            ],
        ),
    )


@pytest.mark.parametrize(
    "members", ["float* p;", "int n; Other o;", "int n, *p;", "int n : 3;", "int a[N];"]
)
def test_a_struct_of_anything_else_cannot_be_passed(parse, members):
    with pytest.raises(MinialexError, match="parameter s has type 'Size', which cannot be passed"):
        parse(
            f"struct Size {{ {members} int f() const {{ return 1; }} }};\n"
            "__global__ void k(const Size s) {}"
        )


def test_template_parameters_defaults_and_instances(parse):
    (k,) = parse(
        "// A kernel.\n// instances: TILE = 16, 32; FAST = true\n// More of it.\n"
        "template <typename T, int TILE = 8, bool FAST = false, class U = float>\n"
        "__global__ void k(const T* x, const U* u) {}\n"
    ).values()
    assert k.template == (
        TemplateParameter("T", "typename"),
        TemplateParameter("TILE", "int", "8"),
        TemplateParameter("FAST", "bool", "false"),
        TemplateParameter("U", "class", "float"),
    )
    assert dict(k.instances) == {
        "T": ("float", "double"),
        "TILE": ("16", "32"),
        "FAST": ("true",),
    }
    assert k.comment == "A kernel.\ninstances: TILE = 16, 32; FAST = true\nMore of it."
    bindings = k.declared_bindings()
    assert len(bindings) == 4
    assert k.expression(bindings[0]) == "k<float, 16, true, float>"
    assert k.allows(bindings[0])
    assert not k.allows({**bindings[0], "TILE": "8"})


@pytest.mark.parametrize(
    ("head", "bound"),
    [
        ("__global__ void __launch_bounds__(256) k(", "256"),
        ("__global__ __launch_bounds__(TILE * (TILE + 1), 2) void k(", "TILE * (TILE + 1)"),
        ('extern "C" __global__ void k(', ""),
        ("static __global__ void k(", ""),
    ],
)
def test_heads(parse, head, bound):
    (k,) = parse(f"{head}int n) {{}}").values()
    assert (k.name, k.launch_bound) == ("k", bound)


def test_comments_declarations_and_other_functions_are_no_kernels(parse):
    found = parse(
        "// __global__ void a(int n) {}\n/* __global__ void b(int n) {\n} */\n"
        "__global__ void c(int n);\n__device__ void d(int n) {}\n"
        "__global__ void e(int n /* how many, or so */, // the rest\n int m) {}\n"
    )
    assert list(found) == ["e"]
    assert [p.name for p in found["e"].parameters] == ["n", "m"]
    assert found["e"].line == 6


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("std::vector<int> v", "type 'std::vector<int>', which cannot be passed"),
        ("Unknown n", "type 'Unknown'"),
        ("float5* v", "type 'float5'"),
        ("float& v", r"parameter 'float& v' is not of the form"),
        ("float** v", r"parameter 'float\*\* v' is not of the form"),
        ("void (*f)(int)", r"parameter 'void \(\*f\)\(int\)' is not of the form"),
        ("cudaTextureObject_t t", "'cudaTextureObject_t t' belongs to textures"),
    ],
)
def test_a_parameter_that_cannot_be_passed_is_named_with_its_line(parse, parameter, message):
    with pytest.raises(MinialexError, match=rf"some\.cu:2: k: .*{message}"):
        parse(f"\n__global__ void k({parameter}) {{}}")


@pytest.mark.parametrize("parameter", ["int", "typename... Ts"])
def test_a_template_parameter_of_another_form_is_named(parse, parameter):
    with pytest.raises(MinialexError, match=r"some\.cu:2: k: template parameter .*'int NAME'"):
        parse(f"template <{parameter}>\n__global__ void k(int n) {{}}")


def test_instances_of_no_parameter_are_refused(parse):
    with pytest.raises(MinialexError, match="names no parameter"):
        parse("// instances: TILES = 3\ntemplate <int TILE>\n__global__ void k(int n) {}")


def test_a_number_without_instances_cannot_be_enumerated(parse):
    (k,) = parse("template <int TILE>\n__global__ void k(int n) {}").values()
    with pytest.raises(MinialexError, match="does not say which values TILE takes"):
        k.declared_bindings()


def test_every_kernel_of_the_test_files_is_found():
    for file in KERNELS.glob("*.cu"):
        text = without_comments(file.read_text())
        assert len(signatures(source.read(file))) == text.count("__global__ void")


def test_relu_is_read_as_it_is_written():
    found = signatures(source.read("relu.cu"))
    assert list(found) == ["relu_forward", "relu_backward"]
    assert [p.name for p in found["relu_backward"].parameters] == ["gy", "y", "gx", "n"]
    assert [p.const for p in found["relu_backward"].parameters] == [True, True, False, True]


def test_split_leaves_brackets_whole():
    assert split("a<b, c>, d(e, f), , g[h, i]") == ["a<b, c>", "d(e, f)", "g[h, i]"]
    assert split("a,b{c,d},e") == ["a", "b{c,d}", "e"]


def test_without_comments_keeps_lines_and_strings():
    text = 'a /* b\nc */ d // e\n"// no /* comment"\n'
    assert without_comments(text) == 'a     \n     d     \n"// no /* comment"\n'
