"""``pytest benchmarks``: the cases of `minialex bench`, as pytest-benchmark shows and keeps them.

Each case is a group; in it are our implementations and every peer that is installed. All that
pytest-benchmark offers works: --benchmark-json, --benchmark-autosave, --benchmark-compare,
--benchmark-histogram. Before a contender is timed its result is compared with the array
implementation's; a wrong one fails, and is never timed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from minialex.arrays import CPU, device, module_of, on_device
from minialex.autograd import OPS
from minialex.bench import ceilings, pinning
from minialex.bench.case import Bench, Case, Trial
from minialex.bench.choice import KINDS, plan
from minialex.bench.clock import clock_for
from minialex.bench.peers import PEERS, find
from minialex.bench.record import Row
from minialex.bench.runner import prove
from minialex.cpu import threads
from minialex.errors import MinialexError
from minialex.models import VARIANTS

DEFAULT_KINDS = "layers", "step", "inference", "optimizer", "images", "loader"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("minialex")
    group.addoption("--op", action="append", help=f"an op, or {', '.join(KINDS[:-2])}; repeatable")
    group.addoption("--network", action="append", choices=list(VARIANTS), help="[alexnet]")
    group.addoption("--batch", action="append", type=int, help="[32]; repeatable")
    group.addoption("--implementation", action="append", help="beside array; repeatable")
    group.addoption(
        "--peer", action="append", choices=[*PEERS, "none"], help="[PyTorch, JAX, CuPy]"
    )
    group.addoption("--device", default="auto", help="cpu, cuda, cuda:N or auto")
    group.addoption("--threads", type=int, help="CPU cores to use [all]")


class Contenders:
    """The cases asked for, and the one that is made ready just now."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        place = device(option("--device"))
        implementations = option("--implementation")
        self.bench = Bench(place, tuple(implementations) if implementations else None)
        self.cases: list[Case] = plan(
            option("--network") or ["alexnet"],
            option("--batch") or [32],
            option("--op") or list(DEFAULT_KINDS),
            quick=True,
        ).cases
        self.threads = option("--threads")
        asked = option("--peer") or ["PyTorch", "JAX", "CuPy"]
        self.peers = [name for name in asked if name != "none"]
        self.ready: tuple[Case, Trial, Row] | None = None

    def names(self, case: Case) -> list[str]:
        """Return who may take part in a case."""
        known = list(OPS[case.op].implementations) if case.op in OPS else []
        return [*self.bench.wanted(known), *(peer.name for peer in self.bench.peers)]

    def get(self, case: Case) -> tuple[Trial, Row]:
        """Make a case ready and prove everybody in it, unless it is the one that is ready."""
        if self.ready is None or self.ready[0] is not case:
            self.ready = None
            row = Row(case.op, case.what, case.batch, list(case.labels), list(case.parts), 1, 0, {})
            trial = case.make(self.bench)
            prove(trial, row, self.bench)
            self.ready = case, trial, row
        return self.ready[1:]


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[KEY] = Contenders(config)
    except MinialexError as error:
        raise pytest.UsageError(str(error)) from error


KEY = pytest.StashKey[Contenders]()


@pytest.fixture(scope="session", autouse=True)
def everything_held(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold threads to their number, and keep to the device."""
    contenders = request.config.stash[KEY]
    with (
        pinning.pinned(contenders.threads),
        contenders.bench.stack,
        on_device(contenders.bench.device),
    ):
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    contenders = metafunc.config.stash[KEY]
    if not contenders.bench.peers:
        count = contenders.threads or threads.cores()
        contenders.bench.peers, _ = find(contenders.peers, contenders.bench.device, count)
    pairs = [(case, name) for case in contenders.cases for name in contenders.names(case)]
    names = [f"{case.labels[0]} {case.what} {case.batch} {name}" for case, name in pairs]
    metafunc.parametrize(("case", "name"), pairs, ids=[n.replace(" ", "-") for n in names])


@pytest.fixture(scope="session")
def rates(request: pytest.FixtureRequest, everything_held: None) -> tuple[float, float]:
    """The machine's ceilings, measured in this very run."""
    place = request.config.stash[KEY].bench.device
    clock = clock_for(place)
    return ceilings.gemm(place, clock), ceilings.copy(place, clock)


@pytest.fixture
def contender(request: pytest.FixtureRequest, case: Case, name: str):
    """Return the call to time, proved right; skip where this contender takes no part."""
    contenders = request.config.stash[KEY]
    trial, row = contenders.get(case)
    timing = row.timings.get(name)
    if timing is None:
        pytest.skip(f"{name} of {case.op} does not run on {contenders.bench.device}")
    if timing.wrong:
        pytest.fail(f"{name}: {timing.reason}", pytrace=False)
    if timing.reason:
        pytest.skip(timing.reason)
    calls = next(c.calls for c in trial.contenders if c.name == name)
    return finished(calls.run, contenders.bench), row, timing


def finished(run, bench: Bench):
    """Return a call that waits for the GPU, so that a clock on the host tells its time."""
    if bench.device == CPU:
        return run
    synchronize = module_of(bench.device).cuda.get_current_stream().synchronize

    def waiting():
        run()
        synchronize()

    return waiting


def pytest_report_header(config: pytest.Config) -> list[str]:
    contenders = config.stash[KEY]
    return [f"minialex: device {contenders.bench.device}, {len(contenders.cases)} cases"]


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    # a benchmark file may be shown to others: it need not name this host
    machine_info.pop("node", None)
