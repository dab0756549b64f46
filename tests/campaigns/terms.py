"""Every op and case: terms against plain, every emulated kernel, differences, and pokes at inputs.

Up to 2,000 elements of each array are compared with what implementations make of them; differences
of the definition and pokes, which run the op anew for each element, are of fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minialex.autograd import OPS
from minialex.check import CASES
from tests.campaigns.campaign import Campaign
from tests.study.term_checks import (
    CaseOfTerms,
    faults_of_gradients,
    faults_of_numbers,
    faults_of_pokes,
)

CASES_OF_OPS = [(op, case) for op in sorted(OPS) for case in CASES[op]]

NUMBERS, GRADIENTS, POKED = 2_000, 16, 8
"""So many elements of each array of a case."""

STEP = 101
"""From one attempt to the next, so that a few of them are of several ops."""


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Check the terms of some cases; a seed is the number of one."""
    found = []
    for seed in seeds:
        op, case = CASES_OF_OPS[seed * STEP % len(CASES_OF_OPS)]
        one = CaseOfTerms.of(op, case)
        faults = [
            *faults_of_numbers(one, NUMBERS),
            *faults_of_gradients(one, GRADIENTS),
            *faults_of_pokes(one, POKED),
        ]
        found += [f"seed {seed}: {fault}" for fault in faults]
    return found


CAMPAIGN = Campaign("cases of ops", attempt, count=len(CASES_OF_OPS), short=6)
