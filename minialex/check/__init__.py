"""Gradient checking, for the ops of this library and for those of others.

`gradcheck` checks any function of Tensors, and any module with its parameters; `compare` holds two
functions that should be the same against each other. `check_case` checks
an `Op` of your own: one `Case`, on one `Pair` of its implementations, against a definition in plain
NumPy. `check_runs` lists what there is to check of every op, of routines, and of the engine between
ops: what ``minialex gradcheck`` runs. All give one of three verdicts, PASS, FAIL or INCONCLUSIVE,
from the model of rounding in `minialex.check.noise`.

>>> import numpy as np
>>> from minialex import Tensor, check
>>> x = Tensor(np.linspace(-2.0, 2.0, 7), requires_grad=True)
>>> bool(check.gradcheck(lambda x: x * x.tanh(), x))
True
"""

from minialex.check.agreement import compare
from minialex.check.case import Answer, Case
from minialex.check.case_findings import CaseFindings
from minialex.check.cases import CASES
from minialex.check.check_run import CheckRun
from minialex.check.contract import violations
from minialex.check.gradcheck import gradcheck
from minialex.check.report import GradientError, Report
from minialex.check.selection import check_runs
from minialex.check.suite import Pair, pairs
from minialex.check.suite import check as check_case
from minialex.check.table import closing
from minialex.check.verdict import Finding, Verdict

__all__ = [
    "CASES",
    "Answer",
    "Case",
    "CaseFindings",
    "CheckRun",
    "Finding",
    "GradientError",
    "Pair",
    "Report",
    "Verdict",
    "check_case",
    "check_runs",
    "closing",
    "compare",
    "gradcheck",
    "pairs",
    "violations",
]
