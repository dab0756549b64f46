"""From the names that a user asks for to the cases that they mean."""

from __future__ import annotations

from minialex.bench.case import BenchCase
from minialex.bench.images import IMAGES, LOADER, image_cases, loader_cases
from minialex.bench.layer_cases import layer_cases
from minialex.bench.layers import layers
from minialex.bench.networks import INFERENCE, STEP, network_cases
from minialex.bench.optimizers import OPTIMIZER, optimizer_cases
from minialex.bench.peers import PEERS
from minialex.bench.runner import BenchPlan
from minialex.errors import MinialexError
from minialex.wording import unknown

LAYERS, MEMORY, IMPORTS = "layers", "memory", "imports"
KINDS = LAYERS, STEP, INFERENCE, OPTIMIZER, IMAGES, LOADER, MEMORY, IMPORTS
LOADER_IMAGES, QUICK_LOADER_IMAGES = (256, 1024), (64,)
REPETITIONS, QUICK_REPETITIONS = 3, 2
ROUNDS, QUICK_ROUNDS = 3, 2


def default_peers(quick: bool) -> list[str]:
    """Return the peers to compare with; quickly, those that need no long preparation."""
    return [name for name in PEERS if not (quick and name in ("PyTorch P2", "PyTorch P3"))]


def select_cases(
    networks: list[str], batches: list[int], names: list[str], *, quick: bool = False
) -> BenchPlan:
    """Return what is to be measured.

    Parameters
    ----------
    networks : list of str
    batches : list of int
    names : list of str
        From `KINDS`, or of ops; everything where empty.
    quick : bool
        Two repetitions of two rounds, and a loader with few images.

    Raises
    ------
    MinialexError
        If a name is neither a kind of case nor an op of the networks asked for.
    """
    kinds = set(names or KINDS)
    ops = _ops_named(networks, kinds)
    cases: list[BenchCase] = []
    for batch in batches:
        if ops is None or ops:
            cases += layer_cases(networks, batch, ops)
        cases += network_cases(networks, batch, kinds)
        if IMAGES in kinds:
            cases += image_cases(batch)
    if OPTIMIZER in kinds:
        cases += optimizer_cases()
    if LOADER in kinds:
        cases += loader_cases(min(batches), QUICK_LOADER_IMAGES if quick else LOADER_IMAGES)
    return BenchPlan(
        cases,
        repetitions=QUICK_REPETITIONS if quick else REPETITIONS,
        rounds=QUICK_ROUNDS if quick else ROUNDS,
        memory=[(n, b) for n in networks for b in batches] if MEMORY in kinds else [],
        imports=IMPORTS in kinds,
    )


def _ops_named(networks: list[str], kinds: set[str]) -> set[str] | None:
    """Return the ops that are asked for by name; None for all."""
    if LAYERS in kinds:
        return None
    ops = kinds - set(KINDS)
    known = {layer.op.name for network in networks for layer in layers(network)}
    for name in sorted(ops - known):
        raise MinialexError(unknown(f"op of {', '.join(networks)}", name, [*KINDS, *sorted(known)]))
    return ops
