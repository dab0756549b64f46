"""Tensor, Op and the backward pass. Knows nothing of any particular op.

A computation is recorded while it runs: calling an `Op` on Tensors leaves a `Node` in the graph,
and `Tensor.backward` walks back over the nodes.
"""

from minialex.autograd.choice import (
    FP32,
    LATE_ROUTINES,
    PRECISIONS,
    ROUTINES,
    Routine,
    activation_dtype,
    check_precision,
    implementation_for,
    implementation_name,
    precision,
    using,
)
from minialex.autograd.deferred import DeferredGradient
from minialex.autograd.graph import Gradients, no_grad
from minialex.autograd.hooks import RemovableHandle
from minialex.autograd.nvtx import emit_nvtx
from minialex.autograd.op import (
    OPS,
    Call,
    Cost,
    Implementation,
    Op,
    Shapes,
    common_device_and_dtype,
    record_calls,
)
from minialex.autograd.operators import FUNCTIONS
from minialex.autograd.tensor import Tensor, as_tensor, as_tensors

__all__ = [
    "FP32",
    "FUNCTIONS",
    "LATE_ROUTINES",
    "OPS",
    "PRECISIONS",
    "ROUTINES",
    "Call",
    "Cost",
    "DeferredGradient",
    "Gradients",
    "Implementation",
    "Op",
    "RemovableHandle",
    "Routine",
    "Shapes",
    "Tensor",
    "activation_dtype",
    "as_tensor",
    "as_tensors",
    "check_precision",
    "common_device_and_dtype",
    "emit_nvtx",
    "implementation_for",
    "implementation_name",
    "no_grad",
    "precision",
    "record_calls",
    "using",
]
