"""The doctor: each finding on what it is for and not on what is sound, and nothing is written."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minialex
from minialex import arrays
from minialex.autograd import Tensor
from minialex.data import Digits, Subset
from minialex.errors import MinialexError
from minialex.kfold.folds import kfold
from minialex.models import alexnet
from minialex.nn import ReLU
from minialex.ops import cross_entropy
from minialex.persistence import load_trained
from minialex.study.doctor import KINDS, RunReport, examine, images
from minialex.study.doctor.measured import (
    ImageSigns,
    Losses,
    RunMeasures,
    Validation,
    guessing_loss,
    measure,
)
from minialex.study.doctor.network import DeadUnits, NetworkSigns, look, take_batches
from minialex.study.doctor.reading import open_run
from minialex.study.doctor.rules import findings, sorted_out
from minialex.study.doctor.scores import too_little
from minialex.study.doctor.text import lines
from minialex.train.factory import open_data
from minialex.train.given import make_settings
from minialex.train.run import train
from minialex.train.settings import Settings
from tests.small_runs import small, write_images

TARGETS = np.repeat(np.arange(3), 8)
GRADIENTS = {"features.0": 0.2, "features.3": 0.3, "classifier.4": 0.25, "classifier.6": 1.0}


def sound(**changes):
    """Return what is measured of a run of three classes with which nothing is wrong, but for."""
    sample = ImageSigns([f"{i}.png" for i in range(24)], TARGETS, np.full(24, 200.0), 20, 7.3)
    signs = NetworkSigns(
        predicted=TARGETS.copy(),
        dead=(DeadUnits("features.1", 3, 32), DeadUnits("classifier.2", 60, 256)),
        gradients=GRADIENTS,
        updates={"features.0.weight": 1e-3, "features.3.weight": 2e-3, "classifier.6.weight": 0.01},
        growth={"features.0.weight": 1.1, "features.3.weight": 1.0, "classifier.6.weight": 3.0},
    )
    usual = {
        "path": Path("run"),
        "settings": Settings(lr=0.01, optimizer="sgd"),
        "steps": 100,
        "planned": (10, 100),
        "classes": ["a", "b", "c"],
        "losses": Losses(tail=0.4, peak=1.2, peak_step=3, steps=100, guessing=math.log(3)),
        "validation": Validation(correct=20, images=24, majority=1 / 3),
        "sample": sample,
        "signs": signs,
    }
    return RunMeasures(**usual | changes)


def with_signs(**changes):
    return sound(signs=replace(sound().signs, **changes))


def losses(**changes):
    return replace(sound().losses, **changes)


def relabelled(order):
    """Return what is measured where each class is taken for the one that `order` names."""
    return with_signs(predicted=np.asarray(order)[TARGETS])


def of_few_images(**changes):
    sample = replace(sound().sample, targets=TARGETS[::3])
    signs = replace(sound().signs, predicted=TARGETS[::3], **changes)
    return sound(sample=sample, signs=signs)


def rare_class(count):
    """Return what is measured where `count` images of "b" are taken for "a"."""
    targets = np.repeat(np.arange(3), (20 - count, count, 4))
    sample = replace(sound().sample, targets=targets)
    return sound(
        sample=sample,
        signs=replace(sound().signs, predicted=np.where(targets == 1, 0, targets)),
    )


FAULTY = {
    "stuck": (sound(losses=losses(tail=1.097)), "training loss 1.097 over the last quarter of 100"),
    "dead": (
        with_signs(dead=(DeadUnits("features.1", 3, 32), DeadUnits("classifier.2", 250, 256))),
        "classifier.2 250 of 256",
    ),
    "fast": (
        with_signs(updates={"features.0.weight": 0.7}, growth={"features.0.weight": 4.0}),
        "by 2.8 of what they were at first or are now (median; usual is about 0.001); they have 4 ",
    ),
    "fast, by the loss": (
        sound(losses=losses(peak=4321.0)),
        "loss was 4321 at step 3, ln 3 is 1.0",
    ),
    "slow": (
        sound(
            signs=replace(sound().signs, updates={"features.0.weight": 2e-7}),
            losses=losses(tail=0.9),
        ),
        "by 2e-07 of their size",
    ),
    "vanishing": (
        with_signs(gradients=GRADIENTS | {"features.0": 2.5e-7}),
        "at features.0 has 1e-06 times the norm",
    ),
    "vanishing, to nothing": (with_signs(gradients=GRADIENTS | {"features.0": 0.0}), "has 0 times"),
    "exploding": (
        with_signs(gradients=GRADIENTS | {"features.3": 2500.0}),
        "at features.3 has 1e+04 times the norm",
    ),
    "exploding, beyond floats": (
        with_signs(gradients=GRADIENTS | {"features.0": math.inf}),
        "has infinitely many times the norm",
    ),
    "unpredicted": (
        with_signs(predicted=np.where(TARGETS == 1, 0, TARGETS)),
        "none of 24 training images is taken for 'b' (8 images)",
    ),
    "constant": (
        sound(sample=replace(sound().sample, levels=np.array([0.0, 1.5] + 22 * [90.0]))),
        "2 of 24 images span at most 1.5 of 255 levels: 0.png, 1.png",
    ),
    # 19 of 24 are right, so a = 20 / 26; (6 / 26)^5 (1 - 3 / 26)^19 is 6.4e-5, for three classes
    "unpredicted, of few": (rare_class(5), "by chance that is as likely as 0.00019"),
    "duplicates": (sound(copies=[("v/1.png", "t/9.png")]), "1 validation image byte for byte"),
    "labels": (relabelled([1, 0, 2]), "33.3 % of 24 training images are right, and 100 % would"),
    "labels, of other images": (sound(changed="class 'a' had 8"), "trained on: class 'a' had 8"),
    "labels, of noise": (
        sound(
            sample=replace(sound().sample, agree=7),
            validation=Validation(correct=8, images=24, majority=1 / 3),
        ),
        "7 of 24 training images have the label of the image most like them, 7.3 would by chance; "
        "8 of 24 validation images are right, 8 by guessing",
    ),
    "warmup": (
        sound(planned=(100, 100)),
        "100 steps of 100 were taken, and the warm-up is 100 batches long: the rate came to 0.01",
    ),
    "warmup, stopped in it": (
        sound(planned=(200, 2000)),
        "of 2,000 were taken, and the warm-up is 200 batches long: the rate came to 0.005",
    ),
}


@pytest.mark.parametrize("case", FAULTY)
def test_each_finding_speaks_with_its_number_and_no_other_speaks(case):
    m, evidence = FAULTY[case]
    (found,) = findings(m)
    assert found.kind == case.split(",")[0]
    assert evidence in found.evidence
    assert found.cause
    assert found.advice


def test_every_kind_has_a_case_and_a_sound_run_none():
    assert {case.split(",")[0] for case in FAULTY} == KINDS.keys()
    assert findings(sound()) == ()


@pytest.mark.parametrize(
    "m",
    [
        with_signs(dead=(DeadUnits("features.1", 20, 40),)),
        # small steps of a run that is nearly done
        sound(signs=replace(sound().signs, updates={"w": 2e-7}, growth={"w": 1.0})),
        # nothing is left to learn of these images
        with_signs(gradients=dict.fromkeys(GRADIENTS, 0.0)),
        # fewer images than chance may pass over
        replace(rare_class(1), classes=list("abcdefghijkl")),
        # a loss that has had no time to fall
        sound(losses=losses(tail=1.097, steps=12), steps=12),
        # neighbours that say nothing about a network that has learnt all the same
        sound(sample=replace(sound().sample, agree=7)),
        # the same, the other way round
        sound(validation=Validation(correct=8, images=24, majority=1 / 3)),
        # too few images to call a unit dead
        of_few_images(dead=(DeadUnits("features.1", 30, 32),)),
        # a warm-up of one batch is none
        sound(planned=(1, 1), steps=1),
    ],
)
def test_what_only_looks_like_a_finding_is_none(m):
    assert findings(m) == ()


def test_what_is_not_finite_is_none_in_json():
    m, _ = FAULTY["exploding, beyond floats"]
    record = RunReport("run", 100, 24, findings(m)).to_json()
    (found,) = json.loads(json.dumps(record, allow_nan=False))["findings"]
    assert (found["kind"], found["numbers"]["ratio"]) == ("exploding", None)
    assert found["numbers"]["ratios"]["features.3"] == pytest.approx(1.2)


def test_what_there_is_too_little_of_is_said():
    early = sound(losses=losses(steps=12), steps=12)
    assert too_little(early) == [
        "whether the loss falls: 12 batches were trained on, 20 are needed",
        "whether each class is predicted: 12 batches were trained on, 20 are needed",
    ]
    assert too_little(sound()) == []


PASSED_OVER = FAULTY["unpredicted"][0]


@pytest.mark.parametrize(
    ("changes", "found", "follows"),
    [
        ({}, ["unpredicted"], []),
        ({"losses": losses(tail=1.097)}, ["stuck"], ["unpredicted"]),
        ({"planned": (200, 2000)}, ["warmup"], ["unpredicted"]),
        ({"losses": losses(steps=12), "steps": 12}, [], []),
        ({"losses": losses(steps=12), "steps": 12, "planned": (30, 60)}, ["warmup"], []),
    ],
)
def test_a_class_that_is_passed_over_for_another_reason_is_no_finding(changes, found, follows):
    m = replace(PASSED_OVER, **changes)
    every = findings(m)
    own, others = sorted_out(m, every)
    assert ([one.kind for one in own], [one.kind for one in others]) == (found, follows)
    # what the limits are fixed by counts it all the same
    assert "unpredicted" in [one.kind for one in every]


def test_what_follows_is_listed_last():
    m = replace(PASSED_OVER, planned=(200, 2000))
    own, others = sorted_out(m, findings(m))
    text = lines(RunReport("run", 100, 24, own, follows=others))
    assert text[0] == "run after 100 steps: 1 finding, by 24 training images"
    assert text[-2] == "follows from the above"
    assert text[-1].startswith("   a class is never predicted: none of 24 training images is taken")


@pytest.mark.parametrize(
    ("update", "changes", "named"),
    [
        (5e-5, {}, True),
        (2e-4, {}, False),
        (5e-5, {"gradients": GRADIENTS | {"features.0": 1e-9}}, False),
    ],
)
def test_a_loss_that_does_not_fall_by_small_steps_names_the_rate_first(update, changes, named):
    signs = replace(sound().signs, updates={"features.0.weight": update}, **changes)
    stuck = findings(sound(losses=losses(tail=1.097), signs=signs))[0]
    assert stuck.kind == "stuck"
    said = f"a step at the full rate changes the weights by {update:.2g} of their size"
    assert (said in stuck.evidence) == named
    assert stuck.cause.startswith("the rate 0.01 is low for sgd: look at it first") == named
    assert stuck.advice.startswith("try --lr 0.1; if that does not help, look at") == named
    assert stuck.numbers.get("update") == (update if named else None)


def test_what_was_not_looked_at_is_no_finding():
    nothing = RunMeasures(Path("run"), Settings(), None, None, [])
    assert findings(nothing) == ()


# What is measured ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "photos", each=8)


@pytest.fixture(scope="module")
def ill(photos, tmp_path_factory):
    """Return the folder of a run that began with units that are dead, by SGD without momentum."""
    there = tmp_path_factory.mktemp("ill")
    model = alexnet("alexnet-mini", 3)
    model.classifier[1].bias.data[:240] = -1e3
    minialex.save(model, there / "first.safetensors")
    options = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "dropout": 0.0}
    train(
        small(
            photos,
            **options,
            lr=1e-3,
            epochs=5,
            pretrained=str(there / "first.safetensors"),
            out=str(there / "run"),
        )
    )
    return there / "run"


def content(folder):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }


def test_nothing_is_written(ill, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = content(ill), content(photos)
    report = examine(ill, device="cpu")
    assert (content(ill), content(photos)) == before
    assert not list(tmp_path.iterdir())
    assert report.images == 15
    assert report.steps == 20
    (dead,) = report.of("dead")
    assert dead.where == "classifier.2"
    text = "\n".join(lines(report))
    assert f"{KINDS['dead']}: classifier.2" in text
    assert dead.evidence in text


@pytest.fixture(scope="module")
def looked_at(ill):
    """Return a run, three batches of its images, and what its last network made of them."""
    run = open_run(ill)
    batches = take_batches(run.settings, run.data, arrays.CPU)
    return run, batches, look(run.settings, run.saved, run.data, batches)


@pytest.fixture
def last(ill):
    """Return its last network, read apart."""
    return load_trained(ill / "last.safetensors", device="cpu").model


def test_dead_units_are_those_that_no_image_brings_above_zero(looked_at, last):
    _, batches, signs = looked_at
    shares = {}

    def count(name):
        def hook(module, xs, y):
            fires = (y.numpy() > 0).any(axis=(0, *range(2, y.ndim)))
            shares[name] = 1 - float(fires.mean())

        return hook

    for name, module in last.named_modules():
        if isinstance(module, ReLU):
            module.register_forward_hook(count(name))
    last(Tensor(batches.images))
    assert {one.layer: one.share for one in signs.dead} == pytest.approx(shares)
    assert shares["classifier.2"] >= 240 / 256


def test_updates_and_gradients_are_those_of_three_batches(looked_at, last):
    run, batches, signs = looked_at
    z = last(Tensor(batches.images))
    t = batches.targets
    assert signs.predicted.tolist() == z.numpy().argmax(1).tolist()
    # three batches of five: the mean of their gradients is that of all fifteen
    cross_entropy(z, t).backward()
    weights = {name: p for name, p in last.named_parameters() if p.ndim > 1}
    # of SGD without momentum a step is the rate times the gradient
    for name, p in weights.items():
        step = run.settings.lr * np.linalg.norm(p.grad) / np.linalg.norm(p.numpy())
        assert signs.updates[name] == pytest.approx(step, rel=1e-3, abs=1e-7)
        assert signs.growth[name] == pytest.approx(1, abs=0.05)
    # d loss / d logits = softmax - one-hot
    e = np.exp(z.numpy().astype(np.float64))
    squares = np.square(e / e.sum(1, keepdims=True) - np.eye(3)[t]).sum(1)
    assert signs.gradients["classifier.6"] == pytest.approx(np.sqrt(squares.mean()), rel=1e-4)
    assert [*signs.gradients] == [name.removesuffix(".weight") for name in weights]


def test_a_rate_that_has_blown_up_the_weights_shows_in_their_growth(looked_at):
    run, batches, _ = looked_at
    larger = run.saved.parameters | {
        name: 50 * x for name, x in run.saved.parameters.items() if name == "features.0.weight"
    }
    saved = replace(run.saved, tensors=run.saved.tensors | larger)
    growth = look(run.settings, saved, run.data, batches).growth
    assert growth["features.0.weight"] == pytest.approx(50, rel=0.01)
    assert growth["features.3.weight"] == pytest.approx(1, abs=0.05)


def test_what_is_missing_is_named_and_the_rest_is_looked_at(ill, photos, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(ill, run)
    (run / "last.safetensors").unlink()
    report = examine(run, device="cpu")
    (unseen,) = report.unseen
    assert unseen.startswith(
        "the network: there is no last.safetensors: it was removed, or the run "
    )
    assert unseen.endswith("as one does that is killed or whose loss is not finite")
    assert report.blind == ("the network",)
    assert (report.steps, report.images, report.of("dead")) == (20, 15, [])
    shutil.copy(ill / "last.safetensors", run)
    (run / "metrics.jsonl").unlink()
    report = examine(run, device="cpu")
    assert report.unseen == ("the loss: there is no metrics.jsonl",)
    assert report.blind == ("the loss",)
    assert [one.where for one in report.of("dead")] == ["classifier.2"]
    (run / "settings.json").unlink()
    assert examine(run, device="cpu").of("dead") == report.of("dead")
    (run / "last.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(MinialexError, match=r"cannot read .*settings\.json"):
        examine(run, device="cpu")


def test_a_loss_that_is_not_finite_and_a_class_that_is_not_among_the_images(ill, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(ill, run)
    text = (run / "metrics.jsonl").read_text().splitlines()
    record = json.loads(text[-2]) | {"loss": None, "split": "train"}
    (run / "metrics.jsonl").write_text("\n".join([*text, json.dumps(record)]) + "\n")
    settings = (run / "settings.json").read_text()
    (run / "settings.json").write_text(settings.replace('"batch_size": 5', '"batch_size": 1'))
    report = examine(run, device="cpu")
    (fast,) = report.of("fast")
    assert "the training loss was inf at step 20" in fast.evidence
    assert report.images == 3
    m = measure(open_run(run), "cpu")
    absent = {"blue", "green", "red"} - {m.classes[c] for c in m.sample.targets}
    assert report.unseen == (
        f"whether these are predicted: none of 3 training images is of class "
        f"{', '.join(map(repr, sorted(absent)))}",
        "dead ReLUs: three batches have 3 training images, 12 are needed",
    )
    assert absent


def test_images_that_are_gone_or_renamed(ill, photos, tmp_path):
    run, own = tmp_path / "run", tmp_path / "photos"
    shutil.copytree(ill, run)
    shutil.copytree(photos, own)
    settings = (run / "settings.json").read_text().replace(str(photos), str(own))
    (run / "settings.json").write_text(settings)
    assert examine(run, device="cpu").of("labels") == []
    assert examine(run, device="cpu").blind == ()
    (own / "red").rename(own / "amber")
    (changed,) = examine(run, device="cpu").of("labels")
    assert "the classes were blue, green, red, and are amber, blue, green" in changed.evidence
    shutil.rmtree(own)
    report = examine(run, device="cpu")
    assert report.images == 0
    assert [what.split(":")[0] for what in report.unseen] == ["the images"]
    assert str(own) in report.unseen[0]
    assert report.blind == ("the network", "the loss")
    assert "could not look at the network and the loss: " in lines(report)[0]


def test_metrics_that_are_cut_are_no_losses(ill, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(ill, run)
    text = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(text[:5]))
    report = examine(run, device="cpu")
    cut = [what for what in report.unseen if "it was cut" in what]
    assert cut[0].startswith("the loss: metrics.jsonl ends at step ")
    assert "last.safetensors is of step 20" in cut[0]
    assert report.blind == ("the loss",)
    (run / "metrics.jsonl").write_text("".join(text[:2]) + "{\n")
    report = examine(run, device="cpu")
    assert "line 3 is not a record" in report.unseen[0]
    assert report.blind == ("the loss",)


def test_a_loss_that_is_not_finite_at_once_leaves_nothing_to_look_at(photos, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(MinialexError, match="not finite"):
        train(small(photos, optimizer="sgd", lr=1e30, warmup=0, out=str(run)))
    report = examine(run, device="cpu")
    assert report.blind == ("the network", "the loss")
    first = lines(report)[0]
    assert first.startswith(
        f"{run}: could not look at the network and the loss: nothing else found"
    )
    assert "or whose loss is not finite" in report.unseen[0]
    assert "none of a loss that is not finite" in report.unseen[1]


def test_a_run_that_went_on_after_its_last_checkpoint_may_have_met_one(ill, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(ill, run)
    with open(run / "metrics.jsonl", "a") as file:
        for line in (ill / "metrics.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["split"] == "train" and record["step"] <= 4:
                file.write(json.dumps(record | {"step": record["step"] + 20}) + "\n")
    (unseen,) = open_run(run).unseen
    assert unseen.startswith(
        "the network after step 20, of which last.safetensors is: the run came"
    )
    assert "to step 24" in unseen
    assert unseen.endswith("whose loss is not finite")


def test_a_run_of_the_digits_that_was_stopped_in_its_warm_up(tmp_path):
    settings = make_settings("digits", batch_size=8, image_size=32, warmup=9, device="cpu")
    train(settings.replace(out=str(tmp_path / "run")), stop_after=4)
    report = examine(tmp_path / "run", device="cpu")
    assert report.images == 24
    (warmup,) = report.of("warmup")
    assert warmup.numbers["highest"] == pytest.approx(settings.lr * 4 / 9)
    assert "stopped" in warmup.cause
    assert any("metrics.jsonl has none of a training batch" in what for what in report.unseen)
    assert (
        "whether each class is predicted: 4 batches were trained on, 20 are needed" in report.unseen
    )
    assert report.of("unpredicted") == []
    assert {"stuck", "duplicates", "constant"}.isdisjoint(one.kind for one in report.findings)


def test_a_fold_of_a_cross_validation_is_looked_at_with_its_own_images(photos, tmp_path):
    kfold(small(photos, epochs=1, out=str(tmp_path / "folds")), 2)
    run = open_run(tmp_path / "folds" / "fold-2")
    names = [{part.name(i) for i in range(len(part))} for part in (run.data.train, run.data.val)]
    assert [len(part) for part in names] == [12, 12]
    assert run.data.fingerprint == run.saved.manifest["split"]
    report = examine(run.path, device="cpu")
    assert (report.images, report.of("labels"), report.of("duplicates")) == (12, [], [])


def test_the_loss_of_guessing_is_the_best_of_answers_that_do_not_look():
    digits = Digits()
    uneven = Subset(digits, np.flatnonzero(digits.targets < 2)[:30])
    p = np.bincount(uneven.targets, minlength=10) / 30
    assert guessing_loss(Settings(), digits) == pytest.approx(math.log(10), abs=1e-3)
    assert guessing_loss(Settings(class_weights="balanced"), uneven) == pytest.approx(math.log(2))
    smoothed = Settings(label_smoothing=0.1)
    x = Tensor(np.tile(np.log(0.9 * p + 0.01), (30, 1)))
    best = cross_entropy(x, uneven.targets, label_smoothing=0.1).item()
    assert guessing_loss(smoothed, uneven) == pytest.approx(best)


def test_levels_that_an_image_spans_are_those_of_its_widest_channel():
    pixels = np.full((2, 3, 4, 5), -1.0, np.float32)
    pixels[1, 2, 0, 0] = 1.0
    assert images.levels_spanned(pixels).tolist() == [0.0, 255.0]


def test_neighbours_are_nearest_by_what_a_coarse_grid_shows():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (9, 3, 16, 16)).astype(np.float32)
    t = rng.integers(0, 3, 9)
    coarse = x.reshape(9, 3, 8, 2, 8, 2).mean((3, 5)).reshape(9, -1)
    agree = 0
    for i in range(9):
        others = [j for j in range(9) if j != i]
        nearest = min(others, key=lambda j: np.square(coarse[i] - coarse[j]).sum())
        agree += t[i] == t[nearest]
    chance = sum(t[i] == t[j] for i in range(9) for j in range(9) if i != j) / 8
    assert images.neighbours_agree(x, t) == (agree, pytest.approx(chance))
    # images smaller than the grid
    assert images.neighbours_agree(x[:, :, :5, :3], t)[1] == pytest.approx(chance)


def test_copies_are_found_whatever_their_names(photos, tmp_path):
    own = tmp_path / "photos"
    shutil.copytree(photos, own / "train")
    for name in "blue", "green", "red":
        (own / "val" / name).mkdir(parents=True)
        Image.new("RGB", (20, 24), name).save(own / "val" / name / "new.png")
    shutil.copy(own / "train" / "red" / "03.png", own / "val" / "blue" / "other.png")
    data = open_data(make_settings(data=str(own)))
    pairs = images.copies_in_both(data.train, data.val)
    assert pairs == [(f"{own}/val/blue/other.png", f"{own}/train/red/03.png")]
