"""The four networks."""

from minialex.models.alexnet import VARIANTS, AlexNet, Variant, alexnet

__all__ = ["VARIANTS", "AlexNet", "Variant", "alexnet"]
