"""Variables at file scope hold what Python set them to and what kernels left, in every mode."""

from __future__ import annotations

import types

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import device_variables as values
from minialex.cuda import nvrtc, source
from minialex.cuda.compiler_text import for_nvrtc
from minialex.cuda.emulator import interface
from minialex.cuda.emulator.variables import list_variables
from minialex.cuda.module_variables import ModuleVariables, expressions, with_extents
from minialex.cuda.variable_declarations import device_variables
from minialex.errors import MinialexError
from minialex.study.profile import profiled
from tests.capture_double import Gpu
from tests.cuda.tools import KERNELS, compiles, kernel, line_of
from tests.device_double import ndarray

F32, I32 = np.float32, np.int32
FILE = "variables.cu"
PATH = KERNELS / FILE
"""Each of its kernels is compiled by itself, with the variables that it needs."""
MODES = ["fast", "checked", "traced", "counted"]
every_mode = pytest.mark.parametrize("mode", MODES)
TAPS = np.array([1, -2, 3, 0.5, 4], F32)


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """Return the file's variables, of which none is set."""
    monkeypatch.setattr(values, "_kept", {})
    return cuda.variables(PATH)


def launch(name, grid, block, *args, mode="checked", **settings):
    with cuda.emulated(mode, max_blocks=None, write=lambda line: None, **settings) as emulation:
        kernel(FILE, name)(grid, block, *args)
    return emulation


def filtered(mode="checked"):
    x, y = np.arange(20, dtype=F32), np.zeros(16, F32)
    launch("filter", 2, 8, x, y, 16, mode=mode)
    return y


def more(mode="fast"):
    out = np.zeros(10, I32)
    launch("count_more", 1, 32, out, mode=mode)
    return out.tolist()


def caught(*args, **settings):
    with pytest.raises(cuda.EmulationError) as info:
        launch(*args, **settings)
    return info.value


# ---- values --------------------------------------------------------------------------------------


@every_mode
def test_a_constant_is_what_it_was_set_to(variables, mode):
    for taps in (TAPS, TAPS[::-1]):
        variables["taps"] = taps
        expected = np.convolve(np.arange(20, dtype=F32), taps[::-1], "valid")
        np.testing.assert_allclose(filtered(mode), expected, rtol=1e-6)
        assert variables["taps"].tolist() == taps.tolist()


@every_mode
def test_what_is_not_set_is_what_the_text_says(variables, mode):
    y = np.zeros(3, F32)
    variables["gain"], variables["bias"] = 2, 0
    launch("tables", 1, 3, y, 1, mode=mode)
    assert y.tolist() == [8.5, 10.5, 12.5]
    assert variables["table"].tolist() == [[1, 2, 3], [4, 5, 6]]
    variables["table"] = np.array([[0, 0, 0], [7, 8, 9]], I32)
    variables["offset"] = np.array(-1, F32)
    launch("tables", 1, 3, y, 1, mode=mode)
    assert y.tolist() == [13, 15, 17]


@every_mode
def test_vectors_and_structs(variables, mode):
    colours = np.arange(12, dtype=F32).reshape(3, 4)
    variables["colours"] = colours
    y = np.zeros((3, 4), F32)
    launch("pixels", 1, 3, y, mode=mode)
    assert y.tolist() == variables["colours"].tolist() == colours.tolist()
    options = np.array(
        [(10, 2, -1), (5, 1, 2), (0, 0, 0), (1, 1, 1)],
        [("strike", F32), ("years", F32), ("calls", I32)],
    )
    for given in (options, options.tobytes()):
        variables["options"], variables["scale"] = given, 100
        y = np.zeros(4, F32)
        launch("payoffs", 1, 4, y, mode=mode)
        assert y.tolist() == [20 - 100 + 3, 5 + 200 + 1, 4, 1 + 100 + 3]
        assert variables["options"].tolist() == options.tolist()


@every_mode
def test_structs_that_are_named_with_the_word_or_not_at_all(variables, mode):
    x = np.array([-2, -1, 0, 1, 2], F32)
    variables["range"] = (-0.5, 1.0)
    launch("limit_range", 1, 5, x, mode=mode)
    assert x.tolist() == [-0.5, -0.5, 0, 1, 1]
    assert variables["range"]["high"] == 1
    variables["range"] = np.array([-0.25, 0])
    assert variables["range"].tolist() == (-0.25, 0)
    assert variables["outside"].view(I32).tolist() == [0, 0, 2, 1]
    variables["outside"] = np.array([[5, 5]], I32)
    assert variables["outside"].tolist() == [[5, 5], [2, 1]]


@every_mode
def test_kernels_of_a_file_count_in_the_same_variables(variables, mode):
    x = np.repeat(np.arange(4), [3, 0, 5, 2]).astype(I32)
    launch("count_visits", 2, 8, x, len(x), mode=mode)
    assert variables["visits"] == 10
    assert variables["histogram"].tolist() == [3, 0, 5, 2] + [0] * 12
    assert more(mode) == [110, 0, 10, 11, 0, 7, 5, 4, 1, 0]
    assert more(mode) == [210, 0, 10, 12, 1, 8, 2, 5, 1, 1]
    assert variables["visits"] == 210
    assert variables["right::count"] == -2
    assert variables["halves"].tolist() == [0, 0.5]
    variables["visits"] = 0
    assert more(mode)[0] == 100


def test_values_go_from_mode_to_mode(variables):
    for before, mode in enumerate([*MODES, *MODES]):
        assert more(mode)[4] == before
    assert variables["plain"] == 8
    assert variables["visits"] == 800


@pytest.mark.parametrize("mode", [*MODES, "in turn"])
def test_a_file_that_is_compiled_whole(mode):
    counters, out = cuda.variables(KERNELS / "counters.cu"), np.zeros(1, I32)
    counters["step"] = 3
    modes = MODES if mode == "in turn" else [mode]
    total = 5
    for i in range(4):
        with cuda.emulated(modes[i % len(modes)], max_blocks=None, write=lambda line: None):
            kernel("counters.cu", "add")(1, 32, out)
            assert out[0] == total
            # an instantiation of its own, compiled by itself
            kernel("counters.cu", "add_more")(1, 32, out, N=1 + i % 2)
            assert out[0] == total + 3
            total += 3 + 3 * (1 + i % 2)
            assert counters["total"] == total
    assert counters["unused"] == 0


def test_pointers_stay_where_they_point_to_something(variables):
    for mode in [*MODES, *MODES]:
        out = np.zeros(1, I32)
        launch("spelled", 1, 1, out, mode=mode)
        assert out[0] == ord("o")
    assert variables["grid4"].shape == (2, 3, 1, 2)
    assert variables["grid4"][1, 2, 0, 1] == variables["grid4"].sum() == 8


def test_a_part_may_be_set(variables):
    variables["taps"] = np.array([1, 1], F32)
    np.testing.assert_array_equal(filtered(), np.arange(16) * 2 + 1)
    variables["taps"] = TAPS
    variables["taps"] = np.array([9], F32)
    assert variables["taps"].tolist() == [9, *TAPS[1:]]
    variables["histogram"] = np.array([5, 6], I32)
    launch("count_visits", 1, 8, np.array([1, 2], I32), 2)
    assert variables["histogram"].tolist() == [5, 7, 1] + [0] * 13


def test_an_edited_text_begins_with_what_was_set(variables):
    variables["managed"] = 20
    assert more()[5:8] == [20, 3, 4]
    with cuda.edited(PATH, "elsewhere = 4", "elsewhere = 40"):
        assert more()[:8] == [100, 2**31 - 1, 0, 11, 0, 20, 3, 40]
    assert more()[5:8] == [20, 3, 4]


def test_a_value_is_read_and_not_written_through(variables):
    variables["taps"] = TAPS
    filtered()
    more()
    for name in ("taps", "fixed"):
        with pytest.raises(ValueError, match="read-only"):
            variables[name][0] = 0


# ---- names ---------------------------------------------------------------------------------------


def test_names(variables):
    assert list(variables)[:5] == ["taps", "table", "gain", "offset", "bias"]
    assert {"left::count", "right::count", "limit", "hidden", "plain"} < set(variables)
    assert "NOT_A_VARIABLE" not in variables
    assert "left::inner::limit" in variables
    assert "count" not in variables
    assert len(variables) == len(list(variables)) == 28
    assert "__constant__ gain, __constant__ offset" in repr(variables)
    assert cuda.variables(str(PATH)) is variables
    variables["limit"] = 5
    out = np.zeros(1, I32)
    launch("limited", 1, 1, out)
    assert out[0] == variables["left::inner::limit"] == 5


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tap", "no variable 'tap' of the device, but: __constant__ taps, __constant__ table, "),
        ("count", "has left::count, right::count: name one with its namespace"),
        ("of_any_type", "no variable 'of_any_type'"),
    ],
)
def test_unknown_names(variables, name, said):
    for act in (lambda: variables[name], lambda: variables.__setitem__(name, 1)):
        with pytest.raises(MinialexError) as info:
            act()
        assert said in str(info.value)
        assert "\n" not in str(info.value)


def test_a_file_without_variables():
    assert repr(cuda.variables("relu.cu")) == "<variables of relu.cu: none>"
    with pytest.raises(
        MinialexError, match=r"relu\.cu has no variable 'k' of the device, but: none"
    ):
        cuda.variables("relu.cu")["k"]


@pytest.mark.parametrize(
    ("name", "value", "error", "said"),
    [
        ("taps", np.zeros(5), TypeError, r"taps .* is of float \(float32\), got float64: convert"),
        ("taps", 1.0, TypeError, "taps .* is an array, got 1.0: pass one"),
        ("options", 3, TypeError, "options .* is an array, got 3: pass one"),
        (
            "options",
            np.zeros(4, F32),
            TypeError,
            r"is of Option .*'calls', .* got float32: convert",
        ),
        ("gain", np.zeros(1), TypeError, r"is of real \(float32\), got float64: convert it"),
        ("gain", True, TypeError, "pass a float"),
        ("range", (1, 2, 3), TypeError, "a struct of low, high, got"),
        ("taps", [1, 2, 3], TypeError, "takes an array, a number or bytes, got list"),
        ("colours", np.zeros(12, F32), ValueError, "float4: its last axis must have 4 elements"),
        ("taps", np.zeros(0, F32), ValueError, r"set to nothing, shape \(0,\): pass elements"),
        ("visits", -1, ValueError, "holds 0 to 18446744073709551615"),
        ("lowest", 1.5, TypeError, "pass an int"),
        ("fixed", np.zeros(3, I32), MinialexError, "fixed .* is const: edit its value in the text"),
    ],
)
def test_values_that_the_text_rules_out(variables, name, value, error, said):
    with pytest.raises(error, match=said):
        variables[name] = value


@pytest.mark.parametrize(
    ("name", "value", "error", "said"),
    [
        ("taps", np.zeros(6, F32), ValueError, r"has shape \(5,\), 20 bytes, got 24 bytes of"),
        ("table", np.zeros((3, 2), I32), ValueError, r"has shape \(2, 3\), got \(3, 2\)"),
        ("bias", np.zeros(1), TypeError, "has elements of float32, got float64"),
        ("bias", True, TypeError, "pass a float"),
        ("options", bytes(49), ValueError, "48 bytes, got 49 bytes"),
    ],
)
def test_values_that_only_the_compiler_rules_out(variables, name, value, error, said):
    def run():
        filtered()
        launch("tables", 1, 3, np.zeros(3, F32), 0)
        launch("payoffs", 1, 4, np.zeros(4, F32))

    for one in ("taps", "gain", "bias", "options", "scale"):
        variables[one] = b"\0"
    variables[name] = value
    # at the launch, and at once when there has been one
    with pytest.raises(error, match=said):
        run()
    variables[name] = b"\0"
    run()
    with pytest.raises(error, match=said):
        variables[name] = value


def test_reading_before_anything_was_set_or_run(variables):
    with pytest.raises(MinialexError, match=r"visits .* has no value yet: set it, or run a kernel"):
        variables["visits"]
    variables["visits"] = 3
    assert variables["visits"] == 3
    assert variables["visits"].dtype == np.uint64


# ---- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["checked", "traced", "counted"])
def test_a_constant_that_was_never_filled(variables, mode):
    with pytest.raises(cuda.EmulationError) as info:
        filtered(mode)
    error = info.value
    assert (error.kind, error.array, error.index) == ("uninitialised", "taps", 0)
    assert f"set it with cuda.variables({str(PATH)!r})['taps'] = ..." in str(error)
    assert error.line in (0, line_of(FILE, "USE taps"))
    variables["taps"] = TAPS
    filtered(mode)


def test_a_race_is_reported_by_the_variables_name():
    error = caught("racing", 1, 64, np.zeros(1, I32))
    assert (error.kind, error.array, error.index) == ("race", "right::count", 0)
    assert error.line == line_of(FILE, "FAULT race")
    assert "race on right::count in global memory" in str(error)


@pytest.mark.parametrize("mode", ["checked", "counted"])
def test_past_the_end_is_no_other_variable(variables, mode):
    launch("past_the_end", 1, 1, np.zeros(1, I32), 16, mode=mode)
    error = caught("past_the_end", 1, 1, np.zeros(1, I32), 17, mode=mode)
    assert (error.kind, error.array, error.index) == ("out-of-bounds", "histogram", 16)
    assert error.line == line_of(FILE, "FAULT past")
    assert "histogram[16] is past its end; histogram has 16 elements, shape (16)" in str(error)


@pytest.mark.parametrize("mode", ["checked", "counted"])
def test_a_kernel_writes_no_constant(mode):
    error = caught("writes_a_constant", 1, 1, np.zeros(1, I32), mode=mode)
    assert (error.kind, error.array, error.index) == ("constant", "taps", 0)
    assert "writes taps[0], a __constant__, which no kernel may" in str(error)


# ---- what is written down ------------------------------------------------------------------------


def test_a_trace_names_variables():
    out = np.zeros(10, I32)
    (recording,) = launch("count_more", 1, 32, out, mode="traced").recordings
    named = [array.name for array in recording.arrays]
    assert named[0] == "out"
    events = recording.events
    writes = events[events["kind"] == interface.WRITE]
    touched = {named[i] for i in writes["array"]}
    assert {"out", "visits", "right::count", "managed", "flag", "hidden"} <= touched
    (visits,) = writes[writes["array"] == named.index("visits")]
    assert visits["line"] == line_of(FILE, "USE visits")
    assert int.from_bytes(bytes(visits["result"])[:8], "little") == 100


def test_a_variable_can_be_watched(variables):
    x = np.array([3, 1, 3], I32)
    settings = {"mode": "traced", "watch": ("histogram", 3)}
    (recording,) = launch("count_visits", 3, 1, x, 3, **settings).recordings
    assert recording.events["block"][:, 0].tolist() == [0, 2]
    assert set(recording.events["kind"]) == {interface.ATOMIC}
    with pytest.raises(MinialexError, match=r"histogram has shape \(16,\)"):
        launch("count_visits", 3, 1, x, 3, mode="traced", watch=("histogram", 16))


def test_whole_blocks_are_recorded_with_constants(variables):
    variables["taps"] = TAPS
    x, y = np.arange(36, dtype=F32), np.zeros(32, F32)
    (recording,) = launch("filter", 1, 32, x, y, 32, mode="traced", every_thread=True).recordings
    named = [array.name for array in recording.arrays]
    for name, cost in (("taps", {0}), ("x", {4, 5})):
        events = recording.events[recording.events["array"] == named.index(name)]
        assert len(events) == 5 * 32
        assert len(set(events["request"])) == 5
        assert set(events["cost"]) <= cost


def test_accesses_to_variables_are_counted_and_those_to_constants_are_not(variables):
    (counts,) = launch("count_visits", 1, 64, np.zeros(64, I32), 64, mode="counted").counts
    found = {(row.array, row.access): row for row in counts.memory}
    assert found["histogram", "atomic"].requests == 2
    assert found["histogram", "atomic"].memory == "global"
    variables["taps"] = TAPS
    x, y = np.zeros(36, F32), np.zeros(32, F32)
    (counts,) = launch("filter", 1, 32, x, y, 32, mode="counted").counts
    assert {row.array for row in counts.memory} == {"x", "y"}


# ---- texts ---------------------------------------------------------------------------------------


def declared(text):
    return [(v.name, v.ctype, v.axes, v.kind) for v in device_variables(text)]


def test_which_variables_a_text_declares():
    assert declared("__device__ int f(int x) { int y; return x; } int host; const int c = 3;") == []
    assert declared("static __constant__ unsigned int a[N * (2 + 1)][4], b;") == [
        ("a", "unsigned int", 2, "__constant__"),
        ("b", "unsigned int", 0, "__constant__"),
    ]
    assert declared("namespace a { namespace { __device__ float *p = f<1, 2>(), *q; } }") == [
        ("a::p", "float *", 0, "__device__"),
        ("a::q", "float * *", 0, "__device__"),
    ]
    assert declared("alignas(16) __managed__ Pair<int, 3> pairs[] = {{1, 2}, {3, 4}};") == [
        ("pairs", "Pair < int , 3 >", 1, "__managed__")
    ]
    assert declared("extern __constant__ float a[3]; constexpr __device__ int b = 1;") == []


@pytest.mark.parametrize(
    ("declaration", "fixed"),
    [
        ("__constant__ const float k = 1;", True),
        ("__device__ const float* p;", False),
        ("__device__ float* const p = 0;", True),
        ("__device__ volatile int v;", False),
    ],
)
def test_what_is_const_is_fixed(declaration, fixed):
    (one,) = device_variables(declaration)
    assert one.is_fixed == fixed


def test_lines_stay_where_they_were():
    text = (
        "__device__ int\n  k[\n2] = {1,\n#if A\n2\n#else\n3\n#endif\n};\n__device__ int x;\nint y;"
    )
    made = list_variables(text)
    assert made.count("\n") == text.count("\n")
    assert made.splitlines()[9].startswith("emu::Apart<int > emu_apart_x;")
    assert made.endswith("\nint y;")
    assert list_variables("__global__ void k() {}") == "__global__ void k() {}"


# ---- on a GPU ------------------------------------------------------------------------------------


class CUDADriverError(Exception):
    pass


class DeviceArray(ndarray):
    """An array as CuPy makes it of memory that is there."""

    def __init__(self, shape, dtype, memory):
        super().__init__(memory[: np.dtype(dtype).itemsize * shape[0]].view(dtype))

    def set(self, array):
        self.hidden[:] = array


class FakeModule:
    """A module of CuPy's, whose memory is the host's: an array of bytes for each symbol."""

    def __init__(self, memory, mapping):
        self._memory, self.asked = memory, []
        self.module = types.SimpleNamespace(mapping=mapping)

    def get_global(self, name):
        self.asked.append(name)
        if name not in self._memory:
            raise CUDADriverError
        return self._memory[name]


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in for CuPy, which makes arrays of modules' memory."""
    double = Gpu.installed(monkeypatch).cupy
    double.ndarray = DeviceArray
    double.cuda.driver = types.SimpleNamespace(CUDADriverError=CUDADriverError)
    return double


class SymbolTable:
    """What of a cubin's symbols can be told without its device: which there are."""

    def __init__(self, cubin):
        self._cubin = cubin

    def __contains__(self, name):
        return b"\0" + name.encode() + b"\0" in self._cubin

    def __getitem__(self, name):
        return np.full(24, 1, np.uint64).view(np.uint8)


def extents(*sizes):
    return np.array(sizes, np.uint64).view(np.uint8)


@compiles
def test_nvrtc_knows_every_symbol_that_is_asked_of_it(cupy, monkeypatch, variables):
    text, kernels = source.read(PATH), ["count_more", "payoffs", "limited"]
    code = for_nvrtc(text, kernels, 80)
    monkeypatch.setattr(nvrtc, "for_nvrtc", lambda *_: with_extents(code))
    names = expressions(code)
    assert [name[:18] for name in names] == ["&hidden", "&minialex_extents_"]
    symbols, _, cubin = nvrtc._library(None).compile(text, "sm_80", [*kernels, *names])
    found = ModuleVariables(FakeModule(SymbolTable(cubin), symbols), code)
    more()
    launch("limited", 1, 1, np.zeros(1, I32), mode="fast")
    of_payoffs = {"options", "scale", "small"}
    assert set(found.layouts) == set(variables._left) | {"left::inner::limit"} | of_payoffs


TEXT = """
namespace n { __constant__ float4 k[2][3]; }
#if 0
__device__ int gone;
#endif
namespace { __device__ Pair s[2]; }
__device__ unsigned long long count = 5;
"""


HIDDEN = {
    "&s": "_ZN9_INTERNAL1sE",
    "&minialex_extents_2": "_ZN9_INTERNAL19minialex_extents_2E",
}


def gpu_module():
    memory = {
        "_ZN1n1kE": np.zeros(96, np.uint8),
        "minialex_extents_0": extents(96, 48, 16),
        "_ZN9_INTERNAL1sE": np.arange(24, dtype=np.uint8),
        "_ZN9_INTERNAL19minialex_extents_2E": extents(24, 12),
        "count": np.array([5], np.uint64).view(np.uint8),
        "minialex_extents_3": extents(8),
    }
    return memory, FakeModule(memory, HIDDEN)


def test_values_go_to_a_module_and_are_read_from_it(cupy, tmp_path):
    (tmp_path / "k.cu").write_text(TEXT)
    on_gpu = cuda.variables(tmp_path / "k.cu")
    memory, module = gpu_module()
    k = np.arange(24, dtype=F32).reshape(2, 3, 4)
    on_gpu["k"], on_gpu["s"] = k, b"\1\2"
    first = ModuleVariables(module, TEXT)
    assert list(first.layouts) == ["n::k", "s", "count"]
    on_gpu.enter(first)
    assert memory["_ZN1n1kE"].tobytes() == k.tobytes()
    assert memory["_ZN9_INTERNAL1sE"].tolist() == [1, 2, *range(2, 24)]
    # as kernels would
    memory["count"].view(np.uint64)[0] += 1
    assert on_gpu["count"] == 6
    assert on_gpu["s"].dtype.itemsize == 12
    np.testing.assert_array_equal(on_gpu["k"], k)
    other, module = gpu_module()
    on_gpu.enter(ModuleVariables(module, TEXT))
    assert other["count"].view(np.uint64)[0] == 6
    assert other["_ZN1n1kE"].tobytes() == k.tobytes()
    memory["count"][:] = 0
    on_gpu["count"] = 9
    assert other["count"].view(np.uint64)[0] == on_gpu["count"] == 9
    on_gpu.enter(first)
    assert memory["count"].view(np.uint64)[0] == 9


def test_a_launch_on_a_gpu_finds_the_values_in_its_module(cupy):
    counters, path = cuda.variables(KERNELS / "counters.cu"), KERNELS / "counters.cu"
    compiled = []

    class Module(FakeModule):
        """Has `add` of counters.cu, which it computes on the host."""

        def __init__(self, *, code, options, name_expressions):
            four = {name: np.zeros(4, np.uint8) for name in ("step", "total", "unused")}
            four["total"].view(I32)[0] = 5
            sizes = {f"minialex_extents_{i}": extents(4) for i in range(3)}
            super().__init__(four | sizes, {})
            self.step, self.total = four["step"].view(I32), four["total"].view(I32)
            compiled.append(code)

        def get_function(self, name):
            def add(grid, block, args, *, shared_mem):
                args[0].hidden[0] = self.total[0]
                self.total += self.step

            return add

    cupy.RawModule = Module
    counters["step"] = 3
    out = DeviceArray((1,), I32, np.zeros(4, np.uint8))
    for total in (5, 8):
        cuda.kernel(path, "add")(1, 32, out)
        assert out.hidden[0] == total
    assert counters["total"] == 11
    counters["total"] = 20
    (code,) = compiled
    assert 'int total = 5, unused; extern "C" __device__ const unsigned long long ' in code
    assert code.count("\n") == source.read(path).text.count("\n")
    # and on from there under the emulator, and back
    on_host = np.zeros(1, I32)
    with cuda.emulated("checked"):
        cuda.kernel(path, "add")(1, 32, on_host)
    assert on_host[0] == 20
    cuda.kernel(path, "add")(1, 32, out)
    assert out.hidden[0] == 23
    assert counters["total"] == 26


def test_the_least_time_of_a_launch_is_that_of_its_arguments():
    cuda.variables(KERNELS / "counters.cu")["step"] = 3
    with profiled("A100") as profile:
        kernel("counters.cu", "add")(1, 32, np.zeros(1, I32))
    (launch,) = profile.launches
    assert launch.least.bytes == 4
