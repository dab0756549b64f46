"""Differentiable functions on Tensors, one vertical slice a module.

Each module holds the maths of its op, forward and backward side by side as functions on arrays,
the `Op` that names its implementations, and the function that people call.
"""

from minialex.autograd import FUNCTIONS
from minialex.ops.adaptive_avg_pool2d import adaptive_avg_pool2d
from minialex.ops.arithmetic import (
    absolute,
    add,
    divide,
    exp,
    log,
    multiply,
    negative,
    power,
    sigmoid,
    sqrt,
    subtract,
    tanh,
)
from minialex.ops.avg_pool2d import avg_pool2d
from minialex.ops.comparison import (
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    not_equal,
)
from minialex.ops.conv2d import conv2d
from minialex.ops.cross_entropy import cross_entropy
from minialex.ops.dropout import dropout
from minialex.ops.linear import linear
from minialex.ops.local_response_norm import local_response_norm
from minialex.ops.log_softmax import log_softmax
from minialex.ops.matmul import matmul
from minialex.ops.max_pool2d import max_pool2d
from minialex.ops.reduction import max, mean, sum
from minialex.ops.relu import relu
from minialex.ops.selection import clip, maximum, minimum, where
from minialex.ops.shape import (
    astype,
    concatenate,
    flatten,
    getitem,
    permute,
    reshape,
    to,
    transpose,
)
from minialex.ops.softmax import softmax

__all__ = [
    "absolute",
    "adaptive_avg_pool2d",
    "add",
    "astype",
    "avg_pool2d",
    "clip",
    "concatenate",
    "conv2d",
    "cross_entropy",
    "divide",
    "dropout",
    "equal",
    "exp",
    "flatten",
    "getitem",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "linear",
    "local_response_norm",
    "log",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "permute",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "subtract",
    "sum",
    "tanh",
    "to",
    "transpose",
    "where",
]

FUNCTIONS.update({name: globals()[name] for name in __all__})
