"""A campaign: many attempts at breaking the program, each drawn from a seed of its own.

    python -m tests.campaigns                                  # what there is
    python -m tests.campaigns kills --count 200 --seed 0       # one of them, at any length

The suite runs each for its `short` length (``tests/test_campaigns.py``). Attempt i of seed s has
the seed s + i, so ``--count 1 --seed N`` repeats the one that was reported.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Campaign:
    """Attempts of one kind.

    Parameters
    ----------
    what : str
        What is counted: "kills", "images".
    attempt : ``attempt(seeds, folder)``
        Tries what these seeds say, in an empty folder; returns one line per fault, which names its
        seed. Several may run at once: what they do, they do in processes of their own.
    count : int
        How many a whole campaign has.
    short : int
        How many the suite tries; 0 where a test of their own is cheaper.
    batch : int
        How many seeds an attempt is given: more than one where starting costs more than trying.
    needs : str
        A package of the extra ``campaigns`` without which there are no attempts.
    """

    what: str
    attempt: Callable[[Sequence[int], Path], list[str]]
    count: int
    short: int
    batch: int = 1
    needs: str = ""

    def lacks(self) -> bool:
        """Return whether what it needs is not installed."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None

    def run(self, count: int, seed: int, jobs: int = 1) -> Iterator[tuple[int, list[str]]]:
        """Yield, batch by batch, how many were tried and what faults they found."""
        starts = range(seed, seed + count, self.batch)
        batches = [range(lo, min(lo + self.batch, seed + count)) for lo in starts]
        with ThreadPoolExecutor(jobs) as workers:
            for seeds, faults in zip(batches, workers.map(self._tried, batches), strict=True):
                yield len(seeds), faults

    def _tried(self, seeds: Sequence[int]) -> list[str]:
        with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
            return self.attempt(seeds, Path(folder))


def campaigns() -> dict[str, Campaign]:
    """Return every campaign by the name of its module: those that have a `CAMPAIGN`."""
    import tests.campaigns as package

    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith(("test_", "__")):
            continue
        campaign = getattr(
            importlib.import_module(f"{package.__name__}.{module.name}"), "CAMPAIGN", None
        )
        if campaign is not None:
            found[module.name.replace("_", "-")] = campaign
    return found
