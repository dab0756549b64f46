"""Trained networks, loaded from a checkpoint, a run's folder or a file of weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from minialex import arrays
from minialex.arrays import Device
from minialex.errors import MinialexError
from minialex.models import AlexNet, alexnet
from minialex.train.factory import move_model
from minialex.train.run_folder import BEST_CHECKPOINT, LAST_CHECKPOINT
from minialex.train.settings import Settings
from minialex.weights import Checkpoint, WeightsFile, open_weights
from minialex.weights.pretrained import load_pretrained


@dataclass(frozen=True)
class Trained:
    """A network read from a file.

    Attributes
    ----------
    path : Path
        The file.
    model : AlexNet
        On the device that was asked for, in evaluation mode.
    classes : tuple of str
        Their names; empty where the file has none.
    settings : Settings
        Those of its run; for weights from elsewhere, the variant's image size and defaults.
    fold : (int, int) or None
        Which fold, from 1, of how many it was not trained on, if it comes from cross-validation.
    """

    path: Path
    model: AlexNet
    classes: tuple[str, ...]
    settings: Settings
    fold: tuple[int, int] | None = None


def load_trained(
    path: str | Path, *, device: str | Device = "auto", variant: str | None = None
) -> Trained:
    """Read a network from a checkpoint, the folder of a run, or a file of pretrained weights.

    Parameters
    ----------
    path : str or Path
        Of a run's folder the best checkpoint is taken.
    device : str or Device
    variant : str, optional
        The network that it must be. Weights from elsewhere do not say; "alexnet" is assumed.

    Raises
    ------
    MinialexError
        If there is no such file, it is damaged, or of another network.
    """
    where, saved = arrays.device(device), open_weights(checkpoint_in(path))
    if not isinstance(saved, Checkpoint):
        return _from_elsewhere(saved, variant or "alexnet", where)
    if variant is not None:
        saved.check_model(variant)
    settings = Settings.from_json(saved.manifest["settings"], saved.path)
    classes = saved.manifest["classes"]
    model = alexnet(settings.variant, saved.manifest["num_classes"], dropout=settings.dropout)
    saved.load_into(model)
    move_model(model, where).eval()
    fold = saved.manifest.get("fold")
    return Trained(
        saved.path, model, tuple(classes), settings, (fold[0], fold[1]) if fold else None
    )


def checkpoint_in(path: str | Path) -> Path:
    """Return `path`, or of a run's folder the best checkpoint, or else the last."""
    path = Path(path)
    # unlike Path's own, these are False too for a name that the system refuses to look up
    if not os.path.isdir(path):
        return path
    for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
        if os.path.exists(path / name):
            return path / name
    raise MinialexError(f"there is no checkpoint in {path}: name the folder of a run, or a file")


def _from_elsewhere(file: WeightsFile, variant: str, where: Device) -> Trained:
    bias = file.parameters.get(f"{alexnet(variant, 1).last_layer}.bias")
    model = alexnet(variant, 1 if bias is None else max(1, int(bias.size)))
    load_pretrained(model, file.parameters)
    move_model(model, where).eval()
    size = model.variant.image_size
    return Trained(file.path, model, (), Settings(variant=variant, image_size=size))
