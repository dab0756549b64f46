"""From what somebody asks for, by name, to the cases that it means."""

from __future__ import annotations

from minialex.bench.case import Case
from minialex.bench.images import IMAGES, LOADER, image_cases, loader_cases
from minialex.bench.layer_trials import layer_cases
from minialex.bench.layers import layers
from minialex.bench.networks import INFERENCE, STEP, network_cases
from minialex.bench.optimizers import OPTIMIZER, optimizer_cases
from minialex.bench.peers import PEERS
from minialex.bench.runner import Plan
from minialex.errors import MinialexError

LAYERS, MEMORY, IMPORTS = "layers", "memory", "imports"
KINDS = LAYERS, STEP, INFERENCE, OPTIMIZER, IMAGES, LOADER, MEMORY, IMPORTS
LOADER_SIZES, QUICK_LOADER_SIZES = (256, 1024), (64,)


def default_peers(quick: bool) -> list[str]:
    """Return the peers to compare with; quickly, those that need no long preparation."""
    return [name for name in PEERS if not (quick and name in ("PyTorch P2", "PyTorch P3"))]


def plan(
    networks: list[str], batches: list[int], wanted: list[str], *, quick: bool = False
) -> Plan:
    """Return what is to be measured.

    Parameters
    ----------
    networks : list of str
    batches : list of int
    wanted : list of str
        Names from `KINDS`, or of ops; everything where empty.
    quick : bool
        Two short sweeps, and a loader with few images.

    Raises
    ------
    MinialexError
        If a name is neither a kind of case nor an op of the networks asked for.
    """
    kinds = set(wanted or KINDS)
    chosen = _chosen_ops(networks, kinds)
    cases: list[Case] = []
    for batch in batches:
        if chosen is None or chosen:
            cases += layer_cases(networks, batch, chosen)
        cases += network_cases(networks, batch, kinds)
        if IMAGES in kinds:
            cases += image_cases(batch)
    if OPTIMIZER in kinds:
        cases += optimizer_cases()
    if LOADER in kinds:
        cases += loader_cases(min(batches), QUICK_LOADER_SIZES if quick else LOADER_SIZES)
    memory = [(n, b) for n in networks for b in batches] if MEMORY in kinds else []
    sweeps, rounds = (2, 2) if quick else (3, 3)
    return Plan(cases, sweeps=sweeps, rounds=rounds, memory=memory, imports=IMPORTS in kinds)


def _chosen_ops(networks: list[str], kinds: set[str]) -> set[str] | None:
    """Return the ops that are asked for by name; None for all."""
    if LAYERS in kinds:
        return None
    chosen = kinds - set(KINDS)
    there = {layer.op.name for network in networks for layer in layers(network)}
    unknown = sorted(chosen - there)
    if unknown:
        raise MinialexError(
            f"there is nothing named {unknown[0]!r} to measure in {', '.join(networks)}: "
            f"use {', '.join([*KINDS, *sorted(there)])}"
        )
    return chosen
