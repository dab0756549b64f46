"""What is timed: a `Case` says what, a `Trial` is that case made ready, with all who take part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from minialex.arrays import CPU, Device
from minialex.bench.calls import AbsentError, Calls
from minialex.bench.peers.peer import Peer
from minialex.bench.proof import FLOAT32, Bound, Result
from minialex.cuda.fault import check_context
from minialex.errors import MinialexError

PLAIN = "plain"
"""The implementation that everybody else is compared with."""

IMPLEMENTATION, PEER = "implementation", "peer"


@dataclass
class Contender:
    """Somebody who does the work: an implementation of ours, or a peer."""

    name: str
    kind: str
    calls: Calls


@dataclass
class Trial:
    """A case made ready.

    Attributes
    ----------
    contenders : list of Contender
        The array implementation first.
    independent : callable
        What the array implementation is compared with, computed another way.
    bound : Bound
        How far others may be from the array implementation, and it from `independent`.
    absent, broken : dict from name to str
        Who does not take part, and who failed, and why.
    chosen : str
        Which implementation runs where nobody chooses.
    """

    contenders: list[Contender]
    independent: Callable[[], list[Result]]
    bound: Bound = FLOAT32
    absent: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    chosen: str = PLAIN


@dataclass
class Bench:
    """Where and against whom the cases are run.

    Attributes
    ----------
    device : Device
    implementations : tuple of str, optional
        Those wanted beside "plain"; all that run on the device where not given.
    peers : list of Peer
    stack : ExitStack
        What is closed at the end, such as folders made for the run.
    known : dict
        Results that several cases share, by a key of the case's own.
    """

    device: Device = CPU
    implementations: tuple[str, ...] | None = None
    peers: list[Peer] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)
    known: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return ``make()``, computed when first asked for under `key`."""
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    def wanted(self, names: list[str]) -> list[str]:
        """Return which implementations of an op take part, "plain" first."""
        chosen = self.implementations
        return [PLAIN, *(n for n in names if n != PLAIN and (chosen is None or n in chosen))]

    @property
    def tells(self) -> bool:
        """Whether to tell of implementations that cannot run: not of kernels nobody asked for."""
        return self.implementations is not None or self.device != CPU


@dataclass(frozen=True)
class Case:
    """Something to time; the attributes are those of `minialex.bench.record.Row`.

    `make` gets everything ready, which can take memory and time: not before it is needed.
    """

    op: str
    what: str
    batch: int
    labels: tuple[str, ...]
    parts: tuple[tuple[int, int], ...]
    make: Callable[[Bench], Trial]
    count: int = 1
    images: int = 0


def gather(
    bench: Bench,
    ours: Mapping[str, Callable[[], Calls]],
    theirs: Callable[[Peer], Calls | None],
) -> tuple[list[Contender], dict[str, str], dict[str, str]]:
    """Return who takes part in a case, who does not and why, and who failed and how.

    Parameters
    ----------
    ours : dict from the implementation's name to a function that makes it ready
    theirs : callable
        Makes a peer ready, or returns None where this is not a peer's business.
    """
    contenders: list[Contender] = []
    absent: dict[str, str] = {}
    broken: dict[str, str] = {}
    everybody: list[tuple[str, str, Callable[[], Calls | None]]] = [
        *((name, IMPLEMENTATION, make) for name, make in ours.items()),
        *((peer.name, PEER, partial(theirs, peer)) for peer in bench.peers),
    ]
    for name, kind, make in everybody:
        try:
            calls = make()
        except (AbsentError, MinialexError) as why:
            if kind == PEER or bench.tells:
                absent[name] = str(why)
        except Exception as error:
            # one that breaks off must not take the others' times with it
            broken[name] = f"{type(error).__name__}: {error}"
            check_context(name)
        else:
            if calls is not None:
                contenders.append(Contender(name, kind, calls))
    return contenders, absent, broken
