"""What each op means: plain NumPy loops in float64, written from the formula alone.

The function for an op has the op's name, takes its arrays and its parameters, and returns its
output. Those of the optimizers (`rmsprop`, `sgd`, `adam`), of image preparation (`prepare`,
`prepare_crops`) and of what a training step counts (`tally`, `advance`) take what any
implementation takes, and change arrays in place; `schedule` gives the factor of a learning rate.
Slow on purpose: these are what everything else is checked against. They import NumPy and the
standard library, nothing else.
"""

from minialex.reference.adam import adam
from minialex.reference.adaptive_avg_pool2d import adaptive_avg_pool2d
from minialex.reference.advance import advance
from minialex.reference.arithmetic import (
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
from minialex.reference.avg_pool2d import avg_pool2d
from minialex.reference.conv2d import conv2d
from minialex.reference.cross_entropy import cross_entropy
from minialex.reference.dropout import dropout
from minialex.reference.linear import linear
from minialex.reference.local_response_norm import local_response_norm
from minialex.reference.log_softmax import log_softmax
from minialex.reference.matmul import matmul
from minialex.reference.max_pool2d import max_pool2d
from minialex.reference.prepare import prepare
from minialex.reference.prepare_crops import prepare_crops
from minialex.reference.reduction import max, sum
from minialex.reference.relu import relu
from minialex.reference.rmsprop import rmsprop
from minialex.reference.schedule import schedule
from minialex.reference.selection import clip, maximum, minimum, where
from minialex.reference.sgd import sgd
from minialex.reference.shape import astype, concatenate, getitem, permute, reshape, to
from minialex.reference.softmax import softmax
from minialex.reference.tally import tally

__all__ = [
    "absolute",
    "adam",
    "adaptive_avg_pool2d",
    "add",
    "advance",
    "astype",
    "avg_pool2d",
    "clip",
    "concatenate",
    "conv2d",
    "cross_entropy",
    "divide",
    "dropout",
    "exp",
    "getitem",
    "linear",
    "local_response_norm",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "permute",
    "power",
    "prepare",
    "prepare_crops",
    "relu",
    "reshape",
    "rmsprop",
    "schedule",
    "sgd",
    "sigmoid",
    "softmax",
    "sqrt",
    "subtract",
    "sum",
    "tally",
    "tanh",
    "to",
    "where",
]
