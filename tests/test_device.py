"""Devices: names, moves, and that what starts on a device stays there."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minialex
from minialex import MinialexError, Tensor, arrays, models, ops, optim, using
from minialex.autograd import OPS
from minialex.check.cases import CASES
from minialex.check.suite import as_given
from minialex.data import DataLoader, Digits, Subset, eval_transform
from tests.device_double import make_cupy

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.fixture
def cupy(monkeypatch):
    double = make_cupy()
    monkeypatch.setitem(sys.modules, "cupy", double)
    # the double launches no kernels: what it shows is that array operations stay on a device
    with using("plain"):
        yield double


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


def test_names_of_devices():
    assert str(arrays.device("cpu")) == "cpu"
    assert arrays.device("cpu") == arrays.device_of(np.zeros(1))


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "", "CPU", "cuda:-1"])
def test_an_unknown_device_lists_the_names(name):
    with pytest.raises(MinialexError, match=r"unknown device .*: use cpu, cuda, cuda:N or auto"):
        arrays.device(name)


def test_without_cupy_auto_is_the_cpu_and_cuda_says_why_not(no_cupy):
    assert str(arrays.device("auto")) == "cpu"
    assert arrays.cuda_count() == 0
    with pytest.raises(MinialexError, match=r"CuPy is not installed: pip install .*--device cpu"):
        arrays.device("cuda")


def assert_not_usable(*words):
    """Check that `auto` is the CPU, with a warning in these words, and that `cuda` is refused."""
    for word in words:
        with pytest.warns(UserWarning, match=r"^running on the CPU, not on a GPU: ") as warned:
            assert arrays.device("auto") == arrays.CPU
        with pytest.raises(MinialexError, match=r"^no device 'cuda'.*, or use --device cpu$") as no:
            arrays.device("cuda")
        for said in str(warned[0].message), str(no.value):
            assert word in said
            assert "\n" not in said


def cupys_own_error():
    """Return what `import cupy` raises where a library of CUDA is missing."""
    error = ImportError("=" * 64 + "\nFailed to import CuPy.\n\nIf you installed CuPy via wheels")
    error.__cause__ = ImportError("libcublas.so.12: cannot open shared object file")
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(13, "Permission denied", "/home/own/.cupy"),
            ["make its cache folder (Permission denied: /home/own/.cupy): set CUPY_CACHE_DIR"],
        ),
        (cupys_own_error(), ["(ImportError: libcublas.so.12: cannot open", "minialex[cuda12]"]),
        (ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"), ["'fastrlock'"]),
        (OSError("libcuda.so.1: invalid ELF header"), ["invalid ELF header"]),
        (AttributeError("module 'numpy' has no attribute 'X'"), ["AttributeError: module 'numpy'"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_where_cupy_does_not_load_auto_is_the_cpu_and_says_why(monkeypatch, error, words):
    def refuse(name):
        raise error

    monkeypatch.setattr(arrays.importlib, "import_module", refuse)
    assert arrays.cuda_count() == 0
    assert_not_usable(*words)


def test_with_a_gpu_auto_takes_it(cupy):
    assert str(arrays.device("auto")) == "cuda:0"
    with pytest.raises(MinialexError, match=r"has 1 CUDA device, cuda:0, or use"):
        arrays.device("cuda:1")
    cupy.cuda.runtime.getDeviceCount = lambda: 2
    with pytest.raises(MinialexError, match=r"has 2 CUDA devices, cuda:0 to cuda:1, or use"):
        arrays.device("cuda:2")


def failing(text):
    def fail():
        raise RuntimeError(text)

    return fail


def test_a_gpu_without_a_compiler_says_what_to_install(cupy):
    cupy.cuda.nvrtc.getVersion = failing("Failure finding libnvrtc.so.12")
    assert_not_usable("cuda:0 is there, but NVRTC is not", "'minialex[cuda12]'")


def test_a_gpu_that_does_not_answer_is_named(cupy):
    cupy.cuda.runtime.memGetInfo = failing("cudaErrorDevicesUnavailable")
    assert_not_usable("cuda:0 is there, but does not answer (cudaErrorDevicesUnavailable)")


def test_only_where_there_is_a_driver_is_its_refusal_said(cupy, monkeypatch, tmp_path):
    cupy.cuda.runtime.getDeviceCount = failing("cudaErrorInsufficientDriver: too old")
    monkeypatch.setattr(arrays, "_DRIVER", str(tmp_path / "none"))
    assert arrays.device("auto") == arrays.CPU
    with pytest.raises(MinialexError, match=r"no GPU and driver .*too old.*: install the driver"):
        arrays.device("cuda")
    monkeypatch.setattr(arrays, "_DRIVER", str(tmp_path))
    assert_not_usable("cannot use this machine's driver (cudaErrorInsufficientDriver: too old)")


def test_there_and_back(cupy):
    x = np.arange(6.0).reshape(2, 3)
    there = arrays.to_device(x, arrays.device("cuda:0"))
    assert isinstance(there, cupy.ndarray)
    assert arrays.to_device(there, arrays.device("cuda:0")) is there
    np.testing.assert_array_equal(arrays.to_numpy(there), x)


def test_the_double_refuses_what_cupy_refuses(cupy):
    there = cupy.asarray(np.ones(3))
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(there)
    with pytest.raises(TypeError, match="Unsupported type"):
        there + np.ones(3)


def test_the_double_refuses_what_a_gpu_does_in_any_order(cupy):
    there, twice = cupy.asarray(np.zeros(3)), cupy.asarray(np.array([2, 0, 2]))
    with pytest.raises(ValueError, match="an order that is not fixed"):
        cupy.add.at(there, twice, cupy.asarray(np.ones(3)))
    with pytest.raises(ValueError, match="an order that is not fixed"):
        there[twice] = cupy.asarray(np.arange(3.0))


def test_uninitialised_memory_is_never_right_by_chance(cupy):
    for xp in np, cupy:
        for a in xp.empty(5), xp.empty((2, 3), np.float32), xp.empty_like(xp.zeros(4)):
            assert np.isnan(arrays.to_numpy(a)).all()
        assert xp.empty(3, np.uint8).shape == (3,)


def test_arrays_that_are_neither_are_refused():
    with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got list"):
        arrays.array_module([1])


def test_the_bytes_between_which_an_array_lies():
    whole, two = np.zeros((4, 6), np.float32), np.zeros(2, np.uint8)
    start = whole.ctypes.data
    assert arrays.extent_of(two) == (two.ctypes.data, two.ctypes.data + 2)
    for view, first, past in (
        (whole, 0, 96),
        (whole[1:3, 2:4], 32, 64),
        (whole[::-1, ::-1], 0, 96),
        # rows 3 and 1, columns 0, 2, 4
        (whole[3:0:-2, ::2], 24, 92),
        (np.broadcast_to(whole[2, :1], (5, 7)), 48, 52),
        (whole[:, :0], 0, 0),
        (whole[2:3, 3].reshape(()), 60, 64),
    ):
        assert arrays.extent_of(view) == (start + first, start + past)


def test_a_mix_of_devices_is_refused(cupy):
    a, b = Tensor(np.ones(2)), Tensor(cupy.asarray(np.ones(2)))
    with pytest.raises(ValueError, match=r"add: inputs on different devices \(cpu, cuda:0\)"):
        a + b


def test_what_is_on_a_device_is_compared_there_and_not_made_numpys_unasked(cupy):
    x = Tensor(cupy.asarray(np.array([1.0, 2.0], np.float32)))
    assert isinstance((x > 1.5).data, cupy.ndarray)
    assert (x > 1.5).numpy().tolist() == [False, True]
    assert 2.0 in x
    assert (x * cupy.asarray(np.array([1, 0]))).numpy().dtype == np.float32
    with pytest.raises(TypeError, match=r"is on cuda:0: use .numpy\(\)"):
        np.asarray(x)
    with pytest.raises(ValueError, match=r"equal: inputs on different devices \(cpu, cuda:0\)"):
        assert x == np.ones(2, np.float32)


def device_cases():
    # moving between devices is the one op that is about the CPU too
    return [
        pytest.param(name, one, case, id=f"{name}-{one}-{case.name}")
        for name in sorted(set(CASES) - {"to"})
        for one in OPS[name].implementations
        if one in ("plain", "blocked")
        for case in CASES[name]
    ]


@pytest.mark.parametrize(("name", "one", "case"), device_cases())
def test_every_op_stays_on_the_device_and_gives_the_same(name, one, case, cupy):
    inputs = case.draw(name)
    implementation = OPS[name].implementations[one]
    wanted = case.differentiable(inputs)
    extras = {"needs": tuple(i in wanted for i in range(len(inputs)))}
    extras |= {"out": (None,) * len(inputs)}
    extras = {key: value for key, value in extras.items() if key in implementation.takes}
    there = [None if a is None else cupy.asarray(a) for a in inputs]
    params = dict(case.params)
    if "index" in params:
        params["index"] = _there(params["index"], cupy)
    with as_given(*inputs):
        y, saved = implementation.forward(*inputs, **case.params)
        gy = np.random.default_rng(4).standard_normal(np.shape(y))
        want = implementation.backward(gy, saved, **case.params, **extras)
        y2, saved2 = implementation.forward(*there, **params)
        got = implementation.backward(cupy.asarray(gy), saved2, **params, **extras)
    np.testing.assert_allclose(y2.get(), y, rtol=1e-10, atol=1e-12)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert (g is None) == (w is None)
        if g is not None:
            np.testing.assert_allclose(g.get(), w, rtol=1e-10, atol=1e-12)


def _there(index, cupy):
    parts = index if isinstance(index, tuple) else (index,)
    moved = tuple(cupy.asarray(p) if isinstance(p, np.ndarray) else p for p in parts)
    return moved if isinstance(index, tuple) else moved[0]


@pytest.mark.parametrize("optimizer", [optim.RMSprop, optim.SGD, optim.Adam])
def test_training_steps_stay_on_the_device_and_give_the_same(optimizer, cupy):
    def losses(device):
        model = models.alexnet("alexnet-mini", 10, seed=1).to(device)
        steps = optimizer(model.parameters(), lr=1e-3, weight_decay=1e-4)
        loader = DataLoader(
            Subset(Digits(), np.arange(8)),
            4,
            eval_transform(64),
            device=arrays.device(device),
            workers=0,
        )
        out = []
        for batch in loader.epoch(0):
            steps.zero_grad()
            loss = ops.cross_entropy(model(Tensor(batch.images)), batch.targets)
            loss.backward()
            steps.step()
            assert {str(p.device) for p in model.parameters()} == {device}
            out.append(loss.item())
        return out

    assert losses("cuda:0") == pytest.approx(losses("cpu"), rel=1e-5)


def array_functions():
    """Return every name looked up on an array module in the package's source."""
    names = set()
    for path in Path(minialex.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                owner = node.value
                direct = isinstance(owner, ast.Name) and owner.id == "xp"
                call = isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name)
                if direct or (call and owner.func.id == "array_module"):
                    names.add(node.attr)
    return names


def test_cupy_has_every_function_that_is_asked_of_it():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    names = array_functions()
    assert {"maximum", "exp", "where"} <= names
    assert sorted(name for name in names if not hasattr(cupy, name)) == []


def test_importing_minialex_imports_neither_cupy_nor_what_only_some_need():
    late = "cupy", "matplotlib", "sklearn", "PIL", "rich", "click"
    code = f"import sys, minialex; print(*[m for m in {late} if m in sys.modules])"
    code += "\nwith minialex.using(prepare='plain'): pass"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_neither_an_import_nor_a_step_on_the_cpu_imports_what_launches_kernels_or_reads_files():
    late = {"difflib", "hashlib", "json", "pathlib", "subprocess", "tempfile", "zipfile"}
    code = (
        "import sys, numpy; before = set(sys.modules); import minialex\n"
        f"print(*sorted({late} & set(sys.modules) - before))\n"
        "x = minialex.Tensor(numpy.ones((1, 3, 64, 64), 'f'))\n"
        "minialex.ops.sum(minialex.models.alexnet('alexnet-mini', 2)(x)).backward()\n"
        "ours = ('minialex.cuda', 'minialex.weights', 'minialex.files')\n"
        "print(*sorted(name for name in sys.modules if name.startswith(ours)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == [
        "",
        "minialex.cuda minialex.cuda.kernels minialex.cuda.where",
    ]


@pytest.mark.parametrize("module", [minialex, minialex.cuda])
def test_what_is_imported_late_is_there_all_the_same(module):
    assert [name for name in module.__all__ if name not in dir(module)] == []
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_a_cupy_array_becomes_a_tensor_without_asking_the_driver(monkeypatch):
    cupy = make_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    asked = []
    monkeypatch.setattr(cupy.ndarray, "__dlpack_device__", lambda x: asked.append(x) or (2, 0))
    x = cupy.asarray([1.0, 2.0])
    assert Tensor(x).data is x
    assert not asked
