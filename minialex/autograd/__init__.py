"""Tensor, Op and the backward pass. Knows nothing of any particular op.

A computation is recorded while it runs: calling an `Op` on Tensors leaves a `Node` in the graph,
and `Tensor.backward` walks back over the nodes.
"""

from minialex.autograd.choice import ROUTINES, Routine, choose, chosen, using
from minialex.autograd.graph import Gradients, Pending, no_grad
from minialex.autograd.op import (
    OPS,
    Call,
    Cost,
    Implementation,
    Op,
    Shapes,
    common_device,
    record_calls,
)
from minialex.autograd.tensor import FUNCTIONS, Tensor, as_tensor, as_tensors

__all__ = [
    "FUNCTIONS",
    "OPS",
    "ROUTINES",
    "Call",
    "Cost",
    "Gradients",
    "Implementation",
    "Op",
    "Pending",
    "Routine",
    "Shapes",
    "Tensor",
    "as_tensor",
    "as_tensors",
    "choose",
    "chosen",
    "common_device",
    "no_grad",
    "record_calls",
    "using",
]
