"""Optimizers over one flat arena, and learning-rate schedules."""

from minialex.optim.adam import Adam
from minialex.optim.arena import Arena
from minialex.optim.optimizer import Optimizer
from minialex.optim.param_groups import ParamGroup
from minialex.optim.rmsprop import RMSprop
from minialex.optim.schedules import Schedule, make_schedule
from minialex.optim.sgd import SGD
from minialex.optim.update import ReplayInputs, Update

__all__ = [
    "SGD",
    "Adam",
    "Arena",
    "Optimizer",
    "ParamGroup",
    "RMSprop",
    "ReplayInputs",
    "Schedule",
    "Update",
    "make_schedule",
]
