"""Training, going on after a stop, and what it takes to say how.

Beside these, in modules of their own: `evaluate`, `kfold`, `predict`, `trained` (networks read
from files), `checkpoint`, `metrics`, `pretrained`.
"""

from minialex.train.loop import Trainer
from minialex.train.nonfinite import NonFiniteLossError
from minialex.train.report import EpochEnd, Outcome, Progress, Reporter, RunPlan
from minialex.train.run import resume, train
from minialex.train.settings import RECIPES, Settings, make_settings
from minialex.train.step import TrainStep

__all__ = [
    "RECIPES",
    "EpochEnd",
    "NonFiniteLossError",
    "Outcome",
    "Progress",
    "Reporter",
    "RunPlan",
    "Settings",
    "TrainStep",
    "Trainer",
    "make_settings",
    "resume",
    "train",
]
