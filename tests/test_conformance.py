"""Every op x case x pair of implementations x type, with no code per op.

An op is tested because it exists: its name in `OPS` is enough. What it is tried on stands in
``minialex.check.cases``, what is right in ``minialex.reference``.
"""

import collections
import contextlib
import functools
import itertools
import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import arrays, reference
from minialex.autograd import OPS
from minialex.check import contract, kinds, suite
from minialex.check.case import shifted
from minialex.check.cases import CASES, deferred, elementwise, layers, windows
from minialex.check.kinds import Kind
from minialex.check.verdict import Verdict
from minialex.cuda import emulated

pytestmark = pytest.mark.usefixtures("poisoned_memory")

DTYPES = "float64", "float32"
WHERE = {"cpu": (), "emulated": (), "cuda": (pytest.mark.gpu,)}
"""Where arrays live, and how their tests are marked; emulated are kernels on the CPU's arrays."""

KERNELS = {
    name: {n for n, one in op.implementations.items() if one.why_not(arrays.CPU)}
    for name, op in OPS.items()
}
"""Which implementations of each op are kernels: where no emulator is on, they do not run."""

EVERY = [(name, case) for name in OPS for case in CASES.get(name, ())]


def most_telling(name):
    """Return the op's case with most inputs and rare parameters, then most sizes that differ."""
    smooth = [case for case in CASES.get(name, ()) if case.answer is None]
    often = collections.Counter(str(p) for case in smooth for p in case.params.items())

    def sharpness(case):
        shapes = [a.shape for a in case.draw(name) if a is not None]
        rare = [p for p in case.params.items() if 2 * often[str(p)] < len(smooth)]
        return len(shapes) + len(rare), len({n for shape in shapes for n in shape})

    return max(smooth, key=sharpness, default=None)


QUICK = {name: (*CASES.get(name, ())[:1], most_telling(name)) for name in OPS}
"""The plainest case of each op, which every implementation takes, and the most telling one."""


def marks(name, case, where="emulated"):
    return (*WHERE[where], *([pytest.mark.quick] if case in QUICK[name] else []))


GRID = [
    pytest.param(
        name, case, where, id=f"{name}-{case.name}-{where}", marks=marks(name, case, where)
    )
    for where in WHERE
    for name, case in EVERY
    if where != "emulated" or OPS[name].kernel != "plain"
]
SEVERAL = [
    param
    for param in GRID
    if param.values[2] != "cpu"
    and sum(not one.own_saved for one in OPS[param.values[0]].implementations.values()) > 1
]
KERNEL_CASE = [
    pytest.param(name, case, id=f"{name}-{case.name}", marks=marks(name, case))
    for name, case in EVERY
    if OPS[name].kernel != "plain"
]
ONE_OF = 3
"""Of the cases of emulated kernels, the suite asks so large a part what takes long."""


def is_drawn(param):
    """Return whether the suite has it; the others are in ``tests/campaigns/test_every_case.py``."""
    runs_in_emulator = param.values[2:] in ((), ("emulated",))
    is_quick = any(mark.name == "quick" for mark in param.marks)
    return not runs_in_emulator or is_quick or zlib.crc32(param.id.encode()) % ONE_OF == 0


def drawn(params):
    return [param for param in params if is_drawn(param)]


def others(params):
    return [param for param in params if not is_drawn(param)]


SHARED = [
    pytest.param(name, case, id=f"{name}-{case.name}")
    for name, case in EVERY
    if OPS[name].implementations.keys() - KERNELS[name] - {"plain"}
]
CASE = [pytest.param(name, case, id=f"{name}-{case.name}") for name, case in EVERY]


def pairs(name, dtype, where):
    """Yield the pairs of implementations to try there, kernels alone where they are emulated."""
    device = arrays.device("cpu" if where == "emulated" else where)
    for pair in suite.pairs(OPS[name], dtype, device):
        needs_kernels = {pair.forward, pair.backward} & KERNELS[name]
        if not pair.why_not() and (where != "emulated" or needs_kernels):
            yield pair


def running(where):
    return emulated() if where == "emulated" else contextlib.nullcontext()


@pytest.mark.quick
@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_has_cases_and_a_reference(name):
    assert CASES.get(name), f"op {name!r} has no cases in minialex/check/cases"
    assert callable(getattr(reference, name, None)), (
        f"op {name!r} has no minialex/reference/{name}.py"
    )


def test_every_case_belongs_to_an_op():
    assert set(CASES) <= set(OPS)


@pytest.mark.parametrize("name", sorted(CASES))
def test_names_of_cases_are_unique(name):
    names = [case.name for case in CASES[name]]
    assert len(set(names)) == len(names)


def ask(kind, name, case, dtype, where):
    """Hold each implementation that it concerns to what is asked in that kind of check."""
    asked = [p for p in alone(name, dtype, where) if case in kinds.cases_of(kind, p)]
    for pair in asked:
        assert_passes(kinds.CHECKS[kind](pair, case))
    assert asked


def alone(name, dtype, where):
    """Yield each implementation, paired with itself."""
    return (pair for pair in pairs(name, dtype, where) if pair.forward == pair.backward)


def mixed(name, case, where):
    """Yield the pairs of two implementations whose backward gets what it did not get alone.

    Given the bits that its own forward saves, it gives the gradient that was checked there. That
    two implementations understand each other does not depend on the type.
    """
    saved = functools.cache(functools.partial(saved_bits, name, case, where))
    for pair in pairs(name, "float64", where):
        if pair.forward != pair.backward and saved(pair.forward) != saved(pair.backward):
            yield pair


def saved_bits(name, case, where, implementation):
    device = arrays.device("cpu" if where == "emulated" else where)
    pair = suite.Pair(OPS[name], implementation, implementation, np.dtype("float64"), device)
    _, saved = pair.run(pair.prepared(case.draw(name)), case.params)
    return [(kind(a), a.strides, a.tobytes()) if hasattr(a, "dtype") else a for a in saved]


def assert_passes(row):
    """Rounded operands may leave a comparison of few numbers undecided, but nothing else may."""
    rounded = any(one.operand_roundoff for one in row.pair.implementations())
    good = {Verdict.PASS, Verdict.INCONCLUSIVE} if rounded else {Verdict.PASS}
    assert row.verdict in good, str(row)


@pytest.mark.parametrize(("name", "case", "where"), GRID)
def test_output_and_gradients(name, case, where):
    with running(where):
        tried = [pair for dtype in DTYPES for pair in alone(name, dtype, where)]
        for pair in itertools.chain(tried, mixed(name, case, where)):
            row = suite.check(pair, case)
            assert_passes(row)


@pytest.mark.parametrize(("name", "case", "where"), drawn(GRID))
def test_arrays_that_lie_in_memory_otherwise(name, case, where):
    ask_of_layouts(name, case, where)


def ask_of_layouts(name, case, where):
    with running(where):
        ask(Kind.LAYOUTS, name, case, "float32", where)


@pytest.mark.parametrize(("name", "case"), SHARED)
def test_work_shared_out_however_small(name, case):
    ask(Kind.SHARING, name, case, "float64", "cpu")


@pytest.mark.parametrize(("name", "case"), drawn(KERNEL_CASE))
def test_orders_of_threads(name, case):
    ask_of_orders(name, case)


def ask_of_orders(name, case):
    with running("emulated"):
        ask(Kind.ORDERS, name, case, "float32", "emulated")


@pytest.mark.parametrize("case", deferred.CASES["linear"], ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", DTYPES)
def test_deferred_gradients(case, dtype):
    ask(Kind.DEFERRED, "linear", case, dtype, "cpu")


@pytest.mark.parametrize(("name", "case"), drawn(KERNEL_CASE))
def test_kernels_read_no_vector_where_none_begins(name, case):
    ask_of_vectors(name, case)


def ask_of_vectors(name, case):
    """A GPU stops there; the emulator's checked mode names the line."""
    with emulated("checked", seed=1):
        for pair in alone(name, "float32", "emulated"):
            row = suite.check(pair, case, layout=shifted)
            assert_passes(row)


@pytest.mark.equal_bits
@pytest.mark.parametrize(("name", "case", "where"), drawn(GRID))
def test_contract(name, case, where):
    ask_of_contract(name, case, where)


def ask_of_contract(name, case, where):
    with running(where):
        for dtype in DTYPES:
            for pair in alone(name, dtype, where):
                assert contract.violations(pair, case) == []


@pytest.mark.parametrize(("name", "case"), drawn(KERNEL_CASE))
def test_kernels_do_nothing_that_a_gpu_does_silently_wrong(name, case):
    ask_of_silent_faults(name, case)


def ask_of_silent_faults(name, case):
    with emulated("checked", seed=1):
        for pair in alone(name, "float32", "emulated"):
            row = suite.check(pair, case)
            assert_passes(row)


@pytest.mark.parametrize(("name", "case", "where"), SEVERAL)
def test_saved_is_the_same_for_all_implementations(name, case, where):
    device = arrays.device("cpu" if where == "emulated" else where)
    saved = {}
    with running(where):
        for pair in suite.pairs(OPS[name], "float32", device):
            alike = pair.forward == pair.backward and not pair.implementations()[0].own_saved
            if alike and not pair.why_not():
                kept = pair.run(pair.prepared(case.draw(name)), case.params)[1]
                saved[pair.forward] = [kind(a) for a in kept]
    assert all(kinds == saved["plain"] for kinds in saved.values()), saved


def kind(a):
    """Return the shape and type of an array, and the values of what is not rounded."""
    if not hasattr(a, "dtype"):
        return a
    return a.shape, a.dtype, None if a.dtype.kind == "f" else arrays.to_numpy(a).tolist()


ROUGH = {"cross_entropy", "getitem", "max", "sum"}
"""Ops that count as many results as there are inputs, or all elements where some are read."""


@pytest.mark.parametrize(("name", "case"), CASE)
def test_cost_is_plausible(name, case):
    inputs = case.draw(name)
    shapes = tuple(None if a is None else a.shape for a in inputs)
    cost = OPS[name].cost(shapes, **case.params)
    assert isinstance(cost.flops, int)
    assert isinstance(cost.bytes, int)
    y, _ = suite.baseline(OPS[name]).run(inputs, case.params)
    moved = y.size + sum(a.size for a in inputs if a is not None)
    # all is read or written once, or nothing by an op that makes a view
    assert cost.bytes in (0, 4 * moved) or (name in ROUGH and 0 <= cost.bytes <= 2 * 4 * moved)
    assert cost.flops == 0 or cost.flops >= y.size
    assert cost.flops == 0 or cost.bytes >= 4 * y.size


def test_cost_of_a_convolution_is_twice_its_products():
    params = {"stride": (4, 3), "padding": (2, 1), "dilation": (1, 2), "groups": 2}
    x, w = (2, 6, 31, 23), (4, 3, 11, 5)
    y = reference.conv2d(np.zeros(x), np.zeros(w), **params)
    assert OPS["conv2d"].cost((x, w, None), **params).flops == 2 * y.size * math.prod(w[1:])


@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d"])
def test_cost_of_a_pooling_is_the_elements_of_its_windows(op):
    params = {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "ceil_mode": False}
    # 4 windows below each other, 3 side by side
    assert OPS[op].cost(((2, 5, 7, 8),), **params).flops == 2 * 5 * 4 * 3 * 6


def test_cost_of_an_adaptive_pooling_is_the_elements_of_its_cells():
    # of 5 rows cells of 3 and 3, of 7 columns cells of 3, 3 and 3
    cost = OPS["adaptive_avg_pool2d"].cost(((2, 4, 5, 7),), output_size=(2, 3))
    assert cost.flops == 2 * 4 * (3 + 3) * (3 + 3 + 3)


@pytest.mark.parametrize(
    ("a", "b", "products"),
    [
        ((3, 4), (4, 5), 60),
        ((7,), (7,), 7),
        ((2, 1, 3, 4), (5, 4, 6), 720),
        ((3, 4), (4,), 12),
        ((4,), (2, 4, 3), 24),
    ],
)
def test_cost_of_a_matrix_product_is_twice_its_products(a, b, products):
    assert OPS["matmul"].cost((a, b)).flops == 2 * products


def test_cost_of_a_linear_layer_is_twice_its_products():
    assert OPS["linear"].cost(((5, 31), (7, 31), None)).flops == 2 * 5 * 31 * 7


# Shapes drawn by Hypothesis -----------------------------------------------------------------------


def assert_right(name, case):
    for one, dtype in itertools.product(
        {"plain", "blocked"} & OPS[name].implementations.keys(), DTYPES
    ):
        row = suite.check(suite.Pair(OPS[name], one, one, np.dtype(dtype)), case)
        assert row.verdict is Verdict.PASS, str(row)


def sizes(low, high):
    return st.integers(low, high)


def both(low, high):
    return st.tuples(sizes(low, high), sizes(low, high))


@given(
    N=sizes(0, 3),
    channels=both(1, 3),
    groups=sizes(1, 3),
    image=both(1, 9),
    kernel=both(1, 4),
    stride=both(1, 4),
    padding=both(0, 3),
    dilation=both(1, 3),
    bias=st.booleans(),
)
def test_conv2d_of_any_shape(N, channels, groups, image, kernel, stride, padding, dilation, bias):
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    image = tuple(max(n, r - 2 * p) for n, r, p in zip(image, reach, padding, strict=True))
    case = windows.conv(
        "drawn",
        (N, channels[0] * groups, *image),
        channels[1] * groups,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    assert_right("conv2d", case)


def pools():
    """Windows, strides and paddings of at most half a window, over images that hold a window."""
    return st.fixed_dictionaries({"kernel": both(1, 4), "stride": both(1, 5), "share": both(0, 2)})


def pool(shape, drawn, **more):
    kernel = drawn["kernel"]
    padding = tuple(min(s, k // 2) for s, k in zip(drawn["share"], kernel, strict=True))
    image = tuple(max(n, k - 2 * p, 1) for n, k, p in zip(shape[2:], kernel, padding, strict=True))
    x = (*shape[:2], *image)
    return windows.pool("drawn", x, kernel, stride=drawn["stride"], padding=padding, **more)


maps = st.tuples(sizes(0, 2), sizes(1, 3), sizes(1, 9), sizes(1, 9))


@given(maps, pools())
def test_max_pool2d_of_any_shape(shape, drawn):
    assert_right("max_pool2d", pool(shape, drawn))


@given(maps, pools(), st.booleans())
def test_avg_pool2d_of_any_shape(shape, drawn, include):
    assert_right("avg_pool2d", pool(shape, drawn, count_include_pad=include))


@given(maps, both(1, 6))
def test_adaptive_avg_pool2d_of_any_shape(shape, size):
    assert_right("adaptive_avg_pool2d", windows.adaptive("drawn", shape, size))


@given(st.lists(sizes(0, 4), max_size=2), sizes(1, 40), sizes(1, 9), st.booleans())
def test_linear_of_any_shape(rows, features, O, bias):
    assert_right("linear", layers.linear("drawn", (*rows, features), O, bias))


@given(
    maps.map(lambda s: (s[0], 3 * s[1], s[2], s[3] // 3 + 1)),
    st.sampled_from([1, 3, 5, 7, 9]),
    st.floats(0, 1),
    st.floats(0.25, 2),
    st.floats(0.5, 3),
)
def test_local_response_norm_of_any_shape(shape, size, alpha, beta, k):
    assert_right("local_response_norm", layers.lrn("drawn", shape, size, alpha, beta, k))


@st.composite
def broadcast_shapes(draw):
    """Two shapes that go together: axes of the result, each 1 or missing in either operand."""
    result = draw(st.lists(sizes(0, 5), max_size=4))
    shapes = []
    for _ in range(2):
        kept = [draw(st.sampled_from([n, 1])) for n in result]
        shapes.append(tuple(kept[draw(sizes(0, len(kept))) :]))
    return tuple(shapes)


@given(st.sampled_from(["add", "subtract", "multiply", "divide"]), broadcast_shapes())
def test_arithmetic_broadcasts_any_shapes(name, shapes):
    assert_right(name, elementwise.binary(name, *shapes))
