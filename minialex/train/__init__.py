"""Training a network, resuming a run that was stopped, and the settings that say how."""

from minialex.train.given import make_settings
from minialex.train.loop import Trainer
from minialex.train.nonfinite import NonFiniteLossError
from minialex.train.recipes import RECIPES
from minialex.train.report import EpochEnd, Outcome, Reporter, RunPlan, TrainingProgress
from minialex.train.run import resume, train
from minialex.train.settings import Settings
from minialex.train.step import TrainStep
from minialex.train.suited import suited_recipe

__all__ = [
    "RECIPES",
    "EpochEnd",
    "NonFiniteLossError",
    "Outcome",
    "Reporter",
    "RunPlan",
    "Settings",
    "TrainStep",
    "Trainer",
    "TrainingProgress",
    "make_settings",
    "resume",
    "suited_recipe",
    "train",
]
