"""What there is to check, and which of it was asked for."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minialex.arrays import CPU, Device
from minialex.autograd import OPS
from minialex.check import suite
from minialex.check.case import Case
from minialex.check.case_findings import Checked
from minialex.check.cases import full_size as layers
from minialex.check.check_run import CheckRun, cases_of
from minialex.check.engine import Engine
from minialex.check.kinds import Kind
from minialex.check.routines import implementations, routines
from minialex.check.schedules import Schedules
from minialex.cuda import emulation
from minialex.errors import MinialexError
from minialex.wording import unknown

DTYPES = "float64", "float32"

ENGINE = "engine"
"""What autograd itself is called where ops and routines are named."""

SCHEDULE = "schedule"
"""What learning-rate schedules are called there."""

KINDS = tuple(str(kind) for kind in Kind if kind is not Kind.FULL_SIZE)
"""The kinds of check that can be asked for by name."""


def check_runs(
    *,
    ops: Sequence[str] = (),
    implementations: Sequence[str] = (),
    dtypes: Sequence[str] = DTYPES,
    device: Device = CPU,
    full: bool = False,
    batch: int = 1,
    mixed: bool = False,
    only: Sequence[str] = (),
) -> list[CheckRun]:
    """Return what there is to check: each case of each implementation in each type.

    Parameters
    ----------
    ops : names of ops and routines, "engine" and "schedule"; all where there are none
    implementations : names of implementations, of the engine "autograd"; all that can run where
        there are none
    dtypes : types to check in
    device : Device
        Where the arrays under test live.
    full : bool
        AlexNet's layers at full size by the adjoint identity, instead of small cases by
        differences.
    batch : int
        How many images there are at full size.
    mixed : bool
        The forward of each implementation with the backward of each other, too.
    only : names of kinds of check, see `Kind`; all where there are none

    Raises
    ------
    MinialexError
        If there is no such op, implementation or kind, an op has no cases, an implementation is
        asked for that cannot run here, or nothing is left to check.
    """
    return Selection(ops, implementations, dtypes, device, full, batch, mixed, only).check_runs()


@dataclass(frozen=True)
class Selection:
    """Which checks were asked for; see `check_runs`."""

    ops: Sequence[str] = ()
    implementations: Sequence[str] = ()
    dtypes: Sequence[str] = DTYPES
    device: Device = CPU
    full: bool = False
    batch: int = 1
    mixed: bool = False
    only: Sequence[str] = ()

    def check_runs(self) -> list[CheckRun]:
        """Return the checks, those of one pair one after another."""
        _check_known("op", self.ops, self._every)
        _check_known("kind of check", self.only, KINDS)
        if str(Kind.ORDERS) in self.only and emulation() is None:
            raise MinialexError("orders of threads are the emulator's: add --emulate")
        self._check_implementations()
        self._check_layers()
        found = [
            run
            for name in self._chosen
            for dtype in self.dtypes
            for pair in self._pairs(name, dtype)
            for run in self._of(pair)
        ]
        if not found:
            raise MinialexError(
                "nothing to check: what was chosen has no such checks; leave out --only, "
                "--implementation or --dtype, or add --emulate for kernels"
            )
        return found

    @functools.cached_property
    def _every(self) -> list[str]:
        return sorted(OPS) if self.full else sorted({*OPS, *routines(), ENGINE, SCHEDULE})

    @property
    def _chosen(self) -> Sequence[str]:
        return self.ops or self._every

    @functools.cached_property
    def _layers(self) -> Mapping[str, list[Case]]:
        return layers.cases(self.batch)

    def _check_implementations(self) -> None:
        every = [pair for name in self._every for pair in _all_pairs(name, "float32", self.device)]
        _check_known("implementation", self.implementations, sorted({p.name for p in every}))
        for name in self.implementations:
            there = [p for p in every if p.name == name and p.title in self._chosen]
            if not there:
                raise MinialexError(f"none of {', '.join(self._chosen)} has implementation {name}")
            if all(pair.why_not() for pair in there):
                raise MinialexError(f"{name}: {there[0].why_not()}")

    def _check_layers(self) -> None:
        for name in self.ops if self.full else ():
            if name not in self._layers:
                known = ", ".join(sorted(self._layers))
                raise MinialexError(f"op {name!r} is no layer of AlexNet's; known: {known}")

    def _pairs(self, name: str, dtype: str) -> Iterator[Checked]:
        """Yield what there is of that name, as far as it can run and was asked for."""
        for pair in _all_pairs(name, dtype, self.device, self.mixed):
            asked = not self.implementations or set(self.implementations) & _parts(pair)
            if asked and not pair.why_not():
                yield pair

    def _of(self, pair: Checked) -> Iterator[CheckRun]:
        if self.full:
            there = self._layers.get(pair.title, ())
            return (CheckRun(pair, case, Kind.FULL_SIZE) for case in there)
        asked = [Kind(name) for name in self.only or KINDS]
        return (CheckRun(pair, case, kind) for kind in asked for case in cases_of(kind, pair))


def _all_pairs(name: str, dtype: str, device: Device, mixed: bool = False) -> Iterator[Checked]:
    """Yield what there is of that name, whether it can run or not."""
    kind = np.dtype(dtype)
    if name == ENGINE:
        yield Engine(kind, device)
    elif name == SCHEDULE:
        yield from (one for one in [Schedules()] if one.dtype == kind)
    elif name in OPS:
        pairs = suite.pairs(OPS[name], kind, device)
        yield from (pair for pair in pairs if mixed or pair.forward == pair.backward)
    else:
        yield from implementations(name, kind, device)


def _parts(pair: Checked) -> set[str]:
    """Return the implementations of a pair, which may be one."""
    return {pair.forward, pair.backward} if isinstance(pair, suite.Pair) else {pair.name}


def _check_known(what: str, names: Sequence[str], there: Collection[str]) -> None:
    for name in names:
        if name not in there:
            raise MinialexError(unknown(what, name, list(there)))
