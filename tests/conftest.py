import gc
import os
import random
import signal
import tempfile

import pytest
from hypothesis import settings

from minialex import arrays
from minialex.autograd import OPS, ROUTINES
from minialex.check import poison
from minialex.check.case import Case
from minialex.cpu import sharing, threads
from tests.small_runs import write_images

if not os.access(os.path.expanduser("~"), os.W_OK):
    # as in some containers: caches of compilers go elsewhere, for all processes of this run
    for name in "MINIALEX_CACHE", "CUPY_CACHE_DIR", "MPLCONFIGDIR":
        os.environ.setdefault(name, tempfile.mkdtemp())

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("suite")

collect_ignore = ["campaigns"]
"""Run where they are named: ``pytest tests/campaigns``."""


@pytest.fixture(autouse=True)
def ops_as_before():
    """Take ops that a test makes off the lists again."""
    before = [(there, dict(there)) for there in (OPS, ROUTINES)]
    yield
    for there, was in before:
        there.clear()
        there.update(was)


@pytest.fixture
def poisoned_memory():
    """Make uninitialised memory NaN, in NumPy's arrays and CuPy's: never right by chance."""
    with poison.poisoned_memory():
        yield


@pytest.fixture
def terminal():
    """Let a closing terminal's signal arrive, as it does not where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def cores(monkeypatch):
    """A function that sets the number of cores, all of which are used for work of any size."""

    def use(number):
        monkeypatch.delenv(threads.VARIABLE, raising=False)
        monkeypatch.setattr(threads, "_usable_cores", lambda: number)
        monkeypatch.setattr(sharing, "_worthwhile", lambda *_: number)

    return use


@pytest.fixture
def no_curves(monkeypatch):
    """Leave out the picture of a run, which takes longer than a small run."""
    monkeypatch.setattr("minialex.train.run.draw_curves", lambda *_: None)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The folder of 24 images to train on and 6 to validate on."""
    return write_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def pytest_addoption(parser):
    parser.addoption(
        "--no-skips", action="store_true", help="a test that would be skipped fails instead"
    )
    parser.addoption(
        "--draws",
        type=int,
        default=84,
        help="random shapes on which the checker must accuse no correct op (10000 takes a while)",
    )
    parser.addoption(
        "--one-in",
        type=int,
        default=1,
        help="of tests with parameters run one in so many, drawn by their names",
    )
    parser.addoption("--draw-seed", default="", help="any text: another one draws other tests")


def pytest_configure(config):
    workers = config.getoption("numprocesses", None)
    if workers:
        # a share of the cores each: BLAS's threads wait in a loop, in the way of others'
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(max(1, threads.cores() // workers)))


def pytest_collection_modifyitems(config, items):
    draw_tests(config, items)
    bring_cases_together(items)
    for item in items:
        if "torch" in getattr(item, "fixturenames", ()):
            item.add_marker("torch")
    if arrays.cuda_count():
        return
    skip = pytest.mark.skip(reason="no CUDA GPU that CuPy can use")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("no_skips"):
        report.outcome, report.longrepr = "failed", f"skipped: {report.longrepr[-1]}"
    return report


def draw_tests(config, items):
    """Leave one in ``--one-in`` of the tests with parameters; others are counted as deselected."""
    one_in, seed = config.getoption("one_in"), config.getoption("draw_seed")
    if one_in == 1:
        return
    kept, left_out = [], []
    for item in items:
        drawn = not random.Random(f"{seed} {item.nodeid}").randrange(one_in)
        (kept if drawn or not hasattr(item, "callspec") else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def bring_cases_together(items):
    """Have all tests of a case follow its first: what is right for it is worked out once."""
    first = {}
    order = {item: first.setdefault(case_of(item), n) for n, item in enumerate(items)}
    items.sort(key=order.__getitem__)


def case_of(item):
    """Return the module and the case that a test tries; the test itself where there is none."""
    case = getattr(item, "callspec", None) and item.callspec.params.get("case")
    return (item.path, case) if isinstance(case, Case) else item


def pytest_collection_finish():
    # What was collected stays until the end: looking through it for garbage only takes time.
    gc.freeze()
