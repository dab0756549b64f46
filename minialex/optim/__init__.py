"""Optimizers over one flat arena, and learning-rate schedules."""

from minialex.optim._apply import Counted
from minialex.optim.adam import Adam
from minialex.optim.arena import Arena
from minialex.optim.optimizer import Optimizer
from minialex.optim.rmsprop import RMSprop
from minialex.optim.schedules import Schedule, make_schedule
from minialex.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Arena", "Counted", "Optimizer", "RMSprop", "Schedule", "make_schedule"]
