"""What the help of `train` and `kfold` says of the settings, which are declared once."""

from dataclasses import fields

import pytest

from minialex.train.recipes import RECIPES
from minialex.train.settings import DECLARATIONS, Settings, make_settings

# not options of both commands, or whose default is no value
APART = {"data", "out"}
IN_WORDS = {
    "recipe": "by DATA: digits or images",
    "warmup": "a tenth of the run, at most 200; article: 0",
    "image_size": "what the network is made for",
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
def entries(request, minialex):
    """Return, by option, what the help says of it, without white space."""
    text = minialex(request.param, "--help").out
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
def test_every_setting_is_an_option_with_its_help_and_default(entries, name):
    declared, default = DECLARATIONS[name], defaults(name)
    said = entries["--network" if name == "variant" else "--" + name.replace("_", "-")]
    end = declared.help + (f"[{default}]" if default else "")
    assert said.endswith("".join(end.split()))


def test_the_documentation_of_the_class_has_every_setting():
    for f in fields(Settings):
        line = (
            f"    {f.name} : {f.type.replace(' | ', ' or ')}\n        {DECLARATIONS[f.name].help}"
        )
        assert line in Settings.__doc__
