"""Evaluating a network: loss, top-1, top-5, precision and recall per class, confusion matrix."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array, array_module, on_device, to_numpy
from minialex.autograd import Tensor, no_grad
from minialex.data import Batch, DataLoader
from minialex.errors import MinialexError
from minialex.evaluation.batch_memory import translate_memory_error
from minialex.nn import Module
from minialex.ops import cross_entropy
from minialex.wording import counted

Counts = npt.NDArray[np.int64]
TOP_K = 5


class NonFiniteOutputsError(MinialexError):
    """A network's outputs are not finite, so that they predict no class."""

    def __init__(self) -> None:
        super().__init__(
            "the network's outputs are not finite: "
            "use other weights, or train again with a lower learning rate"
        )


@dataclass(frozen=True)
class ClassMetrics:
    """Precision, recall and F1 of one class, in percent.

    Attributes
    ----------
    name : str
    precision : float
        Of the images predicted as this class, the share that are; 0 where there are none.
    recall : float
        Of the images of this class, the share predicted as it; 0 where there are none.
    f1 : float
        The harmonic mean of the two; 0 where both are.
    support : int
        The number of images of this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """The result of a network on a set of images.

    Attributes
    ----------
    classes : tuple of str
    loss : float
        The mean cross-entropy, without class weights or label smoothing.
    confusion : (C, C) int64
        The number of images by true class (row) and predicted class (column).
    top5_correct : int
        The number of images whose class was among the five likeliest.
    """

    classes: tuple[str, ...]
    loss: float
    confusion: Counts
    top5_correct: int

    @property
    def images(self) -> int:
        """The number of images."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """The number of images that were classified correctly."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share of images that were classified correctly, in percent."""
        return 100 * self.correct / self.images

    @property
    def top5_accuracy(self) -> float:
        """The share of images whose class was among the five likeliest, in percent."""
        return 100 * self.top5_correct / self.images

    def __repr__(self) -> str:
        return (
            f"Evaluation({counted(len(self.classes), 'class')}, accuracy {self.accuracy:.2f} % of "
            f"{counted(self.images, 'image')}, loss {self.loss:.4f})"
        )

    def per_class(self) -> list[ClassMetrics]:
        """Return precision, recall, F1 and support of every class."""
        correct = np.diagonal(self.confusion)
        predicted, support = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        precision, recall = _percent(correct, predicted), _percent(correct, support)
        f1 = _percent(2 * correct, predicted + support)
        columns = (x.tolist() for x in (precision, recall, f1, support))
        return [ClassMetrics(*row) for row in zip(self.classes, *columns, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold, percentages to two decimals."""
        return {
            "images": self.images,
            "correct": self.correct,
            "accuracy": round(self.accuracy, 2),
            "top5_accuracy": round(self.top5_accuracy, 2),
            "loss": self.loss,
            "classes": [
                {
                    "name": c.name,
                    "precision": round(c.precision, 2),
                    "recall": round(c.recall, 2),
                    "f1": round(c.f1, 2),
                    "support": c.support,
                }
                for c in self.per_class()
            ],
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    model: Module,
    loader: DataLoader,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a network on the images of a loader.

    Parameters
    ----------
    model : Module
        From images (N, 3, S, S) to logits (N, C), where C is the number of the data's classes.
        Its mode, training or evaluation, is the same afterwards.
    loader : DataLoader
        Its transform should be deterministic: see `minialex.data.eval_transform`.
    progress : callable, optional
        Called with the number of images evaluated so far and in all.

    Raises
    ------
    ValueError
        If the network has another number of classes.
    MinialexError
        If there are no images, one cannot be read, memory does not suffice, or the network's
        outputs are not finite.
    """
    if not len(loader.dataset):
        raise MinialexError(
            "there are no images to evaluate on: add some, or choose another folder"
        )
    totals = _Totals(loader.dataset.classes)
    training = model.training
    model.eval()
    try:
        with (
            no_grad(),
            on_device(loader.device),
            translate_memory_error(loader.device, loader.batch_size, loader.transform.size),
            # losses that are not finite are found at the end
            np.errstate(all="ignore"),
            contextlib.closing(loader.epoch(0)) as batches,
        ):
            for batch in batches:
                totals.add(model(Tensor(batch.images)), batch)
                if progress is not None:
                    progress(totals.images, len(loader.dataset))
    finally:
        model.train(training)
    return totals.evaluation()


class _Totals:
    """Totals that stay on the device until all images are done."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.images = 0
        self.loss: Any = 0.0
        self.confusion: Any = 0
        self.top5: Any = 0

    def add(self, logits: Tensor, batch: Batch) -> None:
        C = len(self.classes)
        if logits.shape != (len(batch), C):
            raise ValueError(
                f"evaluate: the network gives {logits.shape[1:]} outputs per image, "
                f"but the data has {counted(C, 'class')}"
            )
        x, t = logits.data, batch.targets
        xp = array_module(x)
        self.images += len(batch)
        loss = cross_entropy(logits, t, reduction="sum").data
        self.loss = self.loss + loss.astype(np.float64)
        # counted on the device: scikit-learn's confusion_matrix, 1 s to import, does it on the host
        counts = xp.bincount(t * C + x.argmax(axis=1), minlength=C * C)
        self.confusion = self.confusion + counts
        self.top5 = self.top5 + (target_rank(x, t) < TOP_K).sum()

    def evaluation(self) -> Evaluation:
        loss = float(self.loss) / self.images
        if not math.isfinite(loss):
            raise NonFiniteOutputsError
        C = len(self.classes)
        confusion = to_numpy(self.confusion).astype(np.int64).reshape(C, C)
        return Evaluation(self.classes, loss, confusion, int(self.top5))


def target_rank(logits: Array, targets: Array) -> Array:
    """Return the rank of the target class from 0, (N,) int64; ties are broken by class number.

    Parameters
    ----------
    logits : (N, C) floats
    targets : (N,) integers
    """
    xp = array_module(logits)
    t = targets[:, None]
    target = xp.take_along_axis(logits, t, axis=1)
    before = (logits > target) | ((logits == target) & (xp.arange(logits.shape[1]) < t))
    return before.sum(axis=1)  # type: ignore[no-any-return]


def _percent(part: Counts, whole: Counts) -> npt.NDArray[np.float64]:
    return 100 * part / np.maximum(whole, 1)
