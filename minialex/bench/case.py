"""What is timed: a `BenchCase` says what, a `PreparedCase` holds all contenders, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from minialex.arrays import CPU, Device
from minialex.bench.correctness import FLOAT32, Result, Tolerance
from minialex.bench.peers.peer import Peer
from minialex.bench.workload import UnavailableError, Workload
from minialex.cuda.fault import check_context
from minialex.errors import MinialexError

PLAIN = "plain"
"""The baseline: the implementation that all other contenders are compared with."""
DEFAULT = "default"
"""What runs where none is chosen: for an op one implementation, for a network one for each op."""

IMPLEMENTATION, PEER = "implementation", "peer"


@dataclass
class Contender:
    """One implementation of ours, or one peer.

    Attributes
    ----------
    name : str
    kind : "implementation" or "peer"
    workload : Workload
    """

    name: str
    kind: str
    workload: Workload


@dataclass
class PreparedCase:
    """A case with all its contenders ready to run.

    Attributes
    ----------
    contenders : list of Contender
        The plain implementation first.
    independent : callable
        Returns what the plain implementation is compared with: the result computed another way.
    tolerance : Tolerance
        How far the others may be from the plain implementation, and it from `independent`.
    unavailable, failed : dict from name to str
        The contenders that skip the case, and those that raised, and why.
    default : str
        Which implementation runs where none is chosen.
    lines : dict from implementation to int
        Lines of its source code.
    """

    contenders: list[Contender]
    independent: Callable[[], list[Result]]
    tolerance: Tolerance = FLOAT32
    unavailable: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    default: str = PLAIN
    lines: dict[str, int] = field(default_factory=dict)


@dataclass
class BenchContext:
    """Where the cases run, and with which contenders.

    Attributes
    ----------
    device : Device
    implementations : tuple of str, optional
        Those to time beside "plain"; all that run on the device where not given. `DEFAULT` among
        them stands for each op's, and then "plain" is timed only where it is named too.
    peers : list of Peer
    stack : ExitStack
        What is closed at the end, such as folders made for the run.
    cache : dict
        Results that several cases share, by a key of the case's own.
    """

    device: Device = CPU
    implementations: tuple[str, ...] | None = None
    peers: list[Peer] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)
    cache: dict[Any, Any] = field(default_factory=dict)

    def cached(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return ``make()``, computed when first asked for under `key`."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]

    def selected(self, names: list[str], default: str = DEFAULT) -> list[str]:
        """Return which of an op's implementations are contenders, "plain" first."""
        asked = names if self.implementations is None else self.implementations
        wanted = {default if name == DEFAULT else name for name in asked}
        return [PLAIN, *(name for name in names if name != PLAIN and name in wanted)]

    def timed(self, name: str, default: str) -> bool:
        """Return whether a contender is timed; "plain" is always there to compare with."""
        asked = self.implementations or ()
        return name != PLAIN or name == default or name in asked or DEFAULT not in asked

    @property
    def reports_missing(self) -> bool:
        """Whether to report implementations that cannot run: kernels only where asked for."""
        return self.implementations is not None or self.device != CPU


@dataclass(frozen=True)
class BenchCase:
    """Something to time; the attributes are those of `minialex.bench.record.BenchRow`.

    `prepare` makes all contenders ready, which can take memory and time: not before it is needed.
    """

    op: str
    what: str
    batch: int
    labels: tuple[str, ...]
    work: tuple[tuple[int, int], ...]
    prepare: Callable[[BenchContext], PreparedCase]
    per_step: int = 1
    images: int = 0


def collect_contenders(
    context: BenchContext,
    implementations: Mapping[str, Callable[[], Workload]],
    peer_workload: Callable[[Peer], Workload | None],
) -> tuple[list[Contender], dict[str, str], dict[str, str]]:
    """Return the contenders of a case, those that skip it and why, and those that failed and how.

    Parameters
    ----------
    context : BenchContext
    implementations : dict from the implementation's name to a function that makes its workload
    peer_workload : callable
        Makes a peer's workload, or returns None where the peer has no counterpart.
    """
    contenders: list[Contender] = []
    unavailable: dict[str, str] = {}
    failed: dict[str, str] = {}
    candidates: list[tuple[str, str, Callable[[], Workload | None]]] = [
        *((name, IMPLEMENTATION, make) for name, make in implementations.items()),
        *((peer.name, PEER, partial(peer_workload, peer)) for peer in context.peers),
    ]
    for name, kind, make in candidates:
        try:
            workload = make()
        except (UnavailableError, MinialexError) as why:
            if kind == PEER or context.reports_missing:
                unavailable[name] = str(why)
        except Exception as error:
            # a contender that raises must not cost the others their times
            failed[name] = f"{type(error).__name__}: {error}"
            check_context(name)
        else:
            if workload is not None:
                contenders.append(Contender(name, kind, workload))
    return contenders, unavailable, failed
