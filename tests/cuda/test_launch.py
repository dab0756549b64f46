"""A kernel as it is called: grid and block, where it runs, and what CuPy is handed."""

from __future__ import annotations

import contextlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minialex import cuda
from minialex.arrays import CPU, Device
from minialex.cuda import emulator, source
from minialex.errors import MinialexError
from tests.cuda.test_arguments import Cupy
from tests.cuda.tools import KERNELS, kernel
from tests.device_double import forget_gpus

F32 = np.float32
forward = cuda.kernel("relu.cu", "relu_forward")


def test_blocks_cover():
    assert [cuda.blocks(n, 32) for n in (0, 1, 32, 33)] == [0, 1, 1, 2]
    assert cuda.blocks(257) == 2


def test_numpy_arrays_without_the_emulator_say_how():
    x = np.zeros(4, F32)
    with pytest.raises(
        MinialexError, match=r"relu_forward .*with minialex\.emulated\(\):.*--emulate"
    ):
        forward(1, 32, x, np.zeros_like(x), 4)


def test_a_kernel_says_what_it_is():
    assert repr(forward) == "<kernel relu_forward of relu.cu>"


def test_where_kernels_run_and_what_that_can_do():
    assert cuda.capability(CPU) == 0
    assert "(--device cuda:0) or, on the CPU's arrays, under the emulator" in (cuda.why_not(CPU))
    assert cuda.why_not(Device("cuda")) == ""
    with cuda.emulated(architecture="sm_86"):
        assert cuda.capability(CPU) == 86
        assert cuda.why_not(CPU) == ""


def test_an_unknown_kernel_lists_what_there_is():
    with pytest.raises(
        MinialexError, match=r"relu\.cu has no kernel 'relu': it has relu_forward, "
    ):
        cuda.kernel("relu.cu", "relu")(1, 1)


@pytest.mark.parametrize(
    ("grid", "block", "kind", "message"),
    [
        (1, 0, ValueError, r"relu_forward: block\.x must be 1 to 1024, got 0"),
        (1, 1025, ValueError, r"block\.x must be 1 to 1024, got 1025"),
        (1, (1, 1, 65), ValueError, r"block\.z must be 1 to 64, got 65"),
        (1, (32, 33), ValueError, "block has 1056 threads, at most 1024 on any GPU"),
        (-1, 32, ValueError, r"grid\.x must be 0 to 2147483647, got -1"),
        ((1, 65536), 32, ValueError, r"grid\.y must be 0 to 65535, got 65536"),
        ((1, 1, 1, 1), 32, TypeError, "grid must be one to three ints"),
        ((), 32, TypeError, "grid must be one to three ints"),
        (1.5, 32, TypeError, "grid must be one to three ints"),
        (1, (32, "x"), TypeError, "block must be one to three ints"),
        (1, True, TypeError, "block must be one to three ints"),
    ],
)
def test_wrong_grids_and_blocks(grid, block, kind, message):
    x = np.zeros(4, F32)
    with cuda.emulated(), pytest.raises(kind, match=message):
        forward(grid, block, x, np.zeros_like(x), 4)


def test_launch_bounds_are_kept():
    x = np.zeros((8, 8), F32)
    with (
        cuda.emulated(),
        pytest.raises(ValueError, match="block has 72 threads, at most 64 by __launch"),
    ):
        kernel("features.cu", "transpose")(1, (8, 9), x, x.copy(), 8, 8)


def test_the_largest_that_any_gpu_launches(monkeypatch):
    launched = []
    monkeypatch.setattr(emulator, "launch", lambda plan, values: launched.append(plan))
    x, y = np.zeros(4, F32), np.zeros(4, F32)
    forward((2**31 - 1, 65535, 65535), (1, 1024), x, y, 4, shared=227 * 1024)
    forward(1, (1, 16, 64), x, y, 4)
    assert [plan.block for plan in launched] == [(1, 1024, 1), (1, 16, 64)]
    assert (launched[0].grid, launched[0].shared) == ((2**31 - 1, 65535, 65535), 232448)
    for grid, words in (
        ((1, 1, 65536), r"grid\.z must be 0 to 65535"),
        (2**31, r"grid\.x must be"),
    ):
        with pytest.raises(ValueError, match=words):
            forward(grid, 1, x, y, 4)
    with pytest.raises(ValueError, match=r"block\.y must be 1 to 1024, got 1025"):
        forward(1, (1, 1025), x, y, 4)
    with pytest.raises(ValueError, match="shared must be 0 to 232448 bytes"):
        forward(1, 1, x, y, 4, shared=232449)


@pytest.mark.parametrize("shared", [-1, 1.5, 2**20])
def test_shared_memory_is_a_number_of_bytes(shared):
    x = np.zeros(4, F32)
    with pytest.raises(ValueError, match=r"relu_forward: shared must be 0 to 232448 bytes.*got"):
        forward(1, 32, x, x.copy(), 4, shared=shared)


def test_an_empty_grid_runs_nothing_but_is_still_checked():
    x = np.zeros((0, 3), F32)
    forward(cuda.blocks(x.size), 256, x, x.copy(), x.size)
    with pytest.raises(TypeError, match="argument n"):
        forward(0, 256, x, x.copy(), 1.5)


# ---- on CuPy arrays ------------------------------------------------------------------------------


class Raw:
    """What CuPy makes of a compiled kernel: here, a list of its launches."""

    STATIC = 128
    """Bytes of shared memory that it declares; with the dynamic ones 48 KiB need no asking."""

    def __init__(self, name):
        self.name, self.launches, self.asked = name, [], []

    @property
    def max_dynamic_shared_size_bytes(self):
        return max([48 * 1024 - self.STATIC, *self.asked])

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size):
        self.asked.append(size)

    def __call__(self, grid, block, args, *, shared_mem):
        assert shared_mem <= self.max_dynamic_shared_size_bytes, "CUDA_ERROR_INVALID_VALUE"
        self.launches.append((grid, block, args, shared_mem))


@pytest.fixture
def cupy(monkeypatch):
    """CuPy's face, with every module that it was asked to compile."""

    compiled = []

    class Fake(Cupy):
        modules, log = compiled, ""

        class RawModule:
            def __init__(self, *, code, options, name_expressions):
                self.code, self.options, self.names = code, options, name_expressions
                self.functions = {name: Raw(name) for name in name_expressions}
                compiled.append(self)

            def get_function(self, name):
                if Fake.log:
                    raise Fake.cuda.compiler.CompileException(Fake.log)
                return self.functions[name]

            def get_global(self, name):
                raise Fake.cuda.driver.CUDADriverError

        class cuda:  # noqa: N801
            class Device(contextlib.nullcontext):
                compute_capability = "75"

            runtime = SimpleNamespace(getDevice=lambda: 0)
            compiler = SimpleNamespace(CompileException=type("Refused", (Exception,), {}))
            driver = SimpleNamespace(CUDADriverError=type("NotFound", (Exception,), {}))

    monkeypatch.setitem(sys.modules, "cupy", Fake)
    forget_gpus(monkeypatch)
    return Fake


def test_of_a_foreign_file_cupy_gets_what_the_kernel_needs(cupy, tmp_path):
    path = tmp_path / "program.cu"
    path.write_text(
        "#include <cuda_runtime.h>\n#include <vector>\n"
        "struct Pair { float a; int b; };\n"
        "__global__ void other(float* x) { x[0] = 1; }\n"
        "template <class T> __global__ void k(float* x, Pair p, T q) { x[0] = __CUDA_ARCH__; }\n"
        "int main() { std::vector<float> x; other<<<1, 1>>>(x.data()); }\n"
    )
    x, k = cupy.ndarray((5,)), cuda.kernel(path, "k")
    for _ in range(2):
        k(1, 32, x, (1.5, 2), (3.5, 4), T="Pair")
    (module,) = cupy.modules
    assert module.names == ["k<Pair>"]
    assert "x[0] = 750;" in module.code
    assert "main" not in module.code
    assert "other" not in module.code
    for _, _, args, _ in module.functions["k<Pair>"].launches:
        assert [type(struct) for struct in args[1:]] == [np.ndarray] * 2
        assert [struct.item() for struct in args[1:]] == [(1.5, 2), (3.5, 4)]


def test_cupy_arrays_are_compiled_once_and_launched_with_cast_scalars(cupy):
    x, y = cupy.ndarray((5, 5)), cupy.ndarray((5, 5))
    for _ in range(2):
        forward(1, 32, x, y, x.size)
    (module,) = cupy.modules
    assert module.code == source.read("relu.cu").text
    assert module.options == ("-std=c++17", "-lineinfo")
    assert module.names == ["relu_forward<float>", "relu_backward<float>"]
    first, second = module.functions["relu_forward<float>"].launches
    assert first == second
    grid, block, args, shared = first
    assert (grid, block, shared) == ((1, 1, 1), (32, 1, 1), 0)
    assert args[:2] == (x, y)
    assert isinstance(args[2], np.int32)


def test_each_type_is_compiled_on_its_own_and_its_neighbours_with_it(cupy):
    for dtype in (np.float64, np.float32):
        x = cupy.ndarray(4, dtype)
        forward(1, 32, x, cupy.ndarray(4, dtype), 4)
        cuda.kernel("relu.cu", "relu_backward")(1, 32, x, x, cupy.ndarray(4, dtype), 4)
    assert [m.names[0] for m in cupy.modules] == ["relu_forward<double>", "relu_forward<float>"]


def test_an_edited_source_is_compiled_again(cupy):
    x = cupy.ndarray(4)
    forward(1, 32, x, cupy.ndarray(4), 4)
    with cuda.edited("relu.cu", "0 : pack[k]", "1 : pack[k]"):
        forward(1, 32, x, cupy.ndarray(4), 4)
    forward(1, 32, x, cupy.ndarray(4), 4)
    assert len(cupy.modules) == 2


def test_a_null_pointer_and_much_shared_memory(cupy):
    k = kernel("features.cu", "strided", optional=("bias",))
    x, y = cupy.ndarray(4), cupy.ndarray(4)

    def launch(shared):
        k(1, 32, x, None, y, 4, 1.0, STEP=1, DOUBLED=False, shared=shared)

    launch(48 * 1024 - Raw.STATIC)
    raw = cupy.modules[0].functions["strided<float, 1, false>"]
    assert raw.asked == []
    # with what the kernel declares these are more than 48 KiB
    for size in 48 * 1024, 1000, 100_000, 48 * 1024, 100_000:
        launch(size)
    assert raw.asked == [48 * 1024, 100_000]
    _, _, args, shared = raw.launches[-1]
    assert shared == 100_000
    assert args[1] == 0
    assert args[1].dtype == np.uint64


LOG = """relu.cu(31): error: identifier "nothing" is undefined
      y[i] = nothing;
             ^

relu.cu(40): warning #177-D: variable "k" was declared but never referenced

1 error detected in the compilation of "a1b2.cu".
"""


def test_a_kernel_that_does_not_compile_is_named_with_file_gpu_and_the_compilers_errors(cupy):
    cupy.log, x = LOG, cupy.ndarray(4)
    with pytest.raises(MinialexError) as caught:
        forward(1, 32, x, cupy.ndarray(4), 4)
    assert str(caught.value).splitlines() == [
        "relu_forward<float> of relu.cu does not compile for cuda:0 (sm_75):",
        '  relu.cu(31): error: identifier "nothing" is undefined',
    ]
    cupy.log = ""
    forward(1, 32, x, cupy.ndarray(4), 4)
    assert cupy.modules[-1].functions["relu_forward<float>"].launches


def test_what_a_compiler_says_without_an_error_is_shown_from_its_beginning(cupy):
    cupy.log, x = "out of memory\nwhile optimising\n", cupy.ndarray(4)
    with pytest.raises(MinialexError, match=r"\(sm_75\):\n  out of memory\n  while optimising$"):
        forward(1, 32, x, cupy.ndarray(4), 4)


def test_an_older_gpu_than_the_file_needs(cupy):
    x = cupy.ndarray(4, np.float16)
    with pytest.raises(
        MinialexError, match=r"halves\.cu needs a GPU of sm_80 or later, cuda:0 is sm_75"
    ):
        cuda.kernel(KERNELS / "halves.cu", "half_arithmetic")(
            1, 32, x, cupy.ndarray(4, np.float16), cupy.ndarray(8), 4
        )


def test_numpy_arrays_never_import_cupy(monkeypatch):
    # None makes every import of it fail.
    monkeypatch.setitem(sys.modules, "cupy", None)
    x, y = np.array([-1, 2], F32), np.zeros(2, F32)
    with cuda.emulated():
        forward(1, 32, x, y, 2)
    assert y.tolist() == [0, 2]
