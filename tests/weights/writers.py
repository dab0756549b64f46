"""A small network's weights, written as each kind of file."""

import numpy as np

from minialex.weights import checkpoint
from minialex.weights.safetensors import write_safetensors
from tests.weights import pth_writer

SHAPES = {
    "features.0.weight": (4, 3, 5, 5),
    "features.0.bias": (4,),
    "features.3.weight": (6, 4, 3, 3),
    "features.3.bias": (6,),
    "classifier.1.weight": (5, 24),
    "classifier.1.bias": (5,),
    "classifier.6.weight": (10, 5),
    "classifier.6.bias": (10,),
}


def make(shapes=SHAPES):
    return {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(shapes.items())}


def write_checkpoint(path, weights):
    slots = checkpoint.optimizer_tensors({"square_avg": weights})
    manifest = {"model": "m", "num_classes": 10, "image_size": 64, "classes": []}
    manifest |= {"position": {"epoch": 0, "batch": 0, "step": 0}}
    manifest |= {key: {} for key in ("optimizer", "schedule", "random", "settings")}
    checkpoint.save(path, tensors={**weights, **slots}, manifest=manifest)


WRITERS = {
    "pth": pth_writer.write_zip,
    "old pth": pth_writer.write_legacy,
    "safetensors": lambda path, weights: write_safetensors(path, weights, {"format": "pt"}),
    "checkpoint": write_checkpoint,
}
