"""The random streams of a run, all under one seed, have no number in common."""

import itertools

import numpy as np
import pytest

from minialex import philox
from minialex.data import DataLoader, Transform, loader, seeded, split, splits
from minialex.philox import Generator
from tests.data.pictures import MemoryDataset

DATASET = MemoryDataset(40)
LOADER = DataLoader(DATASET, 40, Transform(2), shuffle=True, seed=3, workers=0)
IN_ORDER = DataLoader(DATASET, 40, Transform(2), seed=3, workers=0)


def drop(generator, layers=3):
    for _ in range(layers):
        philox.bits(np, 1000, **generator.draw())


STREAMS = {
    "order of the first epoch": lambda: LOADER.order(0),
    "order of the second epoch": lambda: LOADER.order(1),
    "augmentation": lambda: list(IN_ORDER.epoch(0)),
    "augmentation in the second epoch": lambda: list(IN_ORDER.epoch(1)),
    "split": lambda: split(DATASET, 0.5, 3),
    "dropout": lambda: drop(Generator(3)),
}


def drawn(monkeypatch, use):
    """Return the counters, with their seed, of all blocks of random words that are computed."""
    mix, found = philox._mix, set()

    def spy(pairs, seed):
        found.update((seed, *pair) for pair in pairs.reshape(2, -1).T.tolist())
        mix(pairs, seed)

    with monkeypatch.context() as patched:
        patched.setattr(philox, "_mix", spy)
        use()
    return found


def shared(monkeypatch):
    """Return the pairs of streams that have a block in common."""
    counters = {name: drawn(monkeypatch, use) for name, use in STREAMS.items()}
    assert min(map(len, counters.values())) >= 40
    return {
        (one, other)
        for one, other in itertools.combinations(STREAMS, 2)
        if counters[one] & counters[other]
    }


def test_no_two_streams_coincide(monkeypatch):
    assert shared(monkeypatch) == set()


@pytest.mark.parametrize(
    ("module", "name", "value", "equal"),
    [
        (seeded, "AUGMENT", seeded.ORDER, ("order of the first epoch", "augmentation")),
        (loader, "ORDER", seeded.SPLIT, ("order of the first epoch", "split")),
        (splits, "SPLIT", seeded.AUGMENT, ("augmentation", "split")),
        (seeded, "AUGMENT", 0, ("augmentation", "dropout")),
        (splits, "SPLIT", 0, ("split", "dropout")),
        (loader, "ORDER", 0, ("order of the first epoch", "dropout")),
    ],
)
def test_streams_that_are_made_equal_are_found(monkeypatch, module, name, value, equal):
    monkeypatch.setattr(module, name, value)
    assert equal in shared(monkeypatch)
