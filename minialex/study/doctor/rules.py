"""From scores to what is wrong: one function for each kind of finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from statistics import median
from typing import TypeAlias

import numpy as np

from minialex.study.doctor.measured import RunMeasures
from minialex.study.doctor.report import RunFinding
from minialex.study.doctor.scores import (
    barely_begun,
    exchanged,
    gradient_ratios,
    never_predicted,
    scores,
)
from minialex.wording import counted, enumerated


@dataclass(frozen=True)
class Limits:
    """From where on a score is a finding.

    Fixed by ``python -m tests.campaigns.doctor``: they make the fewest mistakes on one half of
    its runs. docs/doctor.md says how many they make on the other half.

    Attributes
    ----------
    stuck : float
        The loss has come at most this share of the way from guessing to 0.
    dead : float
        At least this share of a layer's units is dead.
    fast, slow : float
        The median over the weights of ||step|| / ||weight|| is at least, or at most, this.
    blown_up : float
        The loss was at least so many times ln C.
    vanishing, exploding : float
        The gradient of a layer, beside that of the last hidden one, is at most, or at least, this.
    unpredicted : float
        That no image is taken for a class is at most so likely by chance: see `never_predicted`.
    unrelated : float
        Nearest neighbours have the same label at most so many standard deviations more often than
        by chance.
    exchanged : float
        The accuracy is higher by at least this with labels exchanged.
    """

    stuck: float = 0.024
    dead: float = 0.59
    fast: float = 0.16
    blown_up: float = 4.3
    slow: float = 1e-05
    vanishing: float = 0.0075
    exploding: float = 25.0
    unpredicted: float = 0.18
    unrelated: float = 3.2
    exchanged: float = 0.55


LIMITS = Limits()

AT_MOST = frozenset({"stuck", "slow", "vanishing", "unpredicted", "unrelated"})
"""Limits of which a finding stays below; above the others."""

CONSTANT_LEVELS = 2.0
"""An image that spans at most so many of 255 levels is constant: what JPEG makes of one colour."""

USUAL_UPDATE = 1e-3
USUAL = f"usual is about {USUAL_UPDATE:g}"

LOW_UPDATE = 1e-4
"""Steps that change the weights by less may well be why a loss does not fall."""

NAMED = 3
"""Files that are named as examples."""

Beyond: TypeAlias = Mapping[str, Mapping[str, float]]
"""For each limit the scores that are beyond it, as `scores` returns them."""


def findings(m: RunMeasures, limits: Limits = LIMITS) -> tuple[RunFinding, ...]:
    """Return what is wrong with a run by what was measured of it, in the order of `KINDS`."""
    measured, beyond = scores(m), {}
    for name, limit in asdict(limits).items():
        sign = -1 if name in AT_MOST else 1
        own = measured.get(name, {})
        beyond[name] = {w: score for w, score in own.items() if sign * score >= sign * limit}
    return tuple(finding for rule in _RULES for finding in rule(m, beyond))


def sorted_out(
    m: RunMeasures, found: tuple[RunFinding, ...]
) -> tuple[tuple[RunFinding, ...], tuple[RunFinding, ...]]:
    """Return the findings that stand for themselves, and those that they explain.

    A network whose loss is that of guessing, or whose run did not get past its warm-up, passes
    classes over as a matter of course. After a few batches any does: that is left out.
    """
    passed_over = tuple(one for one in found if one.kind == "unpredicted")
    others = tuple(one for one in found if one.kind != "unpredicted")
    if barely_begun(m):
        return others, ()
    if any(one.kind in ("stuck", "warmup") for one in others):
        return others, passed_over
    return found, ()


def _stuck(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    if m.losses is None or not beyond["stuck"]:
        return
    tail, guessing, C = m.losses.tail, m.losses.guessing, len(m.classes)
    evidence = (
        f"training loss {tail:.4g} over the last quarter of {counted(m.losses.steps, 'step')}; "
        f"guessing without looking gives {guessing:.4g} (ln {C} is {np.log(C):.4g})"
    )
    numbers = {"tail": tail, "guessing": guessing, "progress": m.losses.progress}
    cause = (
        "nothing that the images say reaches the outputs: a rate that is far too low or too high, "
        "weights that pass no gradient, or labels that have nothing to do with the images"
    )
    advice = (
        "look at the other findings first; then try to overfit twenty images with --dropout 0, "
        "which a network that works can"
    )
    update = median(m.signs.updates.values()) if m.signs else USUAL_UPDATE
    # where no gradient arrives a higher rate is of no use
    if update < LOW_UPDATE and not beyond["vanishing"]:
        lr = m.settings.lr
        evidence += f"; {_step_of(update)}"
        numbers["update"] = update
        cause = f"the rate {lr:g} is low for {m.settings.optimizer}: look at it first; or {cause}"
        advice = f"try --lr {lr * 10:.2g}; if that does not help, {advice}"
    yield RunFinding("stuck", "", evidence, numbers, cause, advice)


def _step_of(ratio: float) -> str:
    return (
        f"a step at the full rate changes the weights by {ratio:.2g} of their size (median; "
        f"{USUAL})"
    )


def _dead(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    shares = beyond["dead"]
    if m.signs is None or not shares:
        return
    layers = [
        f"{one.layer} {one.dead:,} of {one.units:,}" for one in m.signs.dead if one.layer in shares
    ]
    yield RunFinding(
        "dead",
        enumerated([*shares]),
        f"units that are 0 on all {_images(m)}: {', '.join(layers)}",
        {"share": dict(shares)},
        "a step that was too large, or the first weights, brought biases so low that no input "
        "makes up for them; a unit without output gets no gradient, and does not come back",
        "start again with a lower --lr or a longer --warmup; look at weights from --pretrained",
    )


def _fast(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    evidence, numbers = [], {"lr": m.settings.lr}
    for ratio in beyond["fast"].values():
        growth = median(m.signs.growth.values()) if m.signs else 1.0
        evidence.append(
            f"a step changes the weights by {ratio:.2g} of what they were at first or are now "
            f"(median; {USUAL}); they have {growth:.3g} times their first norm"
        )
        numbers |= {"update": ratio, "growth": growth}
    if m.losses is not None and beyond["blown_up"]:
        peak, C = m.losses.peak, len(m.classes)
        evidence.append(
            f"the training loss was {peak:.4g} at step {m.losses.peak_step:,}, ln {C} is "
            f"{np.log(C):.4g}"
        )
        numbers["peak"] = peak
    if evidence:
        yield RunFinding(
            "fast",
            "",
            "; ".join(evidence),
            numbers,
            f"the rate {m.settings.lr:g} is too high for {m.settings.optimizer}, or the first "
            "weights were too large",
            f"try --lr {m.settings.lr / 10:.2g}, a longer --warmup, or --clip 1",
        )


def _slow(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    for ratio in beyond["slow"].values():
        yield RunFinding(
            "slow",
            "",
            _step_of(ratio),
            {"update": ratio, "lr": m.settings.lr},
            f"the rate {m.settings.lr:g} is too low for {m.settings.optimizer}, or there are next "
            "to no gradients",
            f"try --lr {m.settings.lr * 10:.2g}, if no layer's gradients vanish",
        )


def _vanishing(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    for ratio in beyond["vanishing"].values():
        layer = _layer_of(m, ratio)
        yield RunFinding(
            "vanishing",
            layer,
            f"the gradient at {layer} has {ratio:.2g} times the norm that it has at the last "
            "hidden layer",
            {"ratio": ratio, "ratios": gradient_ratios(m.signs) if m.signs else {}},
            "each layer makes the gradient smaller: its weights are too small, or its units dead",
            "begin with weights of He's size, which is what no --pretrained gives; where units are "
            "dead, a lower --lr",
        )


def _exploding(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    for ratio in beyond["exploding"].values():
        layer = _layer_of(m, ratio)
        size = f"{ratio:.2g} times the" if isfinite(ratio) else "infinitely many times the"
        yield RunFinding(
            "exploding",
            layer,
            f"the gradient at {layer} has {size} norm that it has at the last hidden layer",
            {"ratio": ratio, "ratios": gradient_ratios(m.signs) if m.signs else {}},
            "each layer makes the gradient larger: its weights are too large",
            "begin with weights of He's size, which is what no --pretrained gives, or try --clip 1 "
            "and a lower --lr",
        )


def _layer_of(m: RunMeasures, ratio: float) -> str:
    ratios = gradient_ratios(m.signs) if m.signs else {}
    return next(name for name, own in ratios.items() if own == ratio)


def _unpredicted(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    chances = beyond["unpredicted"]
    if not chances:
        return
    counts = {m.classes[c]: n for c, (n, _) in never_predicted(m).items()}
    names = [f"{name!r} ({counted(counts[name], 'image')})" for name in chances]
    yield RunFinding(
        "unpredicted",
        enumerated([repr(name) for name in chances]),
        f"none of {_images(m)} is taken for {enumerated(names)}; by chance that is as likely as "
        f"{max(chances.values()):.2g}",
        {"images": {name: counts[name] for name in chances}, "chance": dict(chances)},
        "the class has far fewer images than others, its images look like another's, or the "
        "network has not learnt to tell images apart",
        "count the images of each class; try --class-weights balanced, and train for longer",
    )


def _constant(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    where = np.flatnonzero(m.sample.levels <= CONSTANT_LEVELS) if m.sample else np.array([])
    if m.sample is None or not where.size:
        return
    names = [m.sample.names[i] for i in where]
    widest = float(m.sample.levels[where].max())
    yield RunFinding(
        "constant",
        "",
        f"{where.size} of {counted(len(m.sample.names), 'image')} span at most {widest:.2g} of 255 "
        f"levels: {enumerated(names, NAMED)}",
        {"constant": int(where.size), "images": len(m.sample.names), "names": names},
        "a download or a conversion that failed, or a sensor that was covered",
        "look at these files, and remove them or make them anew",
    )


def _duplicates(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    if not m.copies:
        return
    pairs = [f"{val} = {train}" for val, train in m.copies]
    yield RunFinding(
        "duplicates",
        "",
        f"{counted(len(pairs), 'validation image')} byte for byte among the training images: "
        f"{enumerated(pairs, NAMED)}",
        {"copies": len(pairs), "pairs": [list(pair) for pair in m.copies]},
        "the images were split after copies had been made of them",
        "remove the copies: validation accuracy is too high with them",
    )


def _changed(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    if m.changed:
        yield RunFinding(
            "labels",
            "",
            f"the images are not those that the run was trained on: {m.changed}",
            {"changed": m.changed},
            "folders were renamed, or files moved, added or removed, since the run",
            "restore the folder; classes are numbered in the order of their folders' names",
        )


def _exchanged(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    found = exchanged(m) if beyond["exchanged"] else None
    if found is None:
        return
    as_class, then, now = found
    pairs = [(m.classes[c], m.classes[to]) for c, to in enumerate(as_class.tolist()) if c != to]
    taken = enumerated([f"{name!r} is taken for {other!r}" for name, other in pairs])
    yield RunFinding(
        "labels",
        enumerated([repr(name) for name, _ in pairs]),
        f"{100 * now:.3g} % of {_images(m)} are right, and {100 * then:.3g} % would be with "
        f"labels exchanged: {taken}",
        {"accuracy": now, "exchanged": then, "pairs": [list(pair) for pair in pairs]},
        "the labels come in another order than those that the network was trained with",
        "compare the order of the classes: by the folders' names, or as --classes has them",
    )


def _unrelated(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    sample, val = m.sample, m.validation
    if sample is None or val is None or not beyond["unrelated"]:
        return
    yield RunFinding(
        "labels",
        "",
        f"{sample.agree} of {_images(m)} have the label of the image most like them, "
        f"{sample.by_chance:.3g} would by chance; {val.correct} of "
        f"{counted(val.images, 'validation image')} are right, {val.majority * val.images:.3g} "
        "by guessing",
        {"agree": sample.agree, "by_chance": sample.by_chance, "deviations": sample.unlikely}
        | {"correct": val.correct, "images": val.images, "majority": val.majority},
        "the labels say nothing about the images, as if they had been shuffled; or the images are "
        "too different to be compared pixel by pixel",
        "look at ten images of each class folder",
    )


def _warmup(m: RunMeasures, beyond: Beyond) -> Iterator[RunFinding]:
    if m.planned is None or not m.steps:
        return
    warmup, total = m.planned
    # a run that blew up ended there for another reason
    if warmup < 2 or m.steps > warmup or beyond["blown_up"]:
        return
    highest = m.settings.lr * m.steps / warmup
    whole = m.steps >= total
    yield RunFinding(
        "warmup",
        "",
        f"{counted(m.steps, 'step')} of {total:,} were taken, and the warm-up is "
        f"{counted(warmup, 'batch')} long: the rate came to {highest:.3g}, the full one is "
        f"{m.settings.lr:g}",
        {"steps": m.steps, "planned": total, "warmup": warmup, "highest": highest},
        "the warm-up is as long as the run"
        if whole
        else "the run was stopped in its warm-up, or ended there with a loss that is not finite",
        f"try --warmup {total // 10}, or more --epochs"
        if whole
        else "go on with --resume; if the loss was not finite, start again with a lower --lr",
    )


_RULES: tuple[Callable[[RunMeasures, Beyond], Iterator[RunFinding]], ...] = (
    _stuck,
    _dead,
    _fast,
    _slow,
    _vanishing,
    _exploding,
    _unpredicted,
    _constant,
    _duplicates,
    _changed,
    _exchanged,
    _unrelated,
    _warmup,
)


def _images(m: RunMeasures) -> str:
    return counted(len(m.sample.names) if m.sample else 0, "training image")
