"""What the help of `train` and `kfold` says of the settings, which are declared once."""

from dataclasses import fields
from pathlib import Path

import pytest

from minialex.kfold.fold_records import read_plan
from minialex.train import train
from minialex.train.given import make_settings
from minialex.train.recipes import RECIPES
from minialex.train.run import read_settings
from minialex.train.settings import DECLARATIONS, Settings
from tests.small_runs import small

# not options of both commands, or whose default is no value
APART = {"data", "out"}
IN_WORDS = {
    "recipe": "by DATA: digits, small-images or images",
    "warmup": "a tenth of the run, at most 200; article: 0",
    "image_size": "what the network is made for",
    "workers": "as many as there are cores",
    "pretrained": "",
    "classes": "",
    "skip_unreadable": "",
}


def defaults(name):
    """Return, as the help should have it, what a setting is where nothing is given."""
    if name in IN_WORDS:
        return IN_WORDS[name]
    values = {recipe: getattr(make_settings(recipe), name) for recipe in RECIPES}
    shown = {r: f"{v:g}" if isinstance(v, float) else str(v) for r, v in values.items()}
    if len(set(shown.values())) == 1:
        return shown["article"]
    return ", ".join(f"{recipe}: {value}" for recipe, value in shown.items())


@pytest.fixture(params=["train", "kfold"])
def command(request):
    return request.param


@pytest.fixture
def entries(command, minialex):
    """Return, by option, what the help says of it, without white space."""
    text = minialex(command, "--help").out
    found, option = {}, None
    for line in text.splitlines():
        words = line.split()
        if line.startswith("  --"):
            option = words[0]
            found[option] = ""
        if option and line.startswith("  "):
            found[option] += "".join(words)
        else:
            option = None
    return found


@pytest.mark.parametrize("name", sorted({f.name for f in fields(Settings)} - APART))
def test_every_setting_is_an_option_with_its_help_and_default(command, entries, name):
    declared, default = DECLARATIONS[name], defaults(name)
    option = "--network" if name == "variant" else "--" + name.replace("_", "-")
    if (command, name) == ("kfold", "val_fraction"):
        # every fold is validated on in turn
        assert option not in entries
        return
    said = entries[option]
    end = declared.help + (f"[{default}]" if default else "")
    assert said.endswith("".join(end.split()))


@pytest.fixture
def earlier(images, tmp_path):
    """Return a run that has trained on one batch."""
    settings = small(images, out=str(tmp_path / "earlier"), epochs=1, lr=0.02, optimizer="adam")
    train(settings, stop_after=1)
    return tmp_path / "earlier"


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("file", ["settings.json", "last.safetensors"])
def test_a_run_takes_the_settings_of_another(minialex, images, earlier, file):
    words = "--config", earlier / file, "--lr", 0.01, "--seed", 3, "--workers", 0, "--device", "cpu"
    answer = minialex("train", *words, "--out", "run", "--stop-after", 1)
    assert (answer.status, answer.err) == (0, "")
    before, after = (read_settings(run / "settings.json") for run in (earlier, Path("run")))
    assert after.data == str(images)
    assert before.differences(after) == ["lr: 0.02, not 0.01", "seed: 0, not 3"]


@pytest.mark.usefixtures("no_curves")
def test_folds_take_the_settings_of_a_run(minialex, earlier):
    words = "--folds", 2, "--config", earlier / "settings.json", "--batch-size", 12, "--warmup", 0
    assert minialex("kfold", *words, "--out", "folds").status == 0
    settings, _ = read_plan("folds")
    assert (settings.optimizer, settings.lr, settings.batch_size) == ("adam", 0.02, 12)


@pytest.mark.parametrize("command", ["train", "kfold"])
@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (None, (), "cannot read f.json: No such file or directory: check the path"),
        ("[]", (), "f.json is damaged, or holds no settings: give the settings.json of"),
        ('{"settings": {"lr": 1e999}}', (), "f.json is damaged"),
        ('{"settings": 3}', (), "f.json is damaged, or holds no settings"),
        ('{"settings": {"ir": 1}}', (), "f.json: unknown setting 'ir'"),
        ('{"settings": {"lr": -1}}', (), "f.json: lr is -1"),
        ('{"settings": {}}', ("--recipe", "article"), "--recipe does not go with --config"),
        ('{"settings": {}}', ("--resume", "run"), "--config is not used with --resume"),
        ('{"settings": {}}', ("--lr-gamma", "0.1"), "--lr-gamma is used with schedule step"),
    ],
)
def test_settings_that_are_refused(minialex, command, text, words, said):
    if text is not None:
        Path("f.json").write_text(text)
    answer = minialex(command, "--config", "f.json", *words)
    assert answer.status == 2
    assert said in answer.err
    assert not Path("runs").exists()


def test_the_documentation_of_the_class_has_every_setting():
    for f in fields(Settings):
        line = (
            f"    {f.name} : {f.type.replace(' | ', ' or ')}\n        {DECLARATIONS[f.name].help}"
        )
        assert line in Settings.__doc__
