"""`gradcheck` of compositions: what each op owes autograd, and where it breaks that."""

import numpy as np
import pytest

from minialex import nn, ops
from minialex.autograd import Implementation, Op
from minialex.check import GradientError, Verdict, gradcheck, nodes
from minialex.check.subject import Subject
from tests.check import formulas
from tests.check.reports import FAIL, PASS, broken, failures, images, report_of, tensor, verdicts
from tests.check.zoo import off_the_lists


def square(x):
    return x * x, (x,)


def own(backward, forward=square):
    return Op("squared", {"plain": Implementation(forward, backward)})


def right_back(gy, saved):
    return (2 * gy * saved[0],)


def planted(op, dtype=np.float64):
    """Return the report of a composition whose second op is `op`, and fourth is too."""
    return report_of(lambda x: (op(op(x * 2) - 1)).tanh(), tensor(2, 3, dtype=dtype))


BOTH = [
    f"squared, {n} op ({nth} squared)" for n, nth in [("second", "first"), ("fourth", "second")]
]


@pytest.mark.parametrize(("fn", "n"), [
    (lambda x: ops.softmax(x, dim=1), 1),
    (lambda x: x[0] * x[1] + x.sum(), 5),
    (lambda x: ops.concatenate([x, x.tanh(), x * 2, x + 1, x - 1], dim=0), 5),
    (lambda x: (x > 0, x.exp(), x.reshape(3, 2), x[:0]), 3),
    (lambda x: own(right_back)(x), 1),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_keeps_the_contract_passes_in_one_line(fn, n, dtype):
    report = report_of(fn, tensor(2, 3, dtype=dtype))
    (found,) = (f for f in report.findings if "autograd" in f.what)
    assert found.verdict is PASS
    assert found.what == f"what its ops owe autograd ({n} op{'s' * (n > 1)})"
    assert found.compared > 0
    assert not found.detail


def test_a_function_without_ops_owes_nothing():
    assert [f.what for f in report_of(lambda x: x, tensor(3)).findings][1:] == [
        "gradient of input 0"
    ]


def writes_saved(gy, saved):
    np.multiply(gy, saved[1], out=saved[1])
    return (2 * saved[1],)


def writes_input(gy, saved):
    g = 2 * gy * saved[0]
    saved[0][...] = 0
    return (g,)


def writes_gy(gy, saved):
    gy *= 2 * saved[0]
    return (gy,)


def raises(gy, saved):
    raise IndexError("index 7 is out of bounds")


def clips_in_place(x):
    np.maximum(x, 0, out=x)
    return x * x, (x,)


@pytest.mark.parametrize(("backward", "forward", "line"), [
    (writes_saved, lambda x: (x * x, (x, x.copy())),
     "backward wrote to what was saved, so that it cannot run twice"),
    (writes_input, square,
     "backward wrote to x, which is not its own: compute into a new array"),
    (writes_gy, square, "backward wrote to gy, which is not its own: compute into a new array"),
    (right_back, clips_in_place,
     "forward wrote to x, which is not its own: compute into a new array"),
    (raises, square, "backward raised IndexError: index 7 is out of bounds"),
    (lambda gy, saved: (right_back(gy, saved)[0][None],), square,
     "the gradient of x is (1, 2, 3) float64 numpy.ndarray, it must be (2, 3) float64"),
    (lambda gy, saved: (right_back(gy, saved)[0].astype(np.float32),), square,
     "the gradient of x is (2, 3) float32 numpy.ndarray, it must be (2, 3) float64"),
    (lambda gy, saved: right_back(gy, saved)[0], square,
     "backward must return a tuple of 1 gradients, not array("),
    (lambda gy, saved: (*right_back(gy, saved), None), square,
     "backward must return a tuple of 1 gradients, not (array("),
])  # fmt: skip
def test_what_autograd_cannot_go_on_with_is_all_that_is_told(backward, forward, line):
    report = planted(own(backward, forward))
    assert report.verdict is FAIL
    assert [f.op for f in report.findings if line in f.detail[0]] == BOTH
    assert {f.what for f in report.findings} == {f"what {place}, owes autograd" for place in BOTH}
    with pytest.raises(GradientError, match="squared, third op"):
        gradcheck(lambda x: own(backward, forward)(-x.exp()) * 3, tensor(3))


def ignores_out(gy, saved, *, out):
    return right_back(gy, saved)


@pytest.mark.parametrize(("backward", "forward", "line"), [
    (ignores_out, square, "the gradient of x is not the array that `out` gave for it"),
    (right_back, lambda x, *, keep=True: (x * x, (x,)), "with keep=False, 1 were saved"),
    (right_back, lambda x, *, keep=True: (x * x * (1 + 3e-16 * (not keep)), (x,) * keep),
     "the output differs where nothing is kept for backward"),
])  # fmt: skip
def test_what_else_is_broken_is_told_beside_right_gradients(backward, forward, line):
    report = planted(own(backward, forward))
    assert verdicts(report) == {"input 0": PASS}
    found = [f for f in failures(report) if line in f.detail[0]]
    assert [f.op for f in found] == BOTH


def test_needs_are_honoured_by_the_argument():
    right = formulas.right("multiply")

    def back(gy, saved, *, needs):
        return right(gy, saved)

    def shifting(gy, saved, *, needs):
        found = zip(right(gy, saved), needs, strict=True)
        return tuple(g + (not all(needs)) if need else None for g, need in found)

    for backward, lines in (
        (back, ["only the gradient of a was needed, that of b came too",
                "only the gradient of b was needed, that of a came too"]),
        (shifting, [f"the gradient of {n}, where that of {n} is needed, has other bits than where "
                    "all are" for n in "ab"]),
    ):  # fmt: skip
        with off_the_lists("multiply"):
            op = Op("multiply", {"plain": Implementation(lambda a, b: (a * b, (a, b)), backward)})
        report = report_of(lambda x, y, op=op: op(x, y).tanh(), tensor(3), tensor(3, seed=1))
        assert [f.detail[0] for f in failures(report)] == lines
        assert {f.op for f in failures(report)} == {"multiply, first op"}


def test_a_backward_that_trembles_is_named():
    rng = np.random.default_rng(0)

    def trembles(gy, saved):
        return (2 * gy * saved[0] * (1 + 1e-15 * rng.integers(1, 9, gy.shape)),)

    report = planted(own(trembles))
    line = "backward, run twice, gives the gradient of x other bits"
    assert [f.op for f in failures(report) if line in f.detail] == BOTH
    op = own(trembles)
    allowed = report_of(lambda x: op(x).tanh(), tensor(3), nondet_tol=1e-12)
    assert allowed.verdict is PASS


def remembers():
    """Return an op that looks at what forward was given last, and not at what it saved."""
    last = []

    def forward(x):
        last[:] = [x]
        return x * x, (x,)

    return own(lambda gy, saved: (2 * gy * last[0],), forward)


def test_what_is_kept_outside_of_saved_is_found():
    op = remembers()
    report = report_of(lambda x: op(x).tanh(), tensor(3))
    assert verdicts(report) == {"input 0": PASS}
    line = "backward gives the gradient of x other bits after forward ran on other inputs"
    assert [f.detail[0].startswith(line) for f in failures(report)] == [True]


def _is_dense(a):
    return {abs(n) for n in a.strides} in ({8, 24}, {8, 16})


@pytest.mark.parametrize(("wrong", "lies"), [
    (lambda gy: not gy.strides[-1], "has strides of 0, as of a sum"),
    (lambda gy: gy.strides[-1] and not _is_dense(gy), "has gaps between its elements"),
    (lambda gy: gy.flags.f_contiguous and gy.ndim > 1, "lies in Fortran's order"),
    (lambda gy: gy.strides[-1] < 0, "runs backwards"),
    (lambda gy: gy.flags.c_contiguous and gy.ctypes.data % 16, "begins at an odd address"),
])  # fmt: skip
@pytest.mark.parametrize("fn", [lambda y: y.sum(), lambda y: y.T.tanh()])
def test_a_backward_that_is_wrong_for_some_layouts_of_gy(wrong, lies, fn):
    def back(gy, saved):
        return (right_back(gy, saved)[0] * (2 if wrong(gy) else 1),)

    report = report_of(lambda x: fn(own(back)(x)), tensor(2, 3))
    assert report.verdict is FAIL
    (line,) = (f.detail[0] for f in failures(report) if f.op == "squared, first op")
    assert line.startswith("the gradient of x is off by ")
    assert line.endswith(f" where gy {lies}")


@pytest.mark.parametrize("wrong", [
    np.abs, lambda gy: np.maximum(gy, 0), lambda gy: np.clip(gy, -5, 5),
    lambda gy: np.where(np.abs(gy) < 0.01, 0, gy), lambda gy: gy * (2 if gy.flat[0] < 0 else 1),
    lambda gy: gy * np.abs(gy), np.sign,
])  # fmt: skip
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fn", [lambda y: y, lambda y: 1 - y, lambda y: 100 * y.sum()])
def test_a_backward_that_is_not_linear_is_found_whatever_comes(wrong, fn, seed):
    op = own(lambda gy, saved: (2 * wrong(gy) * saved[0],))
    report = report_of(lambda x: fn(op(x)), tensor(2, 3), seed=seed)
    assert report.verdict is FAIL
    assert any("gy: it is not linear in gy" in line for f in report.findings for line in f.detail)


def doubles_what_has_gaps(x):
    return x * x, (x, 1 if x.flags.c_contiguous else 2)


def test_an_op_that_is_wrong_where_its_inputs_have_gaps():
    op = own(lambda gy, saved: (2 * gy * saved[0] * saved[1],), doubles_what_has_gaps)
    line = "the gradient of x is another where the inputs have gaps between their elements"
    for fn in (op, lambda x: op(x).tanh(), lambda x: op(x[:, ::2])):
        assert line in str(report_of(fn, tensor(2, 3)))


def test_an_op_may_refuse_inputs_with_gaps():
    def refuses(x):
        if not x.flags.c_contiguous:
            raise ValueError("x must be contiguous")
        return x * x, (x,)

    assert report_of(own(right_back, refuses), tensor(2, 3))


def test_an_output_that_the_next_call_overwrites_is_found():
    kept = {}

    def forward(x):
        y = kept.setdefault((x.shape, x.dtype.char), np.empty(x.shape, x.dtype))
        return np.multiply(x, x, out=y), (x,)

    report = report_of(own(right_back, forward), tensor(3))
    assert "forward writes to an output that it returned before: return a new array" in str(report)


def test_what_breaks_in_float64_alone_is_told():
    def narrow(gy, saved):
        return ((2 * gy * saved[0]).astype(np.float32),)

    report = planted(own(narrow), np.float32)
    assert {f.op for f in failures(report)} == set(BOTH)
    assert all("it must be (2, 3) float64" in f.detail[0] for f in report.findings)


def test_what_one_op_wrote_to_is_not_held_against_the_next():
    report = report_of(lambda x: own(right_back, clips_in_place)(x * 2).exp(), tensor(4))
    assert [f.op for f in report.findings] == ["squared, second op"]


def test_an_op_may_know_of_inputs_that_have_no_gradient():
    """It is the gradient that is right or wrong then, not the contract."""
    op = broken("multiply", 1, lambda g: None)
    w = tensor(3, seed=1)
    report = report_of(lambda x, w: op(x, w), tensor(3), w)
    (found,) = (f for f in report.findings if "autograd" in f.what)
    assert found.verdict is PASS
    assert verdicts(report) == {"input 0": PASS, "input 1": FAIL}


def test_a_function_that_writes_to_its_own_inputs():
    def scales(x, c):
        x.data[...] *= 2
        return x * c

    def moves(x, c):
        x.data = x.data * 2
        return x * c

    def constant(x, c):
        c.data += 1
        return x * c

    for fn, name in ((scales, "input 0"), (moves, "input 0"), (constant, "input 1")):
        report = report_of(fn, tensor(3), tensor(3, requires_grad=False))
        (found,) = report.findings
        assert (found.what, found.verdict) == ("what fn owes autograd", FAIL)
        assert found.detail[0].startswith(f"fn wrote to {name}, ")


def test_an_op_that_raises_where_only_the_engine_takes_it():
    """A gradient that a sum sends back is a view that nothing can be written to."""

    def wants_its_own(gy, saved):
        if not gy.flags.writeable:
            raise ValueError("output array is read-only")
        return right_back(gy, saved)

    report = report_of(lambda x: own(wants_its_own)(x).sum(), tensor(3))
    assert report.verdict is FAIL
    assert "FAIL running backward" in str(report)
    assert "ValueError: output array is read-only" in str(report)


def test_what_raises_in_fn_itself_is_raised():
    def fn(x):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        report_of(fn, tensor(3))


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_each_op_is_asked_in_a_few_runs(inputs):
    runs = []

    def forward(*xs):
        runs.append("forward")
        return sum(xs), ()

    def backward(gy, saved, *, needs, out):
        runs.append("backward")
        return tuple(None if not n else np.copyto(o, gy) or o if o is not None else gy.copy()
                     for n, o in zip(needs, out, strict=True))  # fmt: skip

    op = Op("added", {"plain": Implementation(forward, backward)})
    xs = [tensor(3, seed=i) for i in range(inputs)]
    subject = Subject(op, tuple(xs), None)
    runs.clear()
    assert nodes.contract(subject).findings[0].verdict is Verdict.PASS
    assert runs.count("forward") == 5
    assert runs.count("backward") == 11 + inputs + (inputs if inputs > 1 else 0)


def test_a_whole_network_keeps_its_contract():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5),
    ).eval()  # fmt: skip
    subject = Subject(net, (images(2, 3, 12, 12),), None)
    (found,) = nodes.contract(subject).findings
    assert (found.verdict, found.what) == (PASS, "what its ops owe autograd (9 ops)")
