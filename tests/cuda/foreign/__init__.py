"""Kernels as other people write them: whole files with host code, headers and macros.

Each module but `case` and `tables` holds a list `CASES`, one for each kernel of the files that it
is about.
"""

from __future__ import annotations

import importlib
import pkgutil

from tests.cuda.foreign.case import Case


def cases() -> list[Case]:
    """Return the cases of all modules here."""
    names = {module.name for module in pkgutil.iter_modules(__path__)} - {"case", "tables"}
    modules = [importlib.import_module(f"{__name__}.{name}") for name in sorted(names)]
    return [case for module in modules for case in module.CASES]
