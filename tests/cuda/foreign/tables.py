"""Tables of cases, filled by the functions that make the launches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cuda.foreign.case import Case, Fault, Launch

Launcher = Callable[[np.random.Generator], Launch]


def table(folder: str, cases: list[Case]) -> Callable[..., Callable[[Launcher], Launcher]]:
    """Return a decorator: the case of kernel `kernel` of `file`, and what breaks it."""

    def case(
        file: str, kernel: str, *, old: str, new: str, kind: str
    ) -> Callable[[Launcher], Launcher]:
        def add(launch: Launcher) -> Launcher:
            cases.append(Case(f"{folder}/{file}", kernel, launch, Fault(old, new, kind)))
            return launch

        return add

    return case
