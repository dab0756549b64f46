"""``pytest benchmarks``: the cases of `minialex bench`, as pytest-benchmark shows and keeps them.

Each case is a group; in it are our implementations and every peer that is installed. All that
pytest-benchmark offers works: --benchmark-json, --benchmark-autosave, --benchmark-compare,
--benchmark-histogram. Before a contender is timed its result is compared with the plain
implementation's; a wrong one fails, and is never timed.

With --emulate the contenders are the layers' kernels, and a row's extra_info has what a profile
says of it: sectors, wavefronts, bound and predicted time. Where there is a GPU it is measured as
always; without one each is run once by the emulator, and the row says that its time means nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from minialex import emulated
from minialex.arrays import CPU, device, on_device
from minialex.autograd import OPS
from minialex.bench import ceilings, pinning
from minialex.bench.case import BenchCase, BenchContext, PreparedCase
from minialex.bench.clock import clock_for
from minialex.bench.peers import PEERS, find_peers
from minialex.bench.pytest_plugin import synchronized
from minialex.bench.record import BenchRow
from minialex.bench.runner import empty_row, verify
from minialex.bench.selection import KINDS, select_cases
from minialex.cpu import threads
from minialex.cuda.known_gpus import KNOWN_GPUS
from minialex.errors import MinialexError
from minialex.models import VARIANTS
from minialex.study import tracing
from minialex.study.profile import Profile, profiled

DEFAULT_KINDS = "layers", "step", "inference", "optimizer", "images", "loader"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("minialex")
    group.addoption("--op", action="append", help=f"an op, or {', '.join(KINDS[:-2])}; repeatable")
    group.addoption("--network", action="append", choices=list(VARIANTS), help="[alexnet]")
    group.addoption("--batch", action="append", type=int, help="[32]; repeatable")
    group.addoption("--implementation", action="append", help="beside plain; repeatable")
    group.addoption(
        "--peer", action="append", choices=[*PEERS, "none"], help="[PyTorch, JAX, CuPy]"
    )
    group.addoption("--device", default="auto", help="cpu, cuda, cuda:N or auto")
    group.addoption("--threads", type=int, help="CPU cores to use [all]")
    group.addoption(
        "--emulate", action="store_true", help="profile layers' kernels on the CPU: times predicted"
    )
    group.addoption("--gpu", default="H100", choices=list(KNOWN_GPUS), help="to predict for [H100]")


class Contenders:
    """The cases asked for, and the one that is prepared now."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        place = device(option("--device"))
        self.emulates, self.gpu = option("--emulate"), option("--gpu")
        implementations = option("--implementation")
        self.context = BenchContext(place, tuple(implementations) if implementations else None)
        self.cases: list[BenchCase] = select_cases(
            option("--network") or ["alexnet"],
            option("--batch") or [32],
            option("--op") or (["layers"] if self.emulates else list(DEFAULT_KINDS)),
            quick=True,
        ).cases
        others = sorted({case.op for case in self.cases} - OPS.keys())
        if self.emulates and others:
            raise MinialexError(f"--emulate profiles layers: leave out --op {', '.join(others)}")
        self.threads = option("--threads")
        asked = option("--peer") or (["none"] if self.emulates else ["PyTorch", "JAX", "CuPy"])
        self.peers = [name for name in asked if name != "none"]
        self.prepared: tuple[BenchCase, PreparedCase, BenchRow] | None = None

    def names(self, case: BenchCase) -> list[str]:
        """Return the possible contenders of a case."""
        known = list(OPS[case.op].implementations) if case.op in OPS else []
        if self.emulates:
            known = tracing.kernels_of(case.op)
            return [name for name in self.context.selected(known) if name in known]
        return [*self.context.selected(known), *(peer.name for peer in self.context.peers)]

    def get(self, case: BenchCase) -> tuple[PreparedCase, BenchRow]:
        """Prepare a case and verify all its contenders, unless it is the one prepared now."""
        if self.prepared is None or self.prepared[0] is not case:
            self.prepared = None
            row = empty_row(case)
            prepared = case.prepare(self.context)
            verify(prepared, row, self.context)
            self.prepared = case, prepared, row
        return self.prepared[1:]


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[KEY] = Contenders(config)
    except MinialexError as error:
        raise pytest.UsageError(str(error)) from error


KEY = pytest.StashKey[Contenders]()


@pytest.fixture(scope="session", autouse=True)
def pinned_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Pin the threads, and use the device; where kernels are emulated, have them run."""
    contenders = request.config.stash[KEY]
    with (
        emulated() if contenders.emulates else contextlib.nullcontext(),
        pinning.pinned(contenders.threads),
        contenders.context.stack,
        on_device(contenders.context.device),
    ):
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    contenders = metafunc.config.stash[KEY]
    if not contenders.context.peers:
        count = contenders.threads or threads.cores()
        contenders.context.peers, _ = find_peers(contenders.peers, contenders.context.device, count)
    pairs = [(case, name) for case in contenders.cases for name in contenders.names(case)]
    names = [f"{case.labels[0]} {case.what} {case.batch} {name}" for case, name in pairs]
    metafunc.parametrize(("case", "name"), pairs, ids=[n.replace(" ", "-") for n in names])


@pytest.fixture(scope="session")
def rates(request: pytest.FixtureRequest, pinned_threads: None) -> tuple[float, float]:
    """The machine's ceilings, measured in this very run."""
    place = request.config.stash[KEY].context.device
    clock = clock_for(place)
    return ceilings.gemm(place, clock), ceilings.copy(place, clock)


@pytest.fixture
def contender(request: pytest.FixtureRequest, case: BenchCase, name: str):
    """Return the call to time, verified; skip the test where this contender is unavailable."""
    contenders = request.config.stash[KEY]
    prepared, row = contenders.get(case)
    timing = row.timings.get(name)
    if timing is None:
        pytest.skip(f"{name} of {case.op} does not run on {contenders.context.device}")
    if timing.failed:
        pytest.fail(f"{name}: {timing.reason}", pytrace=False)
    if timing.reason:
        pytest.skip(timing.reason)
    workload = next(c.workload for c in prepared.contenders if c.name == name)
    return synchronized(workload.run, contenders.context.device), row, timing


@pytest.fixture
def prediction(request: pytest.FixtureRequest, case: BenchCase, name: str) -> Profile | None:
    """The profile of a contender that is timed on a GPU, where one is asked for."""
    contenders = request.config.stash[KEY]
    if not contenders.emulates or contenders.context.device == CPU:
        return None
    prepared = case.prepare(BenchContext(CPU, (name,)))
    (on_cpu,) = [one.workload for one in prepared.contenders if one.name == name]
    with profiled(contenders.gpu) as profile:
        on_cpu.run()
    return profile


@pytest.fixture(scope="session")
def emulated_gpu(request: pytest.FixtureRequest) -> str | None:
    """The GPU that rows predict for where nothing can be measured, None where it can."""
    contenders = request.config.stash[KEY]
    return contenders.gpu if contenders.emulates and contenders.context.device == CPU else None


def pytest_report_header(config: pytest.Config) -> list[str]:
    contenders = config.stash[KEY]
    return [f"minialex: device {contenders.context.device}, {len(contenders.cases)} cases"]


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    # a benchmark file may be published: it must not name this host
    machine_info.pop("node", None)
