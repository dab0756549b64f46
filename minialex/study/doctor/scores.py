"""From what was measured to the numbers that are compared with limits."""

from __future__ import annotations

import math
from statistics import median

import numpy as np

from minialex.study.doctor import images
from minialex.study.doctor.measured import RunMeasures
from minialex.study.doctor.network import Labels, NetworkSigns
from minialex.wording import counted

MIN_STEPS = 20
"""Batches before which a loss that has not fallen yet says nothing."""

MIN_IMAGES = 12
"""Images below which a unit that is 0 on all of them may well not be dead."""

BETTER_THAN_GUESSING = 2.33
"""Standard deviations: of a normal distribution the upper 1 %."""


def scores(m: RunMeasures) -> dict[str, dict[str, float]]:
    """Return for each limit what is compared with it: by layer or class, or once for the run, "".

    What could not be looked at has none, and so has what cannot be a finding: a class that is
    predicted, slow updates of a run that has learnt, labels of a network that beats guessing.
    """
    found: dict[str, dict[str, float]] = {}
    if m.losses is not None:
        found["blown_up"] = {"": m.losses.peak / math.log(len(m.classes))}
        if m.losses.steps >= MIN_STEPS:
            found["stuck"] = {"": m.losses.progress}
    beats_guessing = m.validation is None or m.validation.unlikely >= BETTER_THAN_GUESSING
    if m.sample is not None and not beats_guessing:
        found["unrelated"] = {"": m.sample.unlikely}
    if m.signs is not None:
        if len(m.signs.predicted) >= MIN_IMAGES:
            found["dead"] = {one.layer: one.share for one in m.signs.dead}
        found["fast"] = {"": largest_update(m.signs)}
        if not _has_learnt(m):
            found["slow"] = {"": median(m.signs.updates.values())}
        ratios = gradient_ratios(m.signs).values()
        if ratios:
            found |= {"vanishing": {"": min(ratios)}, "exploding": {"": max(ratios)}}
        found["unpredicted"] = {m.classes[c]: p for c, (_, p) in never_predicted(m).items()}
        relabelled = exchanged(m)
        if relabelled is not None:
            found["exchanged"] = {"": relabelled[1] - relabelled[2]}
    return found


def too_little(m: RunMeasures) -> list[str]:
    """Return a line on each score that is left out because there is too little to go by."""
    lines = []
    if m.losses is not None and m.losses.steps < MIN_STEPS:
        steps = counted(m.losses.steps, "batch")
        lines.append(f"whether the loss falls: {steps} were trained on, {MIN_STEPS} are needed")
    if m.signs is not None and barely_begun(m):
        steps = counted(m.steps or 0, "batch")
        lines.append(
            f"whether each class is predicted: {steps} were trained on, {MIN_STEPS} are needed"
        )
    if m.signs is not None and len(m.signs.predicted) < MIN_IMAGES:
        images_seen = counted(len(m.signs.predicted), "training image")
        lines.append(f"dead ReLUs: three batches have {images_seen}, {MIN_IMAGES} are needed")
    return lines


def blind(m: RunMeasures) -> tuple[str, ...]:
    """Return which of network and loss could not be looked at."""
    looked_at = {"the network": m.signs, "the loss": m.losses}
    return tuple(what for what, seen in looked_at.items() if seen is None)


def barely_begun(m: RunMeasures) -> bool:
    """Whether so few batches were trained on that what is not learnt yet says nothing."""
    return m.steps is not None and m.steps < MIN_STEPS


def _has_learnt(m: RunMeasures) -> bool:
    """Whether small updates are those of a run that is nearly done: half of the loss is gone."""
    return m.losses is not None and m.losses.progress > 0.5


def largest_update(signs: NetworkSigns) -> float:
    """Return the median of ||step|| / ||weight||, of the weights now or at first, if larger.

    A rate that is too high has blown up the weights, so that a step is small beside them now.
    """
    return median(x * max(1.0, signs.growth[name]) for name, x in signs.updates.items())


def gradient_ratios(signs: NetworkSigns) -> dict[str, float]:
    """Return for each layer before the last two its gradient beside that of the last but one.

    The last layer begins with small weights, so the gradient of its output is no measure. None
    where that is 0: the loss is, and no layer has anything to learn of these images.
    """
    norms = signs.gradients
    if len(norms) < 3:
        return {}
    *earlier, hidden, last = norms
    if norms[last] == 0:
        return {}
    return {name: _quotient(norms[name], norms[hidden]) for name in earlier}


def _quotient(a: float, b: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return a / b if b else (math.inf if a else 0.0)


def never_predicted(m: RunMeasures) -> dict[int, tuple[int, float]]:
    """Return the classes that no image is taken for: how many are of each, and how likely that is.

    Were each image taken for its own class with the network's accuracy a, and else for any of the
    others, n images of N of a class of C would be passed over, and no other image taken for it,
    with (1 - a)^n (1 - (1 - a) / (C - 1))^(N - n). That is multiplied by the number of classes, for
    any of them might be it.
    """
    if m.signs is None or m.sample is None:
        return {}
    predicted, targets = m.signs.predicted, m.sample.targets
    N, C = len(targets), len(m.classes)
    there, said = (np.bincount(x, minlength=C) for x in (targets, predicted))
    # neither 0 nor 1, however few the images
    a = (int((predicted == targets).sum()) + 1) / (N + 2)
    found = {}
    for c in np.flatnonzero((there > 0) & (said == 0)).tolist():
        n = int(there[c])
        passed_over = (1 - a) ** n * (1 - (1 - a) / (C - 1)) ** (N - n)
        found[c] = n, min(1.0, passed_over * int((there > 0).sum()))
    return found


def exchanged(m: RunMeasures) -> tuple[Labels, float, float] | None:
    """Return as which classes the classes are predicted, the accuracy with these labels, and now.

    None where two classes are predicted as the same, or a class has no image in the batches.
    """
    if m.signs is None or m.sample is None:
        return None
    predicted, targets = m.signs.predicted, m.sample.targets
    as_class = images.exchange(predicted, targets, len(m.classes))
    if as_class is None:
        return None
    accuracy = float((predicted == as_class[targets]).mean())
    return as_class, accuracy, float((predicted == targets).mean())
