"""Launches whose requests, sectors and wavefronts are known: computed by hand, or measured."""

from tests.cuda.patterns.branches import BRANCHES
from tests.cuda.patterns.global_memory import GLOBAL
from tests.cuda.patterns.known import FILE, KnownAccess, KnownBranch, Pattern
from tests.cuda.patterns.shared_memory import SHARED

__all__ = ["FILE", "PATTERNS", "KnownAccess", "KnownBranch", "Pattern"]

PATTERNS = [*GLOBAL, *SHARED, *BRANCHES]
"""Every known pattern."""
